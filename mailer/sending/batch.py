"""One claimed batch: read, sent, noted, finalised. No transaction is open while relays are talked to."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select, true, update
from sqlalchemy.orm import Session

from mailer.campaigns.batches import in_batch
from mailer.campaigns.ledger import finalise_batch
from mailer.campaigns.models import Batch, BatchState, Campaign, CampaignState, Delivery, DeliveryState
from mailer.campaigns.planning import is_open
from mailer.foundation.database import DatabaseUnavailable
from mailer.foundation.log import get_log
from mailer.sending.addressees import Addressee, addressees, read_addressee
from mailer.sending.claims import is_anything_ready, renew_lease
from mailer.sending.feed import BatchFeed, FeedTools, Watch
from mailer.sending.notes import Notes
from mailer.sending.outcomes import ERASED_SINCE, suppressed
from mailer.sending.tools import SendingTools
from mailer.sending.withholding import is_withheld
from mailer.sending.writer import LetterWriter
from recipients.models import Recipient

_log = get_log(__name__)
_LOOK_EVERY_SECONDS = 2.0
_LISTEN_EVERY_SECONDS = 0.1
_ROWS_AT_ONCE = 2_000
_LAST_DOTS_SECONDS = 8.0
"""A process asked to end waits so long for the replies to dots that are out."""
_SLOW_PAUSE = timedelta(seconds=1)
_MISFIT_PAUSE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How a batch went."""

    outcomes: int
    handed_back: int
    relay_trouble: str | None


def send_batch(tools: SendingTools, batch: Batch, writer: LetterWriter) -> BatchResult:
    """Send what a claimed batch holds and finalise it under its fence.

    Letters not begun when the campaign is paused, the process is asked to end, a domain takes no more
    or no relay can be used are handed back; none of them counts as attempted.

    Raises:
        FenceMoved: the batch was taken from us meanwhile; nothing of it was written by us.
    """
    watch = Watch()
    feed = BatchFeed(
        FeedTools(
            writer=writer,
            notes=Notes(tools.journal, batch),
            pace=tools.pace,
            relay_count=len(tools.relays),
            is_stopping=tools.is_stopping,
            real=tools.real,
            waits=tools.letters.settings.retry_waits,
        ),
        watch,
    )
    with tools.database.read() as db:
        feed.load(read_batch(db, batch, writer))
        erased = sorted({*erased_positions(db, batch)}.difference(feed.left))
    with _watched(tools, batch, watch, is_withheld(writer.letter)):
        tools.loop.run_until_complete(_send(tools, feed))
    return _finalise(tools, batch, feed, erased)


def read_batch(db: Session, batch: Batch, writer: LetterWriter) -> Iterator[Addressee]:
    """The batch's pending deliveries with their recipients, those suppressed since marked as such.

    What is offered again comes in no order: a relay that refused everybody is tried with one letter, and
    that must not be the same each time, for it may be dead after all.
    """
    asked = (
        addressees(writer.needs)
        .add_columns(is_withheld(writer.letter))
        .where(in_batch(batch), Delivery.state == DeliveryState.PENDING)
    )
    words: dict[str, str] = {}
    for rows in _in_parts(asked, batch):
        for row in db.execute(rows):
            yield read_addressee(row, suppressed=row[-1], words=words)


def _in_parts(asked: Select[Any], batch: Batch) -> Iterator[Select[Any]]:
    """What is asked of a batch, part by part: the driver holds all rows of one in memory beside ours."""
    if batch.first is None or batch.last is None:
        yield asked.order_by(func.random())
        return
    for first in range(batch.first, batch.last + 1, _ROWS_AT_ONCE):
        part = Delivery.position.between(first, first + _ROWS_AT_ONCE - 1)
        yield asked.where(part).order_by(Delivery.position)


def erased_positions(db: Session, batch: Batch) -> list[int]:
    """The batch's pending deliveries whose recipients are gone."""
    gone = (in_batch(batch), Delivery.state == DeliveryState.PENDING, Delivery.recipient_id.is_(None))
    return list(db.scalars(select(Delivery.position).where(*gone)))


