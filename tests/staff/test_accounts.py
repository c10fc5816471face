"""Who may sign in, how often one may guess, and when a session ends."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.foundation.clock import real_now
from mailer.foundation.database import Database
from mailer.staff import passwords
from mailer.staff.accounts import (
    add_account,
    change_password,
    find_account,
    list_accounts,
    remove_account,
)
from mailer.staff.attempts import FORGOTTEN_AFTER, FREE, LONGEST_WAIT, slot_of
from mailer.staff.errors import (
    AccountExists,
    AccountNotFound,
    BadAccountName,
    TooManyAttempts,
    WeakPassword,
)
from mailer.staff.models import SignInFailures, StaffAccount, StaffRole, StaffSession
from mailer.staff.passwords import generate_password, matches
from mailer.staff.sessions import (
    IDLE,
    LIFETIME,
    end_session,
    find_visitor,
    note_seen,
    open_session,
)
from mailer.staff.signing_in import SignedIn, sign_in

PASSWORD = "en lang og god sætning"
KEY = b"k" * 32
START = real_now()


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passwords that cost nothing to look at, where only the number of looks matters."""
    passwords._nobodys.cache_clear()
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", quick)
    yield
    passwords._nobodys.cache_clear()


def add(database: Database, name: str = "bodil", password: str = PASSWORD) -> None:
    with database.write() as db:
        add_account(db, name, StaffRole.VIEWER, password, now=START)


def come(
    database: Database,
    name: str = "bodil",
    password: str = PASSWORD,
    *,
    browser: str | None = None,
    earlier: str | None = None,
    now: datetime = START,
) -> SignedIn | None:
    return sign_in(database, name, password, browser=browser, earlier=earlier, key=KEY, now=now)


def lives(database: Database, token: str, *, now: datetime = START) -> bool:
    with database.read() as db:
        return find_visitor(db, token, now=now) is not None


def test_a_password_is_kept_as_argon2id(database: Database) -> None:
    add(database)
    with database.read() as db:
        kept = find_account(db, "bodil").password_hash

    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept


@pytest.mark.parametrize(
    "password",
    ["kort", "x" * 257, "a" * 20, "bodil.hansen", "BODIL.HANSEN1", "bodil.hansenbodil.hansen"],
)
def test_weak_passwords_are_refused(database: Database, password: str) -> None:
    with pytest.raises(WeakPassword):
        add(database, "bodil.hansen", password)
    with database.read() as db:
        assert list_accounts(db) == []


@pytest.mark.parametrize("name", ["", " ", "a b", "<b>", "-", "a" * 65, "a\n", "a\x00b", "_a"])
def test_odd_names_are_refused(database: Database, name: str) -> None:
    if name == "a\n":
        add(database, name)  # what stands around a name is not part of it
    else:
        with pytest.raises(BadAccountName):
            add(database, name)


@pytest.mark.usefixtures("_quick")
def test_two_people_are_not_told_apart_by_a_capital(database: Database) -> None:
    add(database)
    with pytest.raises(AccountExists):
        add(database, "Bodil")
    assert come(database, " BODIL ") is not None


def test_a_generated_password_may_be_one(database: Database) -> None:
    password = generate_password()
    add(database, password=password)

    assert come(database, password=password) is not None
    assert generate_password() != password


def test_letters_typed_in_two_ways_are_one_password(database: Database) -> None:
    add(database, password="smørrebrød på å")
    assert come(database, password="smørrebrød på a\u030a") is not None


def test_the_wrong_password_and_the_unknown_name_give_the_same(database: Database) -> None:
    add(database)
    assert come(database, password="en anden sætning") is None
    assert come(database, "nobody", PASSWORD) is None


