"""What the journals of this machine show of its sending processes."""

import os
from pathlib import Path

from mailer.foundation.journal import Journal
from mailer.sending.journals import Journals, look_at_journals
from mailer.sending.tools import journal_folder, open_own_journal


def grow_old(path: Path) -> None:
    os.utime(path, (1, 1))


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    assert look_at_journals(tmp_path) == Journals(living=0, unread=0)


def test_the_notes_of_the_dead_are_unread_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    alive, dead, empty = (open_own_journal(tmp_path) for _ in range(3))
    for journal in (alive, dead):
        journal.write("a note")
    dead.close()
    empty.close()
    for journal in (alive, dead, empty):
        grow_old(journal.path)

    assert look_at_journals(tmp_path) == Journals(living=1, unread=1)
    assert [*dead.lines()] == ["a note"], "looking changes nothing"
    alive.close()


def test_a_journal_just_made_is_not_touched_before_its_process_holds_it(tmp_path: Path) -> None:
    journal_folder(tmp_path).mkdir()
    path = journal_folder(tmp_path) / "sending-new"
    path.touch()
    assert look_at_journals(tmp_path) == Journals(living=1, unread=0)
    Journal(path).close()


def test_other_files_are_no_journals_of_senders(tmp_path: Path) -> None:
    journal_folder(tmp_path).mkdir()
    other = journal_folder(tmp_path) / "tracking-1"
    other.write_text("a note\n")
    grow_old(other)
    assert look_at_journals(tmp_path) == Journals(living=0, unread=0)
