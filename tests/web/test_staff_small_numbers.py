"""Staff pages laid side by side: nothing on any of them lets one work out what a few people did."""

import re
from dataclasses import dataclass
from html import unescape

import pytest

from mailer.campaigns.attention import Alarm, Trouble
from mailer.campaigns.models import Batch, Campaign, CampaignState, DeliveryState
from mailer.events.audiences import AudienceRule
from mailer.events.models import EventChange, Reminder, ReminderRequest, ReminderState
from mailer.runtime import Runtime
from mailer.web.staff.figures import NEWEST
from mailer.web.staff.words import alarm
from tests.conftest import NOW
from tests.reports.factories import (
    deliver,
    make_campaign,
    make_event,
    make_link,
    make_recipient,
    register,
)
from tests.web.staffing import Staff, opened, quick, signed_in, staff

__all__ = ["opened", "quick", "signed_in", "staff"]

EVERYBODY, ASKED, REGISTERED = 60, 16, 4
TELLING = {
    "who registered": REGISTERED,
    "who did not": EVERYBODY - REGISTERED,
    "who asked and did not register": ASKED - REGISTERED,
    "who did neither": EVERYBODY - ASKED,
}
_WHEN = re.compile(
    r"kl\. [\d.]+|[\d.]+ UTC|\d+\. [a-z]+( 2\d{3})?|\d+ (dage?|timer?) før|20\d\d|færre end 5"
)


@dataclass(frozen=True, slots=True)
class Sent:
    """The campaigns."""

    mailing: int
    reminders: list[int]
    change: int
    confirmations: list[int]


@pytest.fixture
def sent(runtime: Runtime) -> Sent:
    """A letter to sixty of one region; sixteen asked to be reminded, four of them registered; then
    reminders to each kind of people, news, and a confirmation in each minute in which one registered."""
    with runtime.database.write() as db:
        mailing = make_campaign(db)
        event = make_event(db, "herning", "Herning")
        event.region = "Midtjylland"
        make_link(db, mailing, "midt", kind="registration", event="herning")
        people = [make_recipient(db, f"{n}@midt.example") for n in range(EVERYBODY)]
        for person in people:
            deliver(db, mailing, person)
        for person in people[:ASKED]:
            db.add(ReminderRequest(event_id=event.id, recipient_id=person.id, asked_at=NOW))
        for person in people[:REGISTERED]:
            register(db, event, person)

        def send_by_itself(name: str, letter: str, first: int, last: int) -> Campaign:
            campaign = make_campaign(db, name)
            campaign.auto_submitted, campaign.letter = True, letter
            for person in people[first:last]:
                deliver(db, campaign, person)
            return campaign

        reminders = []
        for rule, first, last in (
            (AudienceRule.REGISTERED, 0, REGISTERED),
            (AudienceRule.ASKED, REGISTERED, ASKED),
            (AudienceRule.REGION, ASKED, EVERYBODY),
        ):
            campaign = send_by_itself(f"reminder-{rule}", f"brev-{rule}", first, last)
            reminders.append(campaign.id)
            db.add(
                Reminder(
                    event_id=event.id,
                    lead="14 days",
                    rule=rule,
                    event_date=event.date,
                    state=ReminderState.SENT,
                    due_at=NOW,
                    audience=campaign.audience,
                    campaign_id=campaign.id,
                    at=NOW,
                )
            )
        change = send_by_itself("aendring-herning", "aendring", REGISTERED, ASKED)
        db.add(
            EventChange(
                event_id=event.id,
                field="place",
                old="A",
                new="B",
                at=NOW,
                told_at=NOW,
                campaign_id=change.id,
            )
        )
        confirmations = [
            send_by_itself(f"tilmelding-herning-20140307-090{n}", "tilmelding", n, n + 1).id
            for n in range(REGISTERED)
        ]
        return Sent(mailing.id, reminders, change.id, confirmations)