def test_an_unknown_name_costs_a_look_at_a_password_too() -> None:
    looked: list[str] = []
    verify = PasswordHasher.verify

    class Spy(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002
            looked.append(str(hash))
            return verify(self, hash, password)

    real = passwords._hasher
    passwords._hasher = Spy(time_cost=3, memory_cost=65_536, parallelism=1)
    try:
        assert not matches(PASSWORD, None)
    finally:
        passwords._hasher = real
    assert looked
    assert looked[0].startswith("$argon2id$v=19$m=65536,t=3,p=1$")


def test_a_password_kept_with_old_parameters_is_kept_anew_when_its_owner_signs_in(
    database: Database,
) -> None:
    add(database)
    with database.write() as db:
        old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
        find_account(db, "bodil").password_hash = old

    assert come(database) is not None

    with database.read() as db:
        kept = find_account(db, "bodil").password_hash
    assert "m=65536,t=3" in kept
    assert come(database) is not None


def test_the_tables_hold_no_token(database: Database) -> None:
    add(database)
    signed_in = come(database)
    assert signed_in

    with database.read() as db:
        (kept,) = db.scalars(select(StaffSession.token_hash))
    assert len(signed_in.token) >= 43
    assert signed_in.token not in kept
    assert lives(database, signed_in.token)
    assert not lives(database, kept)


def test_a_session_ends_when_nobody_uses_it_and_in_any_case_after_a_day_of_work(
    database: Database,
) -> None:
    add(database)
    signed_in = come(database)
    assert signed_in
    token, minute = signed_in.token, timedelta(minutes=1)

    assert lives(database, token, now=START + IDLE - minute)
    assert not lives(database, token, now=START + IDLE + minute)
    now = START
    while now < START + LIFETIME - IDLE:
        now += IDLE / 2
        with database.write() as db:
            note_seen(db, token, now=now)
    assert lives(database, token, now=now + minute)
    with database.write() as db:
        note_seen(db, token, now=START + LIFETIME)
    assert not lives(database, token, now=START + LIFETIME + minute)


@pytest.mark.usefixtures("_quick")
def test_signing_in_gives_a_new_token_and_ends_the_earlier_one(database: Database) -> None:
    add(database)
    first = come(database)
    assert first
    second = come(database, earlier=first.token)
    assert second

    assert second.token != first.token
    assert not lives(database, first.token)


def test_a_token_somebody_made_up_is_never_taken_over(database: Database) -> None:
    add(database)
    planted = "x" * 43
    signed_in = come(database, earlier=planted)

    assert signed_in
    assert signed_in.token != planted
    assert not lives(database, planted)


def test_signing_out_ends_the_session(database: Database) -> None:
    add(database)
    signed_in = come(database)
    assert signed_in
    with database.write() as db:
        end_session(db, signed_in.token)
        note_seen(db, signed_in.token, now=START)

    assert not lives(database, signed_in.token)


@pytest.mark.usefixtures("_quick")
def test_another_password_ends_every_session_of_the_account_and_of_no_other(database: Database) -> None:
    add(database)
    add(database, "carl", "noget helt andet og langt")
    ours = [come(database), come(database)]
    theirs = come(database, "carl", "noget helt andet og langt")

    with database.write() as db:
        assert change_password(db, "bodil", "en ny og lang sætning", now=START) == 2

    assert theirs
    assert not any(lives(database, each.token) for each in ours if each)
    assert lives(database, theirs.token)
    assert come(database) is None
    assert come(database, password="en ny og lang sætning") is not None


def test_a_removed_account_is_gone_with_its_sessions(database: Database) -> None:
    add(database)
    signed_in = come(database)
    assert signed_in
    with database.write() as db:
        remove_account(db, "bodil")

    assert not lives(database, signed_in.token)
    assert come(database) is None
    with database.read() as db:
        assert db.scalar(select(func.count()).select_from(StaffSession)) == 0
        with pytest.raises(AccountNotFound):
            find_account(db, "bodil")


def test_sessions_whose_time_is_up_are_cleared_away(database: Database) -> None:
    add(database)
    with database.write() as db:
        account = db.scalars(select(StaffAccount)).one()
        open_session(db, account.id, now=START - LIFETIME - IDLE)
        open_session(db, account.id, now=START)
    with database.read() as db:
        assert db.scalar(select(func.count()).select_from(StaffSession)) == 1


def fail(database: Database, times: int, *, name: str = "bodil", now: datetime = START) -> None:
    for _ in range(times):
        assert come(database, name, "en forkert sætning", now=now) is None


@pytest.mark.usefixtures("_quick")
def test_a_few_mistakes_cost_nothing_and_then_the_wait_grows(database: Database) -> None:
    add(database)
    fail(database, FREE)
    now, waits = START, []
    for _ in range(10):
        fail(database, 1, now=now)
        with pytest.raises(TooManyAttempts) as told:
            come(database, now=now)
        waits.append(told.value.seconds)
        now += timedelta(seconds=told.value.seconds)

    assert waits[:4] == [2, 4, 8, 16]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT.total_seconds()
    assert come(database, now=now) is not None
    fail(database, FREE, now=now)  # all is forgiven


@pytest.mark.usefixtures("_quick")
def test_an_unknown_name_waits_as_long_as_a_known_one(database: Database) -> None:
    fail(database, FREE + 1, name="nobody")
    with pytest.raises(TooManyAttempts):
        come(database, "nobody")


@pytest.mark.usefixtures("_quick")
def test_a_guesser_does_not_lock_a_colleague_out_of_a_browser_that_is_known(database: Database) -> None:
    add(database)
    known = come(database)
    assert known
    fail(database, FREE + 1)

    with pytest.raises(TooManyAttempts):
        come(database)
    assert come(database, browser=known.browser) is not None


@pytest.mark.usefixtures("_quick")
def test_the_cookie_of_a_known_browser_is_one_accounts(database: Database) -> None:
    add(database)
    add(database, "carl", "noget helt andet og langt")
    known = come(database, "carl", "noget helt andet og langt")
    assert known
    fail(database, FREE + 1)

    for browser in (
        known.browser,
        "0" * 24 + "." + "0" * 32,
        known.browser[:-1],
        f"1{known.browser}",
        "",
        "x",
        "é" * 24 + ".",
        "." * 80,
    ):
        with pytest.raises(TooManyAttempts):
            come(database, browser=browser)


@pytest.mark.usefixtures("_quick")
def test_a_known_browser_may_not_guess_for_ever_either(database: Database) -> None:
    add(database)
    known = come(database)
    assert known
    for _ in range(FREE + 1):
        assert come(database, password="en forkert sætning", browser=known.browser) is None
    with pytest.raises(TooManyAttempts):
        come(database, browser=known.browser)


@pytest.mark.usefixtures("_quick")
def test_failures_are_forgotten_after_a_quiet_hour(database: Database) -> None:
    add(database)
    fail(database, FREE + 1)
    fail(database, FREE, now=START + FORGOTTEN_AFTER + timedelta(minutes=6))


@pytest.mark.usefixtures("_quick")
def test_made_up_names_fill_no_table_and_are_not_kept(database: Database) -> None:
    slots = {slot_of(f"hemmelig{number}") for number in range(20_000)}
    assert len(slots) <= 4096
    fail(database, 1, name="hemmeligt kodeord")
    with database.read() as db:
        assert not any("hemmeligt" in slot for slot in db.scalars(select(SignInFailures.slot)))


@pytest.mark.usefixtures("_quick")
def test_guesses_at_many_names_keep_no_stranger_from_another(database: Database) -> None:
    add(database)
    for number in range(120):
        fail(database, 1, name=f"nobody{number}")
    assert slot_of("bodil") not in {slot_of(f"nobody{number}") for number in range(120)}
    assert come(database) is not None


@pytest.mark.usefixtures("_quick")
def test_who_is_to_wait_is_refused_without_a_writing_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database)
    fail(database, FREE + 1)

    def write(_database: Database) -> None:
        raise AssertionError("a transaction that writes")

    monkeypatch.setattr(Database, "write", write)
    with pytest.raises(TooManyAttempts):
        come(database)


