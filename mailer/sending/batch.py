"""One claimed batch: read, rendered, offered, noted, finalised. No transaction is open meanwhile."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from mailer.campaigns.audience import is_suppressed
from mailer.campaigns.batches import in_batch
from mailer.campaigns.ledger import Outcome, finalise_batch
from mailer.campaigns.models import Batch, Campaign, CampaignState, Delivery, DeliveryState
from mailer.foundation.database import DatabaseUnavailable
from mailer.foundation.log import get_log
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.sending.addressees import Addressee, addressees, read_addressee
from mailer.sending.claims import renew_lease
from mailer.sending.notes import note_dot, note_outcome
from mailer.sending.tools import SendingTools
from mailer.sending.writer import LetterWriter
from mailer.smtp.errors import RelayUnavailable
from recipients.models import Recipient

_log = get_log(__name__)
_LOOK_EVERY_SECONDS = 2.0
_RELAY_PAUSE = timedelta(seconds=10)
SUPPRESSED_SINCE = "suppressed after the audience was frozen"
ERASED = "the recipient was erased"


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How a batch went."""

    outcomes: int
    handed_back: int
    relay_trouble: str | None


@dataclass(slots=True)
class Watch:
    """What a running batch learns while it runs."""

    stop: threading.Event = field(default_factory=threading.Event)
    suppressed: frozenset[int] = frozenset()


def send_batch(tools: SendingTools, batch: Batch, writer: LetterWriter) -> BatchResult:
    """Send what a claimed batch holds and finalise it under its fence.

    Letters not begun when the campaign is paused, the process is asked to end or no relay can be
    used are handed back; none of them counts as attempted.

    Raises:
        FenceMoved: the batch was taken from us meanwhile; nothing of it was written by us.
    """
    with tools.database.read() as db:
        waiting = read_batch(db, batch)
    outcomes: list[Outcome] = []
    trouble: str | None = None
    with _watched(tools, batch) as watch:
        for to in waiting:
            if watch.stop.is_set() or tools.is_stopping():
                break
            try:
                outcome = _send_one(tools, batch, writer, to, watch)
            except RelayUnavailable as error:
                trouble = str(error)
                break
            tools.journal.write(note_outcome(batch.id, batch.fence, outcome))
            outcomes.append(outcome)
    done = {outcome.position for outcome in outcomes}
    left = [to.position for to in waiting if to.position not in done]
    _finalise(tools, batch, outcomes, left, trouble)
    return BatchResult(len(outcomes), len(left), trouble)


def read_batch(db: Session, batch: Batch) -> list[Addressee]:
    """The batch's pending deliveries with their recipients, those suppressed since marked as such."""
    rows = db.execute(
        addressees()
        .add_columns(is_suppressed().label("suppressed"))
        .where(in_batch(batch), Delivery.state == DeliveryState.PENDING)
        .order_by(Delivery.position)
    )
    return [read_addressee(row, suppressed=row.suppressed) for row in rows]


def _send_one(
    tools: SendingTools, batch: Batch, writer: LetterWriter, to: Addressee, watch: Watch
) -> Outcome:
    if to.suppressed or to.position in watch.suppressed:
        return Outcome(to.position, DeliveryState.SUPPRESSED, reason=SUPPRESSED_SINCE, attempted=False)
    try:
        message = writer.write(to)
    except (RecipientValueError, LetterError, UnicodeError) as error:
        return Outcome(
            to.position, DeliveryState.FAILED, reason=f"not rendered: {error}"[:300], attempted=False
        )

    def before_dot(relay: str) -> None:
        tools.journal.write(note_dot(batch.id, batch.fence, to.position, relay))

    return tools.dispatcher.offer(message, to, before_dot=before_dot, now=tools.real())


def _finalise(
    tools: SendingTools,
    batch: Batch,
    outcomes: Sequence[Outcome],
    left: Sequence[int],
    trouble: str | None,
) -> None:
    back_at = tools.real() + (_RELAY_PAUSE if trouble else timedelta())
    with tools.database.write() as db:
        finalise_batch(db, batch, outcomes, handed_back=left, now=tools.clock.now(), back_at=back_at)
        db.execute(
            update(Campaign)
            .where(Campaign.id == batch.campaign_id, Campaign.waiting_for.is_distinct_from(trouble))
            .values(waiting_for=trouble)
        )
    tools.journal.clear()
    _log.info(
        "batch finalised",
        campaign=batch.campaign_id,
        batch=batch.id,
        outcomes=len(outcomes),
        handed_back=len(left),
        relay_trouble=trouble,
    )


@contextmanager
def _watched(tools: SendingTools, batch: Batch) -> Iterator[Watch]:
    """Keep the lease alive and look for a pause, a cancel and new suppressions while the batch runs."""
    watch, ended = Watch(), threading.Event()
    thread = threading.Thread(
        target=_look_again, args=(tools, batch, watch, ended), name="batch-watch", daemon=True
    )
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()


def _look_again(tools: SendingTools, batch: Batch, watch: Watch, ended: threading.Event) -> None:
    while not ended.wait(_LOOK_EVERY_SECONDS):
        try:
            with tools.database.write() as db:
                ours = renew_lease(db, batch, now=tools.real())
                state = db.scalar(select(Campaign.state).where(Campaign.id == batch.campaign_id))
                suppressed = db.scalars(_suppressed_positions(batch))
                watch.suppressed = frozenset(suppressed)
        except DatabaseUnavailable:
            _log.warning("database unreachable while a batch runs", batch=batch.id)
            continue
        if not ours or state != CampaignState.SENDING:
            watch.stop.set()


def _suppressed_positions(batch: Batch) -> Select[int]:
    return (
        select(Delivery.position)
        .join(Recipient, Recipient.id == Delivery.recipient_id)
        .where(in_batch(batch), is_suppressed())
    )
