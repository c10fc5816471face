"""What a worker notes: any words can be written down, and a dot counts only once it may leave."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.campaigns.ledger import Outcome
from mailer.campaigns.models import Batch, DeliveryState
from mailer.foundation.journal import Journal
from mailer.sending.notes import Notes, read_notes
from mailer.sending.outcomes import failed
from mailer.smtp.replies import Reply

texts = st.text() | st.text(alphabet="\ud800\udfff\0\r\n\x0b\x85\u2028a \N{GRINNING FACE}")


@contextmanager
def no_room(journal: Journal, *, left: int = 0) -> Iterator[None]:
    """No file may grow beyond what the journal has, and so many bytes."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size + left, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "j")
    yield opened
    opened.close()


@given(reason=texts)
def test_any_reason_can_be_noted_and_comes_back(
    reason: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "reasons"
    due_at = datetime(2014, 3, 7, tzinfo=UTC)
    reason = reason.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # no halves
    outcome = Outcome(7, DeliveryState.DEFERRED, "relay:25", 451, "4.7.1", reason, due_at)
    journal = Journal(path)
    try:
        journal.clear()
        notes = Notes(journal, Batch(id=3, fence=2))
        notes.outcome(outcome)
        notes.flush()
        told = read_notes(journal.lines(), 3, 2)
    finally:
        journal.close()

    assert told.outcomes == {7: outcome}
    assert told.unreadable == 0


@given(reason=texts)
def test_the_reason_of_a_failed_letter_is_short_and_printable(reason: str) -> None:
    kept = failed(1, reason).reason

    assert kept is not None
    assert len(kept) <= 300
    assert len(kept.splitlines()) <= 1
    assert "\0" not in kept
    kept.encode()


@pytest.mark.parametrize("left", [0, 5, 30])
def test_of_what_a_full_disk_refused_all_is_noted_later_but_dots(journal: Journal, left: int) -> None:
    notes = Notes(journal, Batch(id=3, fence=2))
    for position in (1, 2):
        notes.dot(position, "relay:25")
    notes.flush()
    notes.taken(1, "relay:25", Reply(250, "2.0.0", ""))
    notes.dot(3, "relay:25")
    with no_room(journal, left=left), pytest.raises(OSError, match=r"too large|short write"):
        notes.flush()
    notes.withdrawn(3)
    notes.flush()

    assert {n: o.state.value for n, o in read_notes(journal.lines(), 3, 2).outcomes.items()} == {
        1: "sent",
        2: "uncertain",
    }
    assert not any(line.startswith("d 3 2 3 ") for line in journal.lines())