@pytest.mark.usefixtures("_quick")
def test_a_browser_stays_known_when_the_password_changes(database: Database) -> None:
    add(database)
    known = come(database)
    assert known
    with database.write() as db:
        change_password(db, "bodil", "en ny og lang sætning", now=START + timedelta(days=1))
    fail(database, FREE + 1)

    with pytest.raises(TooManyAttempts):
        come(database, password="en ny og lang sætning")
    assert come(database, password="en ny og lang sætning", browser=known.browser) is not None


@pytest.mark.usefixtures("_quick")
def test_cookies_collected_with_the_old_password_give_one_counter_for_guessing_the_new(
    database: Database,
) -> None:
    add(database)
    hoard = [come(database) for _ in range(FREE + 2)]
    with database.write() as db:
        change_password(db, "bodil", "en ny og lang sætning", now=START + timedelta(days=1))
    for known in hoard[:-1]:
        assert known
        assert come(database, password="en forkert sætning", browser=known.browser) is None

    assert hoard[-1]
    with pytest.raises(TooManyAttempts):
        come(database, browser=hoard[-1].browser)


@pytest.mark.usefixtures("_quick")
def test_a_browser_is_not_known_to_the_next_account_of_that_name(database: Database) -> None:
    add(database)
    known = come(database)
    assert known
    with database.write() as db:
        remove_account(db, "bodil")
        add_account(db, "bodil", StaffRole.VIEWER, PASSWORD, now=START + timedelta(days=1))
    fail(database, FREE + 1)

    with pytest.raises(TooManyAttempts):
        come(database, browser=known.browser)


NEW = "en ny og lang sætning"


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    "deed",
    [
        lambda db: change_password(db, "bodil", NEW, now=START),
        lambda db: remove_account(db, "bodil"),
    ],
    ids=["changed", "removed"],
)
def test_the_old_password_opens_nothing_while_it_is_being_changed_or_removed(
    database: Database, monkeypatch: pytest.MonkeyPatch, deed: Callable[[Session], int]
) -> None:
    add(database)
    with database.write() as db:
        old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
        find_account(db, "bodil").password_hash = old  # so that it would be kept anew
    done = threading.Event()

    def change() -> None:
        with database.write() as db:
            deed(db)
            db.flush()
            done.set()
            time.sleep(0.3)  # meanwhile the sign-in goes as far as it can

    changing = threading.Thread(target=change)

    def match(password: str, kept: str | None) -> bool:
        right = matches(password, kept)
        changing.start()
        assert done.wait(20)
        return right

    monkeypatch.setattr("mailer.staff.signing_in.matches", match)
    assert come(database) is None
    changing.join()

    with database.read() as db:
        assert db.scalar(select(func.count()).select_from(StaffSession)) == 0
        assert all(matches(NEW, account.password_hash) for account in list_accounts(db))


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("name", ["\x00", "bodil\x00", "a" * 5000, "", "<b>"])
def test_what_cannot_be_a_name_is_looked_at_and_counted_like_one(
    database: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    looked: list[str | None] = []

    def match(password: str, kept: str | None) -> bool:
        looked.append(kept)
        return matches(password, kept)

    monkeypatch.setattr("mailer.staff.signing_in.matches", match)
    add(database)
    fail(database, FREE + 1, name=name)

    assert looked == [None] * (FREE + 1)
    with pytest.raises(TooManyAttempts):
        come(database, name)
