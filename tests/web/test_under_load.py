"""The short form of an outage under load: every answered request is an event, and there is no other.

The full minute is ``bench/webchaos.py --variant outage``. The account is tested too: falsified, it must
say so.
"""

import os
import shutil
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.web.chaos import load_script, run_short


@pytest.mark.postgres
def test_every_request_answered_while_the_database_is_stopped_becomes_one_event(tmp_path: Path) -> None:
    (told,) = run_short(
        "webchaos", tmp_path, *("--variant", "outage", "--letters", "3000", "--seconds", "3")
    )

    assert (told["lost"], told["twice"], told["unexplained"], told["refused"]) == (0, 0, 0, 0)
    assert told["answered"] <= told["counted"] <= told["answered"] + told["unanswered"]
    assert told["answered_in_outage"] > 0


@pytest.mark.postgres
def test_every_click_answered_at_full_speed_becomes_one_event(tmp_path: Path) -> None:
    for program in ("wrk", "nginx"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            pytest.skip(f"the program {program} is missing")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a second processor is missing")

    (told,) = run_short("web", tmp_path, *("--letters", "1000", "--rounds", "1", "--seconds", "1"))

    assert told["clicks_per_second"] > 0  # it fails itself if a click is missing, or there is one more


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with the account."""
    return load_script("webchaos", monkeypatch)


class Books:
    """Readers' and database's accounts that agree, to be falsified."""

    def __init__(self, chaos: ModuleType) -> None:
        self._chaos = chaos
        self.book = chaos.Book(
            answered={("spring", 1, 2): 0.1, ("spring", 2, 0): 0.2, ("summer", 1, 2): 0.3},
            unanswered={("spring", 3, 1), ("summer", 3, 1)},
        )
        self.rows: Counter[tuple[int, int]] = Counter({(1, 2): 1, (2, 0): 1})
        self.counted = 1

    def problems(self) -> Any:
        return self._chaos.compare(self.book, "spring", self.rows, self.counted).problems


def test_accounts_that_agree_raise_no_problem(chaos: ModuleType) -> None:
    assert Books(chaos).problems() == []


def test_what_was_sent_and_never_answered_may_be_there(chaos: ModuleType) -> None:
    books = Books(chaos)
    books.rows[3, 1] = 1
    books.counted = 2
    assert books.problems() == []


def test_an_answered_click_that_is_not_there_is_found(chaos: ModuleType) -> None:
    books = Books(chaos)
    del books.rows[2, 0]
    assert books.problems() == ["1 lost"]


def test_an_unanswered_click_does_not_make_up_for_a_lost_one(chaos: ModuleType) -> None:
    books = Books(chaos)
    del books.rows[2, 0]
    books.rows[3, 1] = 1
    assert books.problems() == ["1 lost"]


def test_a_click_counted_twice_is_found(chaos: ModuleType) -> None:
    books = Books(chaos)
    books.rows[3, 1] = 2
    assert books.problems() == ["1 twice"]


def test_a_click_nobody_made_is_found(chaos: ModuleType) -> None:
    books = Books(chaos)
    books.rows[9, 9] = 1
    assert books.problems() == ["1 unexplained"]


@pytest.mark.parametrize(("counted", "problem"), [(0, "1 lost"), (3, "1 unexplained")])
def test_counts_of_nobodys_clicks_that_do_not_add_up_are_found(
    chaos: ModuleType, counted: int, problem: str
) -> None:
    books = Books(chaos)
    books.counted = counted
    assert books.problems() == [problem]


def test_another_answer_than_a_redirect_is_found(chaos: ModuleType) -> None:
    books = Books(chaos)
    books.book.refused = {503: 2}
    assert books.problems() == ["2 refused", "other answers: {503: 2}"]
