"""Whoever was passed a letter cannot keep its recipient from saying no, whatever they post."""

import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import select

from mailer.events.models import ReminderRequest
from mailer.foundation.journal import Journal
from mailer.runtime import Runtime
from mailer.tracking.journals import PUT_OFF, new_journal, web_folder
from mailer.web.limits import DEEDS_AT_ONCE, UNDOS_AT_ONCE
from recipients.models import Recipient, SuppressionScope, TrackingChoice
from tests.web.conftest import Mailing, Reader, open_reader, stamp_in

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
SEEDS = range(6)


@pytest.fixture
def processes(runtime: Runtime) -> Iterator[list[Reader]]:
    """Two of the web, each of which counts by itself."""
    with ExitStack() as stack:
        yield [stack.enter_context(open_reader(runtime)) for _ in range(2)]


def posts(reader: Reader, path: str, times: int, **form: str) -> list[int]:
    return [reader.post(path, data=form).status_code for _ in range(times)]


def assert_nothing_stands_in_the_way(readers: list[Reader], mailing: Mailing) -> None:
    """Of the mail program's button, nor of those on the page, in any process."""
    path = mailing.path("unsubscribe")
    for reader in readers:
        before = mailing.suppressed()
        letters = reader.post(path, data={"choice": "letters"})
        assert letters.is_success or before is not None
        before = mailing.suppressed()
        clicked = reader.post(path, data=ONE_CLICK)
        assert clicked.is_success or (before and before.scope is SuppressionScope.EVERYTHING)
        after = mailing.suppressed()
        assert after is not None
        assert after.scope is SuppressionScope.EVERYTHING


def test_objecting_over_and_over_stops_no_one_from_saying_no(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("unsubscribe")
    codes = posts(reader, path, DEEDS_AT_ONCE + 1, choice="object")

    assert codes == [200] * DEEDS_AT_ONCE + [429]
    assert mailing.suppressed() is None
    assert reader.post(path, data=ONE_CLICK).status_code == 200
    assert mailing.suppressed() is not None
    with mailing.runtime.database.read() as db:
        assert db.get_one(Recipient, mailing.recipient_id).tracking is TrackingChoice.OBJECTION


@pytest.mark.parametrize("choice", ["letters", "everything"])
def test_noes_of_one_visit_and_one_undo_stop_no_one_from_saying_no(
    reader: Reader, mailing: Mailing, choice: str
) -> None:
    path = mailing.path("unsubscribe")
    stamp = stamp_in(reader.get(path))
    assert set(posts(reader, path, DEEDS_AT_ONCE, choice=choice, stamp=stamp)) == {200}
    assert posts(reader, path, 1, choice="undo", stamp=stamp) == [200]
    assert mailing.suppressed() is None

    clicked = reader.post(path, data=ONE_CLICK)

    assert clicked.status_code == 200
    assert 'value="undo"' not in clicked.text
    assert "ikke kan fortrydes her" in clicked.text
    kept = mailing.suppressed()
    assert kept is not None
    assert kept.scope is SuppressionScope.EVERYTHING
    posts(reader, path, UNDOS_AT_ONCE, choice="undo", stamp=stamp)
    assert mailing.suppressed() is not None


def test_noes_each_taken_back_stop_no_one_in_whichever_process(
    processes: list[Reader], mailing: Mailing
) -> None:
    """Where one process takes no more back, another does."""
    one, two = processes
    path = mailing.path("unsubscribe")
    for number in range(DEEDS_AT_ONCE):
        said = one.post(path, data={"choice": "everything"})
        mailing.drain()  # the clock stands still: no other order would tell which came first
        taking_back = one if number < UNDOS_AT_ONCE else two
        assert posts(taking_back, path, 1, choice="undo", stamp=stamp_in(said)) == [200]
    assert mailing.suppressed() is None

    assert_nothing_stands_in_the_way(processes, mailing)


@pytest.mark.parametrize("choice", ["letters", "everything"])
def test_who_fills_the_bucket_of_the_noes_has_said_no_for_good(
    reader: Reader, mailing: Mailing, choice: str
) -> None:
    path = mailing.path("unsubscribe")
    stamp = stamp_in(reader.get(path))
    codes = posts(reader, path, 2 * DEEDS_AT_ONCE + 1, choice=choice, stamp=stamp)
    assert codes == [200] * 2 * DEEDS_AT_ONCE + [429]
    posts(reader, path, UNDOS_AT_ONCE, choice="undo", stamp=stamp)

    kept = mailing.suppressed()
    assert kept is not None
    assert kept.scope == choice
    assert_nothing_stands_in_the_way([reader], mailing)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_that_is_posted_stands_in_the_way_of_a_no(
    processes: list[Reader], mailing: Mailing, seed: int
) -> None:
    chosen = random.Random(seed)
    path, stamps = mailing.path("unsubscribe"), [""]
    weights = {choice: chosen.random() for choice in ("letters", "everything", "object", "undo", "x")}
    for _ in range(150):
        reader = chosen.choice(processes)
        if chosen.random() < 0.05:
            stamps.append(stamp_in(reader.get(path)))
        (choice,) = chosen.choices(list(weights), list(weights.values()))
        stamp = chosen.choice([*stamps, stamps[-1]])
        answer = reader.post(path, data={"choice": choice, "stamp": stamp})
        if 'name="stamp"' in answer.text:
            stamps.append(stamp_in(answer))
        if chosen.random() < 0.05:
            mailing.drain()
    for reader in processes:  # and in the end whatever can be taken back is
        for stamp in stamps:
            reader.post(path, data={"choice": "undo", "stamp": stamp})

    assert_nothing_stands_in_the_way(processes, mailing)


def test_a_no_is_done_while_the_attackers_objection_waits_and_its_file_is_damaged(
    reader: Reader, mailing: Mailing
) -> None:
    folder = web_folder(mailing.runtime.settings.state_dir)
    path = mailing.path("unsubscribe")
    posts(reader, path, DEEDS_AT_ONCE, choice="object")
    (folder / PUT_OFF).write_bytes(b'["object2"]\n' * 30)
    Journal(new_journal(folder, of_deeds=True)).append(b'["object2"]\n' * 30)

    assert reader.post(path, data=ONE_CLICK).status_code == 200
    assert mailing.suppressed() is not None


def test_asking_and_taking_it_back_stops_no_one_from_asking_to_be_reminded(
    reader: Reader, mailing: Mailing
) -> None:
    asked, other = (mailing.path("remind", slug) for slug in ("midtjylland", "sjaelland"))
    posts(reader, other, DEEDS_AT_ONCE)
    posts(reader, asked, DEEDS_AT_ONCE)
    assert posts(reader, asked, 1) == [429]
    assert posts(reader, asked, 1, choice="undo") == [200]

    assert posts(reader, asked, 1) == [200]
    mailing.drain()
    with mailing.runtime.database.read() as db:
        assert len(db.scalars(select(ReminderRequest)).all()) == 2