async def _send(tools: SendingTools, feed: BatchFeed) -> None:
    listening = asyncio.create_task(_listen_for_the_end(tools))
    try:
        await tools.pool.send(feed)
    finally:
        listening.cancel()
        feed.flush()


async def _listen_for_the_end(tools: SendingTools) -> None:
    """Once the process is asked to end, wait for replies to dots that are out, but not for long."""
    while not tools.is_stopping():  # noqa: ASYNC110 - another process says so, in shared memory
        await asyncio.sleep(_LISTEN_EVERY_SECONDS)
    tools.pool.stop(within=_LAST_DOTS_SECONDS)


def _finalise(tools: SendingTools, batch: Batch, feed: BatchFeed, erased: list[int]) -> BatchResult:
    left, waits_for, pause = feed.left, None, timedelta()
    trouble = tools.pool.trouble if left and not (feed.watch.ended or tools.is_stopping()) else None
    if trouble is not None:
        waits_for, pause = trouble, timedelta(seconds=tools.pool.retry_in)
    elif left and feed.slow_domains:
        waits_for, pause = _slow(feed.slow_domains), _SLOW_PAUSE
    elif left and feed.misfits:
        waits_for, pause = f"another relay: {feed.misfits}", _MISFIT_PAUSE
    outcomes = [*feed.outcomes.values(), *(suppressed(gone, ERASED_SINCE) for gone in erased)]
    real = tools.real()
    with tools.database.write() as db:
        finalise_batch(
            db,
            batch,
            outcomes,
            handed_back=left,
            now=tools.clock.now(),
            back_at=real + pause,
            real=real,
            waiting_for=waits_for,
        )
        if not outcomes:
            db.execute(
                update(Campaign)
                .where(
                    Campaign.id == batch.campaign_id,
                    Campaign.waiting_for.is_distinct_from(waits_for),
                    _nobody_else_works_on_it(batch) if waits_for else true(),
                )
                .values(waiting_for=waits_for)
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
    return BatchResult(len(outcomes), len(left), trouble)


def _nobody_else_works_on_it(batch: Batch) -> ColumnElement[bool]:
    """True for a campaign that no other worker sends; then it does wait for what this one waits for."""
    return ~exists().where(
        Batch.campaign_id == Campaign.id, Batch.state == BatchState.CLAIMED, Batch.id != batch.id
    )


def _slow(domains: list[str]) -> str:
    """What a campaign waits for whose remaining letters go to domains that take few at a time."""
    more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
    return f"the pace at which letters are taken at {domains[0]}{more}"


@contextmanager
def _watched(
    tools: SendingTools, batch: Batch, watch: Watch, withheld: ColumnElement[bool]
) -> Iterator[None]:
    """Keep the lease alive and look for a pause, a cancel and new suppressions while the batch runs."""
    over = threading.Event()
    thread = threading.Thread(
        target=_look_again,
        args=(tools, batch, watch, withheld, over),
        name="batch-watch",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _look_again(
    tools: SendingTools,
    batch: Batch,
    watch: Watch,
    withheld: ColumnElement[bool],
    over: threading.Event,
) -> None:
    while not over.wait(_LOOK_EVERY_SECONDS):
        try:
            with tools.database.write() as db:
                ours = renew_lease(db, batch, now=tools.real())
                goes_on = db.scalar(_goes_on(tools, batch))
                watch.suppressed = frozenset(db.scalars(_withheld_positions(batch, withheld)))
                watch.others_wait = is_anything_ready(db, now=tools.real(), shown=tools.clock.now())
        except DatabaseUnavailable:
            _log.warning("database unreachable while a batch runs", batch=batch.id)
            continue
        if not ours or not goes_on:
            watch.ended = True


def _goes_on(tools: SendingTools, batch: Batch) -> Select[bool]:
    """Whether the campaign is sending, and its hours last."""
    sending = Campaign.state == CampaignState.SENDING
    ours = Campaign.id == batch.campaign_id
    return select(exists().where(ours, sending, is_open(tools.clock.now())))


def _withheld_positions(batch: Batch, withheld: ColumnElement[bool]) -> Select[int]:
    return (
        select(Delivery.position)
        .join(Recipient, Recipient.id == Delivery.recipient_id)
        .where(in_batch(batch), withheld)
    )
