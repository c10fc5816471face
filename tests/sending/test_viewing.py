"""The letter in a browser is the one that its recipient got, whatever has changed since."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from mailer.campaigns.audience import claims, written_to
from mailer.campaigns.ledger import Outcome, finalise_batch, forget_recipients, note_report
from mailer.campaigns.models import Delivery, DeliveryState
from mailer.foundation.clock import real_now
from mailer.launch import launch_campaign
from mailer.rendering.letter import RenderedLetter
from mailer.runtime import Runtime
from mailer.sending.claims import claim_batch
from mailer.sending.viewing import view_letter
from mailer.sending.work import send_batches, sweep
from recipients.choices import choose_tracking
from recipients.finding import find_recipient
from recipients.importing import ImportOptions, import_files
from recipients.models import Recipient, RecipientVersion, TrackingChoice
from tests.conftest import NOW
from tests.making import ScriptedRelay, make_campaign, make_recipient, relay_running, with_relay

ADDRESS = "tr@kommune.example"
PROMOTED = "E-mail;Navn;Stilling;Kommune;Region;Arbejdsplads;Hovedorganisation;Sprog;Lokale\n"
PROMOTED += f"{ADDRESS};Bo Nielsen;Borgmester;Odense;Syddanmark;Rådhuset;OAO;en;7\n"


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


class Office:
    """Sends letters to one recipient, changes their row, and looks at letters in a browser."""

    def __init__(self, runtime: Runtime, relay: ScriptedRelay, folder: Path) -> None:
        self.runtime, self.relay, self.folder = with_relay(runtime, relay.port), relay, folder
        with runtime.database.write() as db:
            make_recipient(db, address=ADDRESS)

    def launch(self, name: str, **values: object) -> int:
        with self.runtime.database.write() as db:
            campaign = make_campaign(db, name=name, **values)
            return launch_campaign(self.runtime.launch_tools, db, campaign, now=NOW).campaign_id

    def send(self, name: str = "brev", **values: object) -> int:
        """Send a campaign to everybody; return its number."""
        campaign_id = self.launch(name, **values)
        self.work(campaign_id)
        return campaign_id

    def work(self, campaign_id: int) -> None:
        with self.runtime.sending_tools() as tools:
            send_batches(tools, campaign_id=campaign_id)

    def bring(self, content: str) -> None:
        """Import a list."""
        path = self.folder / "liste.csv"
        path.write_text(content, encoding="utf-8")
        import_files(
            self.runtime.database,
            [path],
            hash_key=self.runtime.settings.address_key,
            clock=self.runtime.clock,
            options=ImportOptions(rejects_folder=self.folder),
            written_to=written_to(),
            claims=claims(),
        )

    def say(self, choice: TrackingChoice) -> None:
        """What the recipient says about tracking, as the office writes it down."""
        with self.runtime.database.write() as db:
            hashed = find_recipient(db, ADDRESS).address_hash
            choose_tracking(db, hashed, choice, now=NOW)

    def view(self, campaign_id: int) -> RenderedLetter:
        with self.runtime.database.read() as db:
            position = db.scalars(
                select(Delivery.position)
                .join(Recipient, Recipient.id == Delivery.recipient_id)
                .where(Delivery.campaign_id == campaign_id, Recipient.email == ADDRESS)
            ).one()
            shown = view_letter(self.runtime.letter_tools, db, campaign_id, position)
        assert shown is not None
        return shown

    def versions(self) -> int:
        with self.runtime.database.read() as db:
            return db.scalar(select(func.count()).select_from(RecipientVersion)) or 0

    def text_of_last(self) -> str:
        """The text of the last letter that the relay took."""
        (to, data) = self.relay.accepted[-1]
        self.relay.accepted[:] = [(to, data)]
        body = self.relay.letter_to(ADDRESS).get_body(("plain",))
        assert body is not None
        text: str = body.get_content()
        return text


@pytest.fixture
def office(runtime: Runtime, relay: ScriptedRelay, tmp_path: Path) -> Office:
    return Office(runtime, relay, tmp_path)


def test_a_letter_stays_as_it_was_sent(office: Office) -> None:
    first = office.send("marts")
    got, shown = office.text_of_last(), office.view(first)
    assert shown.text.split() == got.split()
    assert "Åse Sørensen" in shown.text

    office.bring(PROMOTED)
    assert office.view(first) == shown
    second = office.send("april")
    got_then, shown_then = office.text_of_last(), office.view(second)
    assert shown_then.text.split() == got_then.split()
    assert "Bo Nielsen" in shown_then.html
    assert "Åse" not in shown_then.html
    office.bring(f"E-mail;Navn;Sprog\n{ADDRESS};Bo Holm;da\n")
    office.bring(f"E-mail;Navn\n{ADDRESS};Bo Lund\n")

    assert office.view(first) == shown
    assert office.view(second) == shown_then
    assert "Bo Lund" in office.view(office.send("maj")).text


@pytest.mark.parametrize(
    "changed",
    [
        "E-mail;Navn\n{};Bo Nielsen\n",
        "E-mail;Stilling\n{};Borgmester\n",
        "E-mail;Region\n{};Nordjylland\n",
        "E-mail;Sprog\n{};en\n",
        "E-mail;Sektor\n{};region\n",
        "E-mail;Arbejdsplads\n{};Rådhuset\n",
        "E-mail;Myndighed\n{};Odense Kommune\n",
        "E-mail;Hovedorganisation\n{};OAO\n",
        "E-mail;Lokale\n{};7\n",
        "E-mail;Samtykke\n{};ja\n",
        "E-mail;Samtykke\n{};nej\n",
    ],
)
def test_every_change_that_a_letter_could_show_keeps_the_row_before_it(
    office: Office, changed: str
) -> None:
    office.send()
    office.bring(changed.format(ADDRESS))
    office.bring(changed.format(ADDRESS))

    with office.runtime.database.read() as db:
        kept = db.scalars(select(RecipientVersion)).one()
    assert (kept.name, kept.role, kept.region) == ("Åse Sørensen", "tillidsrepræsentant", "Midtjylland")
    assert (kept.language, kept.attributes, kept.tracking) == ("da", {}, None)
    assert (kept.shared, kept.replaced_at) == (False, NOW)


def test_a_list_that_brings_nothing_to_show_keeps_nothing(office: Office) -> None:
    office.send()
    office.bring(f"E-mail;Navn;Kilde\n{ADDRESS};Åse Sørensen;KL\nny@kommune.example;Ny;KL\n")
    office.bring("E-mail;Navn\nny@kommune.example;Nyere\n")

    assert office.versions() == 0, "a source is not shown, and nobody has written to the other"


def test_what_no_letter_showed_is_forgotten_by_the_next_list(office: Office) -> None:
    """However often lists come, a letter costs one version of each reader."""
    first = office.send()
    for name in ("Bo", "Ib", "Eva", "Kaj"):
        office.bring(f"E-mail;Navn\n{ADDRESS};{name} Hansen\n")
    assert office.versions() == 2, "what the letter showed, and what the last list replaced"

    second = office.send("brev igen")
    for name in ("Pia", "Ole", "Ulla"):
        office.bring(f"E-mail;Navn\n{ADDRESS};{name} Hansen\n")

    assert office.versions() == 3
    assert "Åse Sørensen" in office.view(first).text
    assert "Kaj Hansen" in office.view(second).text


def test_a_deferred_letter_is_shown_as_it_was_taken_in_the_end(office: Office) -> None:
    office.relay.rcpt[ADDRESS] = "451 4.7.1 greylisted"
    campaign_id = office.send()
    office.bring(PROMOTED)
    with office.runtime.database.write() as db:
        db.execute(update(Delivery).where(Delivery.due_at.is_not(None)).values(due_at=real_now()))
    office.relay.rcpt.clear()
    with office.runtime.sending_tools() as tools:
        sweep(tools, workers=1)
    assert "Bo Nielsen" in office.view(campaign_id).html, "offered again, it would say this"
    office.work(campaign_id)

    shown = office.view(campaign_id)
    assert shown.text.split() == office.text_of_last().split()
    assert "Bo Nielsen" in shown.html
    office.bring(f"E-mail;Navn\n{ADDRESS};Bo Lund\n")
    assert office.view(campaign_id) == shown


def test_a_letter_at_work_while_a_list_comes_is_shown_as_it_was_read(office: Office) -> None:
    campaign_id = office.launch("brev")
    shown = office.view(campaign_id)
    with office.runtime.database.write() as db:
        batch = claim_batch(
            db, campaign_id, owner="one", host="host", boot="boot", now=real_now(), shown=NOW
        )
    assert batch is not None
    office.bring(PROMOTED)
    with office.runtime.database.write() as db:
        outcomes = [Outcome(1, DeliveryState.SENT, relay="relay.example:25", code=250)]
        later = NOW + timedelta(minutes=10)
        finalise_batch(db, batch, outcomes, handed_back=(), now=later, back_at=later, real=later)

    assert office.view(campaign_id) == shown


def test_what_comes_back_by_mail_later_changes_no_letter(office: Office) -> None:
    campaign_id = office.send()
    shown = office.view(campaign_id)
    office.bring(PROMOTED)
    with office.runtime.database.write() as db:
        later = NOW + timedelta(days=2)
        assert note_report(db, campaign_id, 1, DeliveryState.COMPLAINED, reason="complaint", now=later)

    assert office.view(campaign_id) == shown


@pytest.mark.parametrize("mode", ["personal", "consent", "anonymous", "none"])
def test_a_yes_said_later_tracks_no_link_of_a_letter_that_had_left(office: Office, mode: str) -> None:
    campaign_id = office.send(tracking=mode)
    shown = office.view(campaign_id)
    office.say(TrackingChoice.CONSENT)
    assert office.view(campaign_id) == shown
    office.say(TrackingChoice.UNSAID)
    assert office.view(campaign_id) == shown
    office.bring(PROMOTED)
    assert office.view(campaign_id) == shown


@pytest.mark.parametrize("mode", ["personal", "consent", "anonymous", "none"])
def test_after_an_objection_no_tracked_link_of_a_letter_shown_again_names_its_reader(
    office: Office, mode: str
) -> None:
    if mode == "consent":
        office.say(TrackingChoice.CONSENT)
    campaign_id = office.send(tracking=mode)
    addresses = office.runtime.letter_tools.addresses
    named, nobodys = (
        addresses.click(campaign_id, position, 1).rpartition("/")[0] for position in (1, 0)
    )
    before = office.view(campaign_id)
    assert (named in before.html) == (mode in {"personal", "consent"})
    office.say(TrackingChoice.OBJECTION)
    office.bring(PROMOTED)

    after = office.view(campaign_id)
    assert named not in after.html + after.text
    assert after.text == before.text.replace(named, nobodys)
    assert (f"{addresses.public_url}/c/" in after.html) == (mode != "none")


def test_an_objection_taken_back_names_nobody_in_letters_that_left_under_it(office: Office) -> None:
    office.say(TrackingChoice.OBJECTION)
    campaign_id = office.send()
    shown = office.view(campaign_id)
    office.say(TrackingChoice.CONSENT)

    assert office.view(campaign_id) == shown


def test_who_is_erased_leaves_no_former_row(office: Office) -> None:
    campaign_id = office.send()
    office.bring(PROMOTED)
    assert office.versions() == 1
    with office.runtime.database.write() as db:
        wanted = select(Recipient.id).where(Recipient.email == ADDRESS)
        forget_recipients(db, wanted)
        db.execute(delete(Recipient).where(Recipient.id.in_(wanted)))

    assert office.versions() == 0
    with office.runtime.database.write() as db:
        assert view_letter(office.runtime.letter_tools, db, campaign_id, 1) is None


def test_a_number_is_not_given_to_a_second_version(office: Office) -> None:
    """Else the letter of a batch that saw the first would be taken to have seen the second."""
    with office.runtime.database.write() as db:
        other = make_recipient(db, address="anden@kommune.example").id
    office.send("marts")
    office.bring("E-mail;Navn\nanden@kommune.example;Ida\n")
    second = office.send("april")
    shown = office.view(second)
    with office.runtime.database.write() as db:
        db.execute(update(Delivery).where(Delivery.recipient_id == other).values(recipient_id=None))
        db.execute(delete(Recipient).where(Recipient.id == other))
    office.bring(PROMOTED)

    assert office.view(second) == shown
