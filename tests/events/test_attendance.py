from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.event import listen

from mailer.events.attendance import AttendanceResult, import_attendance
from mailer.events.errors import EventNotFound
from mailer.events.matching import link_registrations
from mailer.events.models import Registration, RegistrationSource, RegistrationState
from mailer.events.registering import register
from mailer.foundation.clock import Clock
from mailer.foundation.database import Database
from recipients.columns import Column
from recipients.errors import InputNotFound, UnreadableFile
from recipients.importing import ImportOptions
from recipients.models import Recipient, Role
from tests.events.making import NOW, make_event

SEATED, WAITING, CANCELLED = RegistrationState
LATER = NOW + timedelta(days=3)


class Lists:
    """Imports texts as the attendance list of one event, and looks at what came of it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        with database.write() as db:
            self.event_id = make_event(db, "kolding").id

    def __call__(
        self,
        content: str | bytes,
        *,
        name: str = "tilmeldte.csv",
        slug: str = "kolding",
        now: Any = NOW,
        replace: bool = False,
        state_heading: str | None = None,
        agree: Callable[[int], None] = lambda _count: None,
        **options: Any,
    ) -> AttendanceResult:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_attendance(
            self.database,
            slug,
            path,
            clock=Clock(real=lambda: now),
            options=ImportOptions(rejects_folder=self.folder / "rejects", **options),
            state_heading=state_heading,
            replace=replace,
            agree=agree,
        )

    def add_recipient(self, email: str, **values: Any) -> int:
        with self.database.write() as db:
            recipient = Recipient(
                email=email,
                email_key=email,
                address_hash=f"{hash(email) % 16**32:032x}",
                domain="x.example",
                role=Role.OTHER,
                created_at=NOW,
                updated_at=NOW,
                **values,
            )
            db.add(recipient)
            db.flush()
            return recipient.id

    def register(self, recipient_id: int) -> None:
        with self.database.write() as db:
            make_event(db, "hosted").hosted = True
            db.flush()
            register(db, "hosted", recipient_id, now=NOW)

    def all(self, slug_id: int | None = None) -> list[Registration]:
        ordered = select(Registration).order_by(Registration.number)
        with self.database.read() as db:
            return list(db.scalars(ordered.where(Registration.event_id == (slug_id or self.event_id))))

    def states(self) -> list[RegistrationState]:
        return [each.state for each in self.all()]


@pytest.fixture
def lists(database: Database, tmp_path: Path) -> Lists:
    return Lists(database, tmp_path)


def test_whoever_is_a_recipient_is_registered_as_one_and_others_with_what_the_list_says(
    lists: Lists,
) -> None:
    known = lists.add_recipient("tr@aarhus.example")

    result = lists(
        "E-mail;Navn;Organisation;Telefon\n"
        "TR@Aarhus.example;Bo;Aarhus Kommune;12345678\n"
        "Åse Holm <ase@x.example>;;X A/S;87654321\n"
    )

    assert result.counts == {
        "rows": 2,
        "imported": 2,
        "updated": 0,
        "unchanged": 0,
        "duplicates": 0,
        "rejected": 0,
    }
    first, second = lists.all()
    assert (first.recipient_id, first.email, first.email_key) == (known, None, None)
    assert (first.name, first.organisation, first.state) == ("Bo", "Aarhus Kommune", SEATED)
    assert (second.recipient_id, second.email, second.email_key) == (
        None,
        "ase@x.example",
        "ase@x.example",
    )
    assert (second.name, second.organisation) == ("Åse Holm", "X A/S")
    assert [each.number for each in (first, second)] == [1, 2]
    assert {each.source for each in (first, second)} == {RegistrationSource.LIST}
    assert {each.registered_at for each in (first, second)} == {NOW}
    assert {each.told for each in (first, second)} == {None}


def test_the_same_list_again_changes_nothing(lists: Lists) -> None:
    content = "E-mail;Navn;Status\na@x.example;Åse;tilmeldt\nb@x.example;;venteliste\n"
    lists.add_recipient("a@x.example")
    lists(content)

    again = lists(content, now=LATER, replace=True)

    assert (again.unchanged, again.imported, again.updated, again.taken_off) == (2, 0, 0, 0)
    assert {each.changed_at for each in lists.all()} == {NOW}


def test_a_newer_list_changes_what_it_says_and_erases_nothing(lists: Lists) -> None:
    lists("E-mail;Navn;Organisation;Status\na@x.example;Åse;A;ja\nb@x.example;Bo;B;ja\n")

    newer = lists("E-mail;Navn;Status\na@x.example;Åse Holm;ja\nb@x.example;;nej\n", now=LATER)

    assert newer.updated == 2
    first, second = lists.all()
    assert (first.name, first.organisation, first.changed_at) == ("Åse Holm", "A", NOW)
    assert (second.name, second.state, second.changed_at) == ("Bo", CANCELLED, LATER)


@pytest.mark.parametrize(
    ("heading", "word", "state"),
    [
        ("Status", "Tilmeldt", SEATED),
        ("status", "", SEATED),
        ("Tilmeldt", "x", SEATED),
        ("Tilmeldt", "12-03-2014 09:31", SEATED),
        ("Deltagerstatus", "På venteliste", WAITING),
        ("Registration status", "waitlisted", WAITING),
        ("Tilmeldt?", "nej", CANCELLED),
        ("State", "cancelled", CANCELLED),
        ("Afkrydsning", "nej", SEATED),
    ],
)
def test_a_status_column_says_who_has_a_seat(
    lists: Lists, heading: str, word: str, state: RegistrationState
) -> None:
    assert lists(f"E-mail;{heading}\na@x.example;{word}\n").imported == 1
    assert lists.states() == [state]


def test_a_status_column_can_be_named_by_hand(lists: Lists) -> None:
    lists(
        "Kontakt;Status;Afkrydsning\na@x.example;betalt;nej\n",
        mapping={Column.EMAIL: "Kontakt"},
        state_heading="Afkrydsning",
    )

    assert lists.states() == [CANCELLED]
    with pytest.raises(UnreadableFile, match=r"tilmeldte\.csv: no heading 'Svar'"):
        lists("E-mail\na@x.example\n", state_heading="Svar")


def test_rows_that_do_not_say_who_comes_are_refused_and_the_others_go_in(lists: Lists) -> None:
    result = lists(
        "E-mail;Tilmeldt\na@x.example;måske\nb@x.example;\nhemmelig@skole.test;ja\n;ja\nc@x.example;ja\n"
    )

    assert (result.rows, result.imported, result.rejected) == (5, 1, 4)
    assert [refusal.line for refusal in result.refusals] == [2, 3, 4, 5]
    assert not any("skole" in refusal.reason for refusal in result.refusals)
    assert result.rejects_file
    assert "hemmelig@skole.test" in result.rejects_file.read_text("utf-8-sig")


def test_of_several_rows_of_one_address_the_first_counts(lists: Lists) -> None:
    result = lists("E-mail;Navn;Status\na@x.example;Åse;ja\nA@X.example;Bo;nej\na@x.example;Ib;nej\n")

    assert (result.rows, result.imported, result.duplicates) == (3, 1, 2)
    (only,) = lists.all()
    assert (only.name, only.state) == ("Åse", SEATED)


def test_who_registered_on_our_page_is_left_alone_and_named(lists: Lists) -> None:
    recipient = lists.add_recipient("a@x.example")
    lists.register(recipient)

    result = lists("E-mail;Status\nb@x.example;ja\na@x.example;nej\n", slug="hosted", replace=True)

    assert (result.imported, result.unchanged, result.hosted) == (1, 1, 1)
    assert result.hosted_lines == [3]
    assert result.taken_off == 0
    with lists.database.read() as db:
        ours = db.scalars(select(Registration).where(Registration.recipient_id == recipient)).one()
    assert (ours.state, ours.source, ours.number) == (SEATED, RegistrationSource.HOSTED, 1)


def test_replacing_takes_off_who_is_on_an_earlier_list_only_after_it_was_agreed_to(
    lists: Lists,
) -> None:
    asked: list[int] = []
    lists("E-mail\na@x.example\nb@x.example\nc@x.example\n")

    def refuse(count: int) -> None:
        asked.append(count)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lists("E-mail\nb@x.example\nd@x.example\n", replace=True, agree=refuse)
    assert asked == [2]
    assert lists.states() == [SEATED, SEATED, SEATED]

    result = lists("E-mail\nb@x.example\nd@x.example\n", replace=True, now=LATER)
    assert (result.taken_off, result.imported, result.unchanged) == (2, 1, 1)
    assert lists.states() == [CANCELLED, SEATED, CANCELLED, SEATED]
    assert lists.all()[0].changed_at == LATER


def test_nobody_is_taken_off_while_rows_are_refused_that_may_be_theirs(
    lists: Lists, tmp_path: Path
) -> None:
    lists("E-mail;Status\na@x.example;ja\nb@x.example;ja\n")

    result = lists("E-mail;Status\na@x.example;ja\nb@x.example;måske\n", replace=True)

    assert (result.rejected, result.taken_off) == (1, 0)
    assert lists.states() == [SEATED, SEATED]
    assert result.rejects_file
    corrected = result.rejects_file.read_bytes().replace("måske".encode(), b"nej")
    with pytest.raises(UnreadableFile, match="only a part of a list"):
        lists(corrected, replace=True)
    assert lists(corrected).updated == 1


def test_whoever_comes_back_after_cancelling_goes_to_the_end(lists: Lists) -> None:
    lists("E-mail;Status\na@x.example;nej\nb@x.example;ja\n")

    lists("E-mail;Status\nc@x.example;ja\na@x.example;venteliste\n", now=LATER)

    numbers = {each.email: each.number for each in lists.all()}
    assert min(numbers.values()) == numbers["b@x.example"] == 2
    assert set(numbers.values()) == {2, 3, 4}
    back = next(each for each in lists.all() if each.email == "a@x.example")
    assert (back.state, back.registered_at) == (WAITING, LATER)


def test_a_dry_run_counts_the_same_and_changes_nothing(lists: Lists) -> None:
    lists("E-mail\na@x.example\n")
    content = "E-mail;Navn\na@x.example;Åse\nb@x.example;Bo\nb@x.example;Bo\n"

    tried = lists(content, dry_run=True)

    assert [each.name for each in lists.all()] == [None]
    done = lists(content)
    assert tried.counts == done.counts
    assert (done.imported, done.updated, done.duplicates) == (1, 1, 1)


def test_people_who_become_recipients_are_linked_at_the_next_list(lists: Lists) -> None:
    content = "E-mail;Navn\na@x.example;Åse\n"
    lists(content)
    recipient = lists.add_recipient("a@x.example")

    assert lists(content).unchanged == 1

    (only,) = lists.all()
    assert (only.recipient_id, only.email, only.email_key) == (recipient, None, None)
    assert (only.name, only.number) == ("Åse", 1)


def test_all_events_can_be_linked_at_once(lists: Lists) -> None:
    with lists.database.write() as db:
        make_event(db, "aalborg")
    lists("E-mail\na@x.example\nb@x.example\n")
    lists("E-mail\na@x.example\n", slug="aalborg")
    recipient = lists.add_recipient("a@x.example")

    with lists.database.write() as db:
        assert link_registrations(db) == 2
        assert link_registrations(db) == 0
        linked = db.scalars(select(Registration.event_id).where(Registration.recipient_id == recipient))
        assert len(linked.all()) == 2


def test_somebody_linked_who_registered_meanwhile_is_one_person(lists: Lists) -> None:
    with lists.database.write() as db:
        hosted = make_event(db, "vejle")
        hosted.hosted = True
        db.flush()
        event_id = hosted.id
    lists("E-mail;Status\na@x.example;venteliste\n", slug="vejle")
    recipient = lists.add_recipient("a@x.example")
    with lists.database.write() as db:
        register(db, "vejle", recipient, now=LATER)

    with lists.database.write() as db:
        assert link_registrations(db) == 0

    (only,) = lists.all(event_id)
    assert (only.recipient_id, only.source) == (recipient, RegistrationSource.HOSTED)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("Navn;Mobil\nÅse;1\n", "it has no e-mail column .* the headings are: Navn, Mobil"),
        (";".join(f"k{number}" for number in range(20_000)) + "\n", "and 19,960 more"),
        ("a@x.example\nb@x.example\n", "its first row holds an address"),
        ("BEGIN:VCALENDAR\nVERSION:2.0\nEND:VCALENDAR\n", "a calendar file, not a list of people"),
        (b"PK\x03\x04 no workbook", "not a readable spreadsheet|damaged"),
        ("E-mail\nsøren@x.example\nås".encode() + b"e@x.example;\xe5\n", "mixes UTF-8"),
    ],
)
def test_what_is_no_attendance_list_is_refused_in_one_line(
    lists: Lists, content: str | bytes, message: str
) -> None:
    with pytest.raises(UnreadableFile, match=message) as refused:
        lists(content)
    assert len(str(refused.value)) < 2000
    assert "\n" not in str(refused.value)
    assert lists.all() == []


def test_an_unknown_event_or_file_is_said_before_anything_is_read(lists: Lists) -> None:
    with pytest.raises(EventNotFound, match="there are: kolding"):
        lists("E-mail\n", slug="vejle")
    with pytest.raises(InputNotFound):
        import_attendance(
            lists.database, "kolding", Path("nej.csv"), clock=Clock(), options=ImportOptions()
        )


def test_a_list_of_thousands_goes_in_by_few_statements(lists: Lists) -> None:
    content = "E-mail;Navn\n" + "".join(f"p{n}@k{n % 98}.example;Person {n}\n" for n in range(5000))
    statements: list[str] = []
    engine = lists.database.engine
    listen(engine, "before_cursor_execute", lambda *told: statements.append(told[2]))

    assert lists(content).imported == 5000
    assert lists(content).unchanged == 5000

    assert len(statements) < 100
