"""Claims whose worker is gone: what its journal says is written down, what nobody can know is named."""

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailer.campaigns.batches import in_batch
from mailer.campaigns.ledger import Outcome, finalise_batch
from mailer.campaigns.models import Batch, Campaign, Delivery, DeliveryState
from mailer.foundation.database import DatabaseUnavailable
from mailer.foundation.journal import JournalHeld, take_over
from mailer.foundation.log import get_log
from mailer.sending.claims import claimed_batches, take_over_claim
from mailer.sending.notes import Told, read_notes
from mailer.sending.tools import SendingTools, journal_folder, new_journal

_log = get_log(__name__)
HOST_LOST = "its host was lost with the notes of what it sent"
NOTES_DAMAGED = "the notes of what its worker sent are damaged"
NOT_WRITTEN = (
    "somebody to mend a fault: what became of some letters cannot be written down;"
    " the log of the workers says why"
)
"""What a campaign waits for while one of its claims cannot be finalised."""


def recover_lost_claims(tools: SendingTools) -> int:
    """Finalise every claim whose worker is gone; return how many.

    On this host a free journal lock proves that the worker is gone; another host's claim counts as
    lost when its lease has run out. Harmless when two do it at once: lock and fence decide. One that
    cannot be finalised stays as it is and is tried again at the next sweep.

    Raises:
        DatabaseUnavailable: it went away; what is left is as it was.
    """
    with tools.database.read() as db:
        claims = [batch for batch in claimed_batches(db) if batch.owner != tools.owner]
    recovered, stuck = _try_each(claims, lambda batch: _recover(tools, batch))
    with tools.database.write() as db:
        _tell_of(db, stuck)
    return len(recovered)


def recover_own_claims(tools: SendingTools) -> None:
    """Finalise what this process claimed and could not finalise, such as when the database was away.

    To be called between batches only: whatever is claimed then under this process's name is left over.
    What still cannot be finalised is left to the sweep, with the journal that tells of it; this process
    goes on in another.

    Raises:
        DatabaseUnavailable: it went away; what is left is as it was.
    """
    with tools.database.read() as db:
        claims = [batch for batch in claimed_batches(db) if batch.owner == tools.owner]
    _, stuck = _try_each(
        claims,
        lambda batch: _write(tools, batch, read_notes(tools.journal.lines(), batch.id, batch.fence)),
    )
    if stuck:
        tools.journal.go_on_in(new_journal(tools.letters.settings.state_dir))
    elif claims:
        tools.journal.clear()


def discard_dead_journals(tools: SendingTools) -> None:
    """Delete the journals of processes that are gone and hold no claim."""
    for path in journal_folder(tools.letters.settings.state_dir).glob("sending-*"):
        try:
            # Asked while the lock is held: the dead claim nothing more.
            with take_over(path), tools.database.read() as db:
                if all(batch.owner != path.name for batch in claimed_batches(db)):
                    path.unlink(missing_ok=True)
        except (JournalHeld, FileNotFoundError):
            continue


def _try_each(
    claims: Iterable[Batch], recover: Callable[[Batch], bool]
) -> tuple[Sequence[Batch], Sequence[Batch]]:
    """Those recovered, and those at which something went wrong: it is logged and stops no other."""
    recovered, stuck = [], []
    for batch in claims:
        try:
            if recover(batch):
                recovered.append(batch)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other claims wait as well
            stuck.append(batch)
            _log.error(
                "claim cannot be finalised",
                batch=batch.id,
                campaign=batch.campaign_id,
                error=type(error).__name__,
                why=str(error).partition("\n")[0],  # what a database adds may tell of a whole row
            )
    return recovered, stuck


def _tell_of(db: Session, stuck: Iterable[Batch]) -> None:
    """Let exactly the campaigns of these claims say that they wait for a fault to be mended."""
    campaigns = {batch.campaign_id for batch in stuck}
    no_longer = (Campaign.waiting_for == NOT_WRITTEN, Campaign.id.not_in(campaigns))
    db.execute(update(Campaign).where(*no_longer).values(waiting_for=None))
    db.execute(update(Campaign).where(Campaign.id.in_(campaigns)).values(waiting_for=NOT_WRITTEN))


def _recover(tools: SendingTools, batch: Batch) -> bool:
    assert batch.owner is not None
    if batch.host != tools.host:
        lost = batch.lease_until is not None and batch.lease_until < tools.real()
        return lost and _write(tools, batch, None)
    path = journal_folder(tools.letters.settings.state_dir) / batch.owner
    try:
        with take_over(path) as journal:
            notes = None
            if batch.boot_id == tools.boot:
                notes = read_notes(journal.lines(), batch.id, batch.fence)
            return _write(tools, batch, notes)
    except JournalHeld:
        return False
    except FileNotFoundError:
        return _write(tools, batch, None)


def _pending_positions(db: Session, batch: Batch) -> list[int]:
    pending = (in_batch(batch), Delivery.state == DeliveryState.PENDING)
    return list(db.scalars(select(Delivery.position).where(*pending).order_by(Delivery.position)))


def _write(tools: SendingTools, batch: Batch, notes: Told | None) -> bool:
    """Finalise a lost claim by its notes.

    Where they are gone or damaged, whatever neither they nor the database know is uncertain.
    """
    with tools.database.write() as db:
        taken = take_over_claim(db, batch)
        if taken is None:
            return False
        waiting = _pending_positions(db, taken)
        told = notes.outcomes if notes is not None else {}
        outcomes = [told[position] for position in waiting if position in told]
        if notes is None or notes.unreadable:
            why = HOST_LOST if notes is None else NOTES_DAMAGED
            outcomes += [
                Outcome(position, DeliveryState.UNCERTAIN, reason=why)
                for position in waiting
                if position not in told
            ]
        done = {outcome.position for outcome in outcomes}
        left = [position for position in waiting if position not in done]
        now, shown = tools.real(), tools.clock.now()
        finalise_batch(
            db,
            taken,
            outcomes,
            handed_back=left,
            now=shown,
            back_at=now,
            real=now,
            broken_off=True,
        )
    _log.warning(
        "lost claim recovered",
        batch=batch.id,
        campaign=batch.campaign_id,
        outcomes=len(outcomes),
        uncertain=sum(outcome.state == DeliveryState.UNCERTAIN for outcome in outcomes),
        handed_back=len(left),
        unreadable_notes=notes.unreadable if notes is not None else None,
    )
    return True
