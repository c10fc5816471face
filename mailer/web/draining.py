"""The drainer as the web needs it: with the deeds that its pages promise."""

import os
from collections.abc import Callable

from mailer.foundation.log import get_log
from mailer.runtime import Runtime
from mailer.tracking.draining import LOOK_SECONDS, AlreadyDraining, Drainer, wait
from mailer.tracking.journals import web_folder
from mailer.tracking.models import TrackingKind
from mailer.tracking.revising import Reviser
from mailer.web.deeds import (
    apply_objection,
    apply_registration,
    apply_reminder,
    apply_resubscribe,
    apply_unsubscribe,
    apply_withdrawal,
)

DEEDS = {
    TrackingKind.UNSUBSCRIBE: apply_unsubscribe,
    TrackingKind.RESUBSCRIBE: apply_resubscribe,
    TrackingKind.OBJECT: apply_objection,
    TrackingKind.REMIND: apply_reminder,
    TrackingKind.REGISTER: apply_registration,
    TrackingKind.WITHDRAW: apply_withdrawal,
}

log = get_log(__name__)


def open_drainer(runtime: Runtime) -> Drainer:
    """The drainer of a runtime's state folder."""
    reviser = Reviser(runtime.database)
    return Drainer(
        runtime.database,
        web_folder(runtime.settings.state_dir),
        zone=runtime.settings.zone,
        deeds=DEEDS,
        revise=lambda: reviser.revise(runtime.clock.now()),
    )


def run_drainer(runtime: Runtime, is_told_to_stop: Callable[[], bool], parent: int | None) -> None:
    """Move what comes until told to stop or the parent is gone; while another does it, stand by.

    Args:
        parent: the process that started this one.
    """

    def is_stopping() -> bool:
        return is_told_to_stop() or (parent is not None and os.getppid() != parent)

    drainer, waits = open_drainer(runtime), False
    while True:
        try:
            drainer.run(is_stopping)
        except AlreadyDraining:
            if not waits:
                log.info("another process moves the journals; this one stands by")
            waits = True
            if is_stopping():
                return
            wait(LOOK_SECONDS, is_stopping)
        else:
            return
