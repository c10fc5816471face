"""Whoever registers is told where they stand, once each time it is news to them."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import select, update

from mailer.campaigns.models import Campaign, Delivery
from mailer.events.models import Event, EventState, Registration, RegistrationSource, RegistrationState
from mailer.events.registering import cancel_registration, register
from mailer.foundation.settings import SettingsError
from mailer.notices.confirmations import launch_confirmations
from mailer.runtime import Runtime
from mailer.sending.work import send_batches
from recipients.models import Recipient, SuppressionReason, SuppressionScope
from recipients.suppression import suppress, unsuppress
from tests.conftest import NOW
from tests.events.making import make_event
from tests.making import ScriptedRelay, make_recipient, relay_running, with_relay
from tests.notices.making import import_at_work

LETTERS = ("tilmelding", "venteliste", "plads", "afmelding")
SEATED, WAITING, CANCELLED = RegistrationState
MINUTE = timedelta(minutes=1)
SLUG = "aalborg"


class Office:
    """A hosted event with one seat, and the letters about it."""

    def __init__(self, runtime: Runtime, folder: Path) -> None:
        self.folder = folder
        for letter in LETTERS:
            self.write(letter, "{{ event.title }}: {{ event.attendance }}")
        self.runtime = with_relay(runtime, 1, templates_dir=folder)
        with runtime.database.write() as db:
            event = make_event(db, SLUG)
            event.hosted, event.capacity = True, 1

    def write(self, letter: str, text: str) -> None:
        place = self.folder / "letters" / letter
        place.mkdir(parents=True, exist_ok=True)
        for name in ("subject.txt", "body.txt"):
            (place / name).write_text("Svar" if name == "subject.txt" else text, "utf-8")
        (place / "body.html").write_text(f"<body><p>{text}</p></body>", "utf-8")

    def add(self, name: str) -> None:
        with self.runtime.database.write() as db:
            make_recipient(db, address=f"{name}@kommune.example")

    def sign_up(self, *names: str, minutes: int = 0) -> None:
        for name in names:
            with self.runtime.database.write() as db:
                register(db, SLUG, self._find(name).id, now=NOW + minutes * MINUTE)

    def give_back(self, name: str, minutes: int = 0) -> None:
        with self.runtime.database.write() as db:
            wanted = Registration.recipient_id == self._find(name).id
            found = db.scalars(select(Registration).where(wanted)).one()
            cancel_registration(db, found, now=NOW + minutes * MINUTE)

    def say_no(self, name: str, scope: SuppressionScope) -> None:
        with self.runtime.database.write() as db:
            who = self._find(name).address_hash
            suppress(db, who, SuppressionReason.UNSUBSCRIBED, now=NOW, scope=scope)

    def tick(self, minutes: int = 0) -> dict[str, Sequence[str]]:
        """Who gets which letter by a tick now."""
        launched = launch_confirmations(
            self.runtime.launch_tools, self.runtime.database, now=NOW + minutes * MINUTE
        )
        return {self._letter(campaign_id): self._readers(campaign_id) for campaign_id in launched}

    def told(self) -> list[RegistrationState | None]:
        with self.runtime.database.read() as db:
            return list(db.scalars(select(Registration.told).order_by(Registration.id)))

    def _letter(self, campaign_id: int) -> str:
        with self.runtime.database.read() as db:
            return db.get_one(Campaign, campaign_id).letter

    def _readers(self, campaign_id: int) -> list[str]:
        with self.runtime.database.read() as db:
            readers = db.scalars(
                select(Recipient.email)
                .join(Delivery, Delivery.recipient_id == Recipient.id)
                .where(Delivery.campaign_id == campaign_id)
                .order_by(Recipient.email)
            )
            return [email.partition("@")[0] for email in readers]

    def _find(self, name: str) -> Recipient:
        with self.runtime.database.read() as db:
            return db.scalars(select(Recipient).where(Recipient.email.startswith(f"{name}@"))).one()


@pytest.fixture
def office(runtime: Runtime, tmp_path: Path) -> Office:
    opened = Office(runtime, tmp_path / "own")
    for name in ("anna", "bo", "carl"):
        opened.add(name)
    return opened


def test_everybody_is_told_where_they_stand_and_what_becomes_of_it_once(office: Office) -> None:
    office.sign_up("anna", "bo", "carl")
    assert office.tick(1) == {"tilmelding": ["anna"], "venteliste": ["bo", "carl"]}
    assert office.tick(2) == {}

    office.give_back("anna")
    assert office.tick(20) == {"plads": ["bo"], "afmelding": ["anna"]}
    office.give_back("carl")
    assert office.tick(21) == {"afmelding": ["carl"]}
    office.sign_up("anna")
    assert office.tick(22) == {"venteliste": ["anna"]}
    assert office.told() == [WAITING, SEATED, CANCELLED]
    assert office.tick(40) == {}


def test_who_comes_and_goes_gets_a_letter_once_they_have_settled_and_who_moves_up_at_once(
    office: Office,
) -> None:
    office.sign_up("anna", "bo")
    assert office.tick() == {"tilmelding": ["anna"], "venteliste": ["bo"]}
    office.give_back("bo", minutes=1)
    assert office.tick(2) == {}
    office.sign_up("bo", minutes=3)
    assert office.tick(4) == {}

    office.give_back("anna", minutes=5)
    assert office.tick(6) == {"plads": ["bo"]}
    for minute in range(7, 17, 2):
        office.sign_up("anna", minutes=minute)
        assert office.tick(minute) == {}
        office.give_back("anna", minutes=minute + 1)
        assert office.tick(minute + 1) == {}
    assert office.tick(30) == {}
    assert office.tick(31) == {"afmelding": ["anna"]}


def test_what_was_taken_back_before_anybody_heard_of_it_is_no_news(office: Office) -> None:
    office.sign_up("anna", "bo")
    office.give_back("anna")
    assert office.tick() == {"tilmelding": ["bo"]}
    office.give_back("bo")
    office.sign_up("bo")
    assert office.tick(1) == {}


def test_whoever_lost_their_seat_by_signing_up_again_is_told_that_they_wait(office: Office) -> None:
    office.sign_up("anna", "bo")
    office.tick()
    office.give_back("anna")
    office.sign_up("anna")

    assert office.tick(1) == {"plads": ["bo"]}
    assert office.tick(15) == {"venteliste": ["anna"]}


def test_the_letter_arrives_with_the_link_to_give_the_seat_back(
    office: Office, runtime: Runtime
) -> None:
    with relay_running(ScriptedRelay()) as relay:
        office.runtime = with_relay(runtime, relay.port, templates_dir=office.folder)
        office.sign_up("anna")
        (campaign_id,) = launch_confirmations(
            office.runtime.launch_tools, office.runtime.database, now=NOW
        )
        with office.runtime.sending_tools() as tools:
            send_batches(tools, campaign_id=campaign_id)
    text = relay.letter_to("anna@kommune.example").get_body(("plain",))

    assert text is not None
    address = runtime.letter_tools.addresses.attend(campaign_id, 1, SLUG)
    assert text.get_content() == f"Møde i {SLUG}: {address}"


@pytest.mark.parametrize(
    "values",
    [{"state": EventState.CANCELLED}, {"date": date(2014, 3, 6)}],
    ids=["cancelled", "over"],
)
def test_nobody_hears_of_a_seat_where_nothing_takes_place(
    office: Office, values: dict[str, object]
) -> None:
    office.sign_up("anna", "bo")
    with office.runtime.database.write() as db:
        db.execute(update(Event).values(values))

    assert office.tick() == {}
    assert office.told() == [None, None]


def test_nobody_is_told_of_the_list_they_stand_on(office: Office) -> None:
    office.sign_up("anna", "bo")
    with office.runtime.database.write() as db:
        db.execute(update(Registration).values(source=RegistrationSource.LIST))

    assert office.tick() == {}


def test_who_wants_no_more_letters_is_told_and_who_wants_nothing_not_before_they_want_it(
    office: Office,
) -> None:
    office.sign_up("anna", "bo", "carl")
    office.say_no("anna", SuppressionScope.EVERYTHING)
    office.say_no("bo", SuppressionScope.LETTERS)
    assert office.tick() == {"venteliste": ["bo", "carl"]}
    assert office.tick(1) == {}

    with office.runtime.database.write() as db:
        unsuppress(db, office._find("anna").address_hash)
    assert office.tick(2) == {"tilmelding": ["anna"]}


def test_a_letter_that_cannot_go_holds_up_no_other_and_goes_when_it_can(office: Office) -> None:
    office.write("tilmelding", "{{ event.findes_ikke }}")
    office.sign_up("anna", "bo")
    assert office.tick() == {"venteliste": ["bo"]}
    assert office.told() == [None, WAITING]

    office.write("tilmelding", "Du har en plads.")
    assert office.tick(1) == {"tilmelding": ["anna"]}


def test_a_letter_that_goes_round_in_circles_holds_up_no_other(office: Office) -> None:
    office.write("tilmelding", "{% macro rundt() %}{{ rundt() }}{% endmacro %}{{ rundt() }}")
    office.sign_up("anna", "bo")
    assert office.tick() == {"venteliste": ["bo"]}
    assert office.told() == [None, WAITING]


def test_trouble_that_nobody_foresaw_with_one_event_holds_up_no_other(
    office: Office,
) -> None:
    office.write("tilmelding", "{{ 'x' * 10 ** 18 }}")
    office.sign_up("anna", "bo")
    assert office.tick() == {"venteliste": ["bo"]}


def test_while_recipients_are_imported_everything_stays_to_be_told(office: Office) -> None:
    office.sign_up("anna")
    with import_at_work(office.runtime.database):
        assert office.tick() == {}
        assert office.told() == [None]
    assert office.tick(1) == {"tilmelding": ["anna"]}


def test_without_a_relay_everything_stays_to_be_told(office: Office, runtime: Runtime) -> None:
    assert launch_confirmations(runtime.launch_tools, runtime.database, now=NOW) == []
    office.sign_up("anna")
    with pytest.raises(SettingsError):
        launch_confirmations(runtime.launch_tools, runtime.database, now=NOW)

    assert office.tick() == {"tilmelding": ["anna"]}


def test_two_ticks_at_once_tell_everybody_once(office: Office) -> None:
    office.sign_up("anna", "bo", "carl")
    both, told = Barrier(2), []

    def tick() -> None:
        both.wait()
        told.append(office.tick())

    ticks = [Thread(target=tick) for _ in range(2)]
    for each in ticks:
        each.start()
    for each in ticks:
        each.join()

    letters = [letter for one in told for letter in one.items()]
    assert sorted(letters) == [("tilmelding", ["anna"]), ("venteliste", ["bo", "carl"])]


def test_a_tick_waits_for_who_is_just_giving_a_seat_back(office: Office) -> None:
    office.sign_up("anna", "bo")
    told: list[dict[str, Sequence[str]]] = []
    tick = Thread(target=lambda: told.append(office.tick()))
    with office.runtime.database.write() as db:
        first = db.scalars(select(Registration).order_by(Registration.number)).first()
        assert first is not None
        cancel_registration(db, first, now=NOW)
        tick.start()
        tick.join(0.5)
        assert told == []
    tick.join()

    assert told == [{"tilmelding": ["bo"]}]