def crawl(staff: Staff) -> dict[str, str]:
    """Every staff page one gets to by links, as one reads it, without days and times."""
    pages: dict[str, str] = {}
    to_see = ["/staff"]
    while to_see:
        path = to_see.pop()
        if path in pages:
            continue
        answer = staff.get(path)
        assert answer.status_code == 200, path
        to_see += re.findall(r'href="(/staff[^"?]*)"', answer.text)
        body = answer.text.partition("<main")[2]
        text = unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ")
        pages[path] = _WHEN.sub(" ", " ".join(text.split()))
    return pages


def test_four_registered_of_sixty_cannot_be_worked_out_on_any_page(signed_in: Staff, sent: Sent) -> None:
    pages = crawl(signed_in)

    assert {f"/staff/campaigns/{n}" for n in (sent.mailing, *sent.reminders, sent.change)} <= set(pages)
    for path, text in pages.items():
        numbers = {int(found.replace(".", "")) for found in re.findall(r"\d+(?:\.\d{3})*", text)}
        for what, number in TELLING.items():
            assert number not in numbers, f"{path} tells {what}: {text}"


def test_the_whole_letter_is_told_as_ever(signed_in: Staff, sent: Sent) -> None:
    text = crawl(signed_in)[f"/staff/campaigns/{sent.mailing}"]

    assert "Modtagere 60" in text
    assert "Efter region" in text
    assert "Tilmeldt" in text.partition("Møderne i tal")[2]


def test_a_letter_that_goes_by_itself_has_no_groups_and_says_why(signed_in: Staff, sent: Sent) -> None:
    for campaign_id in (*sent.reminders, sent.change):
        text = signed_in.get(f"/staff/campaigns/{campaign_id}").text
        assert "ikke delt op i grupper" in text
        assert "Efter region" not in text
        assert "midt.example" not in text
    region = signed_in.get(f"/staff/campaigns/{sent.reminders[-1]}").text
    assert "<dt>Modtagere</dt><dd>ca. 40</dd>" in region


def test_confirmations_are_neither_listed_nor_shown(signed_in: Staff, sent: Sent) -> None:
    listed = signed_in.get("/staff").text

    assert "startpakke-2014" in listed
    for word in ("reminder-asked", "aendring", "tilmelding-herning"):
        assert word not in listed
    for campaign_id in sent.confirmations:
        for path in (f"/staff/campaigns/{campaign_id}", f"/staff/campaigns/{campaign_id}/reasons"):
            assert signed_in.get(path).status_code in {403, 404}
        assert signed_in.get(f"/staff/campaigns/{campaign_id}").status_code == 404


def test_no_number_of_letters_that_go_by_themselves_pushes_a_mailing_off_the_list(
    signed_in: Staff, runtime: Runtime
) -> None:
    with runtime.database.write() as db:
        make_campaign(db)
        for number in range(NEWEST + 1):
            make_campaign(db, f"tilmelding-{number}").auto_submitted = True

    assert "startpakke-2014" in signed_in.get("/staff").text


def test_what_is_wrong_with_a_letter_that_went_by_itself_names_its_letter_only(
    signed_in: Staff, runtime: Runtime
) -> None:
    with runtime.database.write() as db:
        for number in range(2):
            campaign = make_campaign(db, f"tilmelding-herning-{number}")
            campaign.auto_submitted, campaign.letter = True, "tilmelding"
            campaign.state = CampaignState.SENDING
            db.add(Batch(campaign_id=campaign.id, first=1, last=2, due_at=NOW))
            for each in range(2):
                person = make_recipient(db, f"{each}-{number}@midt.example")
                deliver(db, campaign, person, DeliveryState.PENDING)
    text = signed_in.get("/staff").text

    assert (
        text.count("Brevet »tilmelding«, der går af sig selv: er i gang, men der sker ikke noget.") == 1
    )
    assert "tilmelding-herning" not in text
    uncertain = alarm(Alarm(Trouble.UNCERTAIN, "tilmelding-herning-0", 2), "tilmelding")
    assert "selv: færre end 5 breve er uvisse" in uncertain
    assert "herning" not in uncertain
