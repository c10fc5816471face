"""What a worker does when the bell rings, and what the sweep finds when it did not."""

import time
from math import inf

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns.heartbeats import SWEEP, note_heartbeat
from mailer.campaigns.ledger import FenceMoved, cancel_leftovers, release_deferred, release_waiting
from mailer.campaigns.lifecycle import finish_done, start_due
from mailer.campaigns.models import Batch, BatchState, Campaign, CampaignState
from mailer.campaigns.planning import is_open, keep_timetables
from mailer.foundation.log import get_log
from mailer.sending.batch import send_batch
from mailer.sending.claims import claim_batch, next_due, others_are_ready
from mailer.sending.evidence import settle_by_tracking
from mailer.sending.frozen import open_letter
from mailer.sending.recovery import (
    discard_dead_journals,
    recover_lost_claims,
    recover_own_claims,
)
from mailer.sending.tools import SendingTools
from mailer.sending.writer import LetterWriter

_log = get_log(__name__)
_KEPT_LETTERS = 4
_WORK_SECONDS = 5.0
"""A task claims batch after batch for so long, so that its own cost vanishes."""
_WORTH_WAITING_SECONDS = 1.0
"""What is due so soon is waited for: nobody else would ring before the next sweep."""
_LEAST_WAIT_SECONDS = 0.5


def send_batches(tools: SendingTools, *, campaign_id: int) -> bool:
    """Claim and send ready batches one after the other for a few seconds.

    Returns:
        Whether it is worth ringing again: batches are ready and the relays take letters.
    """
    until, has_sent = time.monotonic() + _WORK_SECONDS, False
    recover_own_claims(tools)
    while not tools.is_stopping():
        with tools.database.write() as db:
            batch = claim_batch(
                db,
                campaign_id,
                owner=tools.owner,
                host=tools.host,
                boot=tools.boot,
                now=tools.real(),
                shown=tools.clock.now(),
            )
        if batch is None:
            wait = _wait_for_more(tools, campaign_id)
            if wait is None:
                finish_campaigns(tools)
                return False
            if time.monotonic() >= until:
                return has_sent  # one that only waits for what others claim is one bell too many
            time.sleep(wait)
            continue
        try:
            result = send_batch(tools, batch, _writer(tools, campaign_id))
        except FenceMoved:
            _log.warning("batch was taken over", batch=batch.id)
            recover_own_claims(tools)  # before its notes are cleared for another, if it is still ours
            continue
        except Exception:
            recover_own_claims(tools)  # nobody else can: the journal is held as long as we live
            raise
        has_sent = True
        if result.relay_trouble is not None:
            return False
        if time.monotonic() >= until:
            return True
    return False


def sweep(tools: SendingTools, *, workers: int) -> dict[int, int]:
    """Find what no bell rang for: campaigns and parts whose time has come, lost claims, due retries.

    Args:
        workers: how many processes may work on one campaign at a time.

    Returns:
        How often to ring for which campaign.
    """
    recover_own_claims(tools)
    recover_lost_claims(tools)
    discard_dead_journals(tools)
    now, shown = tools.real(), tools.clock.now()
    with tools.database.write() as db:
        slept = note_heartbeat(db, SWEEP, now=now)
        start_due(db, now=shown)
        keep_timetables(db, now=shown, real_now=now, zone=tools.letters.settings.zone, slept=slept)
        cancel_leftovers(db, now=shown)
        settle_by_tracking(db, now=shown)
        release_waiting(db, now=now)
    finish_campaigns(tools)
    with tools.database.read() as db:
        return _rings(tools, db, workers=workers)


def finish_campaigns(tools: SendingTools) -> None:
    """Mark campaigns as finished that have nothing left to send."""
    with tools.database.write() as db:
        finish_done(db, now=tools.real())


def _wait_for_more(tools: SendingTools, campaign_id: int) -> float | None:
    """Seconds until more of the campaign can be claimed; None if that is not worth waiting for."""
    now, shown = tools.real(), tools.clock.now()
    with tools.database.read() as db:
        if others_are_ready(db, besides=campaign_id, now=now, shown=shown):
            return None
        soonest = next_due(db, campaign_id, now=now, shown=shown)
    wait = (soonest - now).total_seconds() if soonest is not None else inf
    if wait <= 0:
        with tools.database.write() as db:
            release_deferred(db, campaign_id, now=now)
        return 0.0
    return max(wait, _LEAST_WAIT_SECONDS) if wait <= _WORTH_WAITING_SECONDS else None


def _writer(tools: SendingTools, campaign_id: int) -> LetterWriter:
    """The campaign's compiled letter; a process keeps the few it used last."""
    writer = tools.writers.pop(campaign_id, None)
    if writer is None:
        with tools.database.read() as db:
            letter = open_letter(db, db.get_one(Campaign, campaign_id))
        writer = LetterWriter(tools.letters, letter)
    tools.writers[campaign_id] = writer
    while len(tools.writers) > _KEPT_LETTERS:
        tools.writers.pop(next(iter(tools.writers)))
    return writer


def _rings(tools: SendingTools, db: Session, *, workers: int) -> dict[int, int]:
    rows = db.execute(
        select(
            Batch.campaign_id,
            func.count().filter(Batch.state == BatchState.READY, Batch.due_at <= tools.real()),
            func.count().filter(Batch.state == BatchState.CLAIMED),
        )
        .join(Campaign, Campaign.id == Batch.campaign_id)
        .where(
            Campaign.state == CampaignState.SENDING,
            Batch.state != BatchState.DONE,
            is_open(tools.clock.now()),
        )
        .group_by(Batch.campaign_id)
    )
    rings = {campaign_id: min(ready, max(0, workers - claimed)) for campaign_id, ready, claimed in rows}
    return {campaign_id: count for campaign_id, count in rings.items() if count}
