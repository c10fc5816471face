"""Events and reminders on the staff pages: the plan on the clock people see, numbers and no names."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign
from mailer.events.audiences import AudienceRule
from mailer.events.catalogue import find_event
from mailer.events.changes import update_event
from mailer.events.models import (
    EventChange,
    EventState,
    Registration,
    RegistrationSource,
    RegistrationState,
    Reminder,
    ReminderRequest,
    ReminderState,
)
from mailer.events.reasons import Reason, ReasonKind
from mailer.events.requests import request_reminder
from mailer.reports.small_numbers import people
from mailer.reports.standings import Clicks
from mailer.runtime import Runtime
from mailer.tracking.models import Label, TrackingCount, TrackingEvent, TrackingKind
from mailer.web.staff.event_views import tell_clicks
from mailer.web.staff.event_words import audience, in_utc, value_of, why
from recipients.models import Recipient
from tests.conftest import NOW
from tests.web.conftest import Mailing, add_event, add_recipient, open_reader
from tests.web.staffing import Staff, opened, quick, signed_in, staff

__all__ = ["opened", "quick", "signed_in", "staff"]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: what is counted is tested with the plan and with the reports."""
    return sqlite_url


def ask(mailing: Mailing, slug: str, many: int) -> None:
    """So many ask to be reminded."""
    with mailing.runtime.database.write() as db:
        event = find_event(db, slug)
        for number in range(many):
            asking = add_recipient(db, mailing.runtime, f"asks{number}@{slug}.example")
            db.add(ReminderRequest(event_id=event.id, recipient_id=asking.id, asked_at=NOW))


def seat(db: Session, runtime: Runtime, slug: str, states: list[RegistrationState]) -> None:
    event = find_event(db, slug)
    for number, state in enumerate(states):
        recipient = add_recipient(db, runtime, f"comes{number}@{slug}.example")
        recipient.name = f"Kim Hansen {number}"
        db.add(
            Registration(
                event_id=event.id,
                recipient_id=recipient.id,
                name=recipient.name,
                state=state,
                source=RegistrationSource.HOSTED,
                number=number,
                registered_at=NOW,
                changed_at=NOW,
            )
        )


def read(staff: Staff, path: str) -> str:
    """A page, its spaces all alike."""
    answer = staff.get(path)
    assert answer.status_code == 200
    return answer.text.replace("\u00a0", " ")


def alarms(text: str) -> str:
    """What wants somebody's attention."""
    return text.partition("Kræver opmærksomhed")[2].partition("</section>")[0]


def items(text: str) -> list[str]:
    """Each event and lead of the plan, as one reads it."""
    found = re.findall(r'<li>\s*<div class="plan-when">.*?</ul>', text, re.DOTALL)
    return [" ".join(re.sub("<[^>]+>", " ", item).split()) for item in found]


def item(text: str, *words: str) -> str:
    """The one item that has all these words."""
    (found,) = [each for each in items(text) if all(word in each for word in words)]
    return found


def test_the_plan_tells_when_to_how_many_and_with_which_letter(
    signed_in: Staff, mailing: Mailing
) -> None:
    ask(mailing, "midtjylland", 7)
    told = item(read(signed_in, "/staff/reminders"), "Midtjylland", "14 dage før")

    assert "Mandag den 24. marts 2014 kl. 9.00 8.00 UTC" in told
    assert "Har bedt om at blive mindet: ca. 5 brev paamindelse planlagt" in told


def test_what_waits_for_a_free_seat_is_still_to_come(signed_in: Staff, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        find_event(db, "midtjylland").state = EventState.FULL
    to_come, _, past = read(signed_in, "/staff/reminders").partition('id="tidligere"')

    told = item(to_come, "Midtjylland", "14 dage før")
    assert "stadig-plads sendes ikke så længe alle pladser er taget" in told
    assert "Midtjylland" not in past


def test_fewer_than_five_are_no_number(signed_in: Staff, mailing: Mailing) -> None:
    ask(mailing, "midtjylland", 4)
    text = read(signed_in, "/staff/reminders")

    assert "Har bedt om at blive mindet: færre end 5" in item(text, "Midtjylland", "14 dage før")


def test_what_is_missing_stops_a_reminder_and_is_told_in_good_time(
    signed_in: Staff, mailing: Mailing
) -> None:
    early = read(signed_in, "/staff/reminders")
    assert "holdt op mangler sted" in item(early, "Sjaelland", "14 dage før")
    assert "Sjaelland" not in alarms(early)

    told = alarms(read(signed_in, "/staff/reminders?now=2014-05-28T09:00"))
    assert "Inspirationsmøde i Sjaelland, 14 dage før" in told
    assert "mangler sted" in told
    assert "mailer event update sjaelland --place" in told


def test_a_day_is_rehearsed_and_nothing_happens(signed_in: Staff, mailing: Mailing) -> None:
    ask(mailing, "midtjylland", 7)
    text = read(signed_in, "/staff/reminders?now=2014-03-24T09:00")

    assert "<strong>Prøve.</strong>" in text
    assert "mandag den 24. marts 2014 kl. 9.00" in text
    assert "går nu" in item(text, "Midtjylland", "14 dage før")
    assert 'value="2014-03-24T09:00"' in text
    with mailing.runtime.database.read() as db:
        assert db.scalar(select(func.count()).select_from(Reminder)) == 0
    assert "<strong>Prøve.</strong>" not in read(signed_in, "/staff/reminders")


@pytest.mark.parametrize(
    "asked", ["2014-03-21T09:00", "2014-03-21T09:00+01:00", "2014-03-21 09:00", "2014-03-21T08:00Z"]
)
def test_a_moment_is_local_unless_it_says_otherwise(
    signed_in: Staff, mailing: Mailing, asked: str
) -> None:
    text = read(signed_in, f"/staff/reminders?now={asked.replace('+', '%2B')}")

    assert "fredag den 21. marts 2014 kl. 9.00" in text


@pytest.mark.parametrize(
    "asked", ["i morgen", "0001-01-01T00:00", "9999-12-31T23:59", "<script>", "%00"]
)
def test_a_moment_that_is_none_is_said_to_be_none(
    signed_in: Staff, mailing: Mailing, asked: str
) -> None:
    answer = signed_in.get(f"/staff/reminders?now={asked}")

    assert answer.status_code == 400
    assert "Tidspunktet kan ikke læses" in answer.text
    assert "<script" not in answer.text


def test_what_went_and_what_did_not_is_told_below(signed_in: Staff, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        event = find_event(db, "forrige")
        for lead, state, late, day in (
            ("14 days", ReminderState.SENT, False, date(2014, 3, 6)),
            ("7 days", ReminderState.SENT, True, date(2014, 3, 6)),
            ("14 days", ReminderState.SENT, False, date(2014, 2, 20)),
        ):
            db.add(
                Reminder(
                    event_id=event.id,
                    lead=lead,
                    rule=AudienceRule.ASKED,
                    event_date=day,
                    state=state,
                    late=late,
                    due_at=datetime.combine(day, time(8), UTC) - timedelta(days=int(lead.split()[0])),
                    audience=12,
                    campaign_id=mailing.campaign_id,
                    at=NOW,
                )
            )
    past = read(signed_in, "/staff/reminders").partition('id="tidligere"')[2]

    assert "sendt for sent" in item(past, "Forrige", "7 dage før")
    assert "Har bedt om at blive mindet: ca. 10 brev paamindelse sendt" in item(past, "20. februar 2014")
    assert "Har bedt om at blive mindet: ca. 10 brev udsendelsen sendt" in item(past, "6. februar 2014")
    assert f'href="/staff/campaigns/{mailing.campaign_id}"' in past
    assert "mødet er aflyst" in item(past, "Prøve", "14 dage før")


def test_a_viewer_sees_the_plan_an_administrator_sees(
    signed_in: Staff, mailing: Mailing, staff: Staff
) -> None:
    ask(mailing, "midtjylland", 3)
    admin = Staff(staff.reader)
    admin.sign_in("admin")
    for path in ("/staff/reminders", "/staff/events", "/staff/events/midtjylland"):
        assert items(read(signed_in, path)) == items(admin.get(path).text)
        assert admin.get(path).status_code == 200


def test_an_event_tells_seats_and_clicks_and_no_names(signed_in: Staff, mailing: Mailing) -> None:
    seated, waiting = RegistrationState.SEATED, RegistrationState.WAITING
    with mailing.runtime.database.write() as db:
        event = find_event(db, "midtjylland")
        event.hosted, event.capacity = True, 6
        db.get_one(Campaign, mailing.campaign_id).audience = 30
        seat(
            db,
            mailing.runtime,
            "midtjylland",
            [seated] * 6 + [waiting] * 3 + [RegistrationState.CANCELLED],
        )
        for position in (1, 1, 2):
            db.add(
                TrackingEvent(
                    kind=TrackingKind.CLICK,
                    campaign_id=mailing.campaign_id,
                    position=position,
                    link_number=2,
                    label=Label.PERSON,
                    reason="test",
                    at=NOW,
                )
            )
    listed = read(signed_in, "/staff/events")
    page = read(signed_in, "/staff/events/midtjylland")

    row = listed.partition('href="/staff/events/midtjylland"')[2].partition("</tr>")[0]
    assert re.findall(r"<td>([^<]*)", row)[:4] == ["6", "færre end 5", "6", "færre end 5"]
    for text in (listed, page):
        assert "fuldt" in text
        assert "Kim Hansen" not in text
    assert '<dd class="value">6</dd><dd>af 6 pladser</dd>' in page
    assert '<dd class="value">færre end 5</dd><dd>i færre end 5 breve' in page


@pytest.mark.parametrize(("audience", "told"), [(4, "–"), (40, "30")])
def test_clicks_on_an_anonymous_letter_that_tell_of_a_few_are_left_out(
    signed_in: Staff, mailing: Mailing, audience: int, told: str
) -> None:
    with mailing.runtime.database.write() as db:
        campaign = db.get_one(Campaign, mailing.campaign_id)
        campaign.tracking, campaign.audience = "anonymous", audience
        db.add(
            TrackingCount(
                campaign_id=campaign.id,
                day=NOW.date(),
                kind=TrackingKind.CLICK,
                link_number=2,
                subject="",
                label=Label.PERSON,
                reason="test",
                total=30,
            )
        )
    listed = read(signed_in, "/staff/events")
    page = read(signed_in, "/staff/events/midtjylland")

    row = listed.partition('href="/staff/events/midtjylland"')[2].partition("</tr>")[0]
    assert re.findall(r"<td>([^<]*)", row)[3] == told
    assert f'<dd class="value">{told}</dd><dd>i 0 breve' in page
    for text in (listed, page):
        left_out = re.search(r"klik (er )?udeladt", text, re.IGNORECASE)
        assert bool(left_out) is (told == "–")


def test_a_sum_without_some_letters_clicks_is_said_to_be_one() -> None:
    assert tell_clicks(Clicks(1230, 9)) == "1.230"
    assert tell_clicks(Clicks(1230, 9, untold=True)) == "mindst 1.230"
    assert tell_clicks(Clicks(0, 0, untold=True)) == "–"


@pytest.mark.parametrize("often", range(1, 5))
def test_few_clicks_are_no_number(often: int) -> None:
    assert tell_clicks(Clicks(often, 1)) == "færre end 5"
    assert tell_clicks(Clicks(often, 1, untold=True)) == "–"


def test_what_is_missing_stands_with_the_event(signed_in: Staff, mailing: Mailing) -> None:
    row = read(signed_in, "/staff/events").partition('href="/staff/events/sjaelland"')[2]

    assert "Mangler tidspunkt, sted, adresse, program og tilmeldingsside" in row.partition("</tr>")[0]
    assert "holdt op" in row.partition("</tr>")[0]


def test_the_history_tells_what_changed_and_who_was_told(signed_in: Staff, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        reader = db.scalars(select(Recipient.id).limit(1)).one()
        request_reminder(db, "midtjylland", reader, now=NOW)
        update_event(db, "midtjylland", {"date": "2014-04-08", "reminders": "7 days"}, now=NOW)
        told = db.scalars(select(EventChange).where(EventChange.field == "date")).one()
        told.told_at, told.campaign_id = NOW, mailing.campaign_id
        event = find_event(db, "midtjylland")
        event.state = EventState.CANCELLED
        db.add(EventChange(event_id=event.id, field="state", old="moved", new="cancelled", at=NOW))
    text = read(signed_in, "/staff/events/midtjylland").partition('id="aendringer"')[2]
    rows = [re.sub("<[^>]+>", "|", row) for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", text)]

    assert re.search(r"Tilstand\|.*flyttet\|.*aflyst\|.*ikke fortalt endnu", rows[0])
    date_row = next(row for row in rows if "|Dato|" in row)
    assert re.search(r"7\.\sapril 2014\|.*8\.\sapril 2014\|.*marts 2014: færre end 5 breve", date_row)
    assert any("|Påmindelser|" in row and "fortælles ikke" in row for row in rows)
    assert f'href="/staff/campaigns/{mailing.campaign_id}"' in text


@pytest.mark.parametrize("slug", ["findes-ikke", "x" * 300, "%3Cscript%3E", "%00"])
def test_what_is_no_event_has_no_page(signed_in: Staff, mailing: Mailing, slug: str) -> None:
    answer = signed_in.get(f"/staff/events/{slug}")

    assert answer.status_code == 404
    assert "<script" not in answer.text


def test_hostile_values_of_an_event_stay_text(signed_in: Staff, mailing: Mailing) -> None:
    hostile = "<script>alert('æ')</script>\"'&"
    with mailing.runtime.database.write() as db:
        event = add_event(db, "ond", date(2014, 5, 5), title=hostile, place=hostile, address=hostile)
        event.programme_url = f"javascript:{hostile}"
        event.reminders = hostile
        db.add(EventChange(event_id=event.id, field=hostile[:32], old=hostile, new=hostile, at=NOW))
    for path in ("/staff/events", "/staff/events/ond", "/staff/reminders"):
        text = read(signed_in, path)
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert 'href="javascript:' not in text


def test_a_letter_nobody_can_use_is_named_in_danish_with_the_reason_for_whoever_mends_it(
    staff: Staff, mailing: Mailing, tmp_path: Path
) -> None:
    for name, manifest in {"itu": "leads = [", "gal": 'leads = ["<script>"]'}.items():
        folder = tmp_path / "own/letters" / name
        folder.mkdir(parents=True)
        (folder / "letter.toml").write_text(manifest)
        for part in ("subject.txt", "body.txt", "body.html"):
            (folder / part).write_text("x")
    settings = mailing.runtime.settings.model_copy(update={"templates_dir": tmp_path / "own"})
    with open_reader(replace(mailing.runtime, settings=settings)) as reader:
        reading = Staff(reader)
        reading.sign_in()
        told = alarms(read(reading, "/staff/reminders"))

    assert "Brevet »itu« kan ikke læses." in told
    assert "Brevet »gal« siger noget om påmindelser, som ikke kan bruges." in told
    assert '<span lang="en">letter gal: leads: &#39;&lt;script&gt;&#39; is no lead' in told


def test_the_front_page_tells_that_a_reminder_wants_attention(
    signed_in: Staff, mailing: Mailing
) -> None:
    with mailing.runtime.database.write() as db:
        add_event(db, "snart", date(2014, 3, 24))
    assert "1 påmindelse kræver opmærksomhed" in read(signed_in, "/staff")


@pytest.mark.parametrize("rule", [AudienceRule.REGION, AudienceRule.ASKED, AudienceRule.CLICKED])
def test_whoever_has_not_registered_is_told_in_round_numbers_so_that_nobody_subtracts(
    rule: AudienceRule,
) -> None:
    assert [audience(rule, n) for n in (0, 3, 7, 99, 100, 1237, 128_412)] == [
        *("0", "færre end 5", "ca. 5", "ca. 95"),
        *("ca. 100", "ca. 1.200", "ca. 120.000"),
    ]
    assert audience(AudienceRule.REGISTERED, 1237) == "1.237"
    assert people(1) == "færre end 5"


REASONS = {
    Reason(ReasonKind.LACKING, fields=("place", "programme_url")): (
        "no place and no programme url yet",
        "mangler sted og program",
    ),
    Reason(ReasonKind.LACKED, fields=("place",)): (
        "no place in time",
        "manglede sted, da den skulle gå",
    ),
    Reason(ReasonKind.TOO_LATE, hours=24): (
        "more than 24 hours late",
        "den var mere end 24 timer forsinket",
    ),
    Reason(ReasonKind.HAD_BEGUN): ("the event had begun", "mødet var begyndt"),
    Reason(ReasonKind.MOVED): (
        "due before the event was moved",
        "tiden var gået, før mødet blev flyttet",
    ),
    Reason(ReasonKind.TAKEN_IN): (
        "due before the event was taken in",
        "tiden var gået, før mødet blev oprettet",
    ),
    Reason(ReasonKind.WAS_CANCELLED): (
        "due while the event was cancelled",
        "tiden gik, mens mødet var aflyst",
    ),
    Reason(ReasonKind.CANCELLED): ("the event does not take place", "mødet er aflyst"),
    Reason(ReasonKind.SEATS_TAKEN): ("all seats are taken", "så længe alle pladser er taget"),
    Reason(ReasonKind.SEATS_WERE_TAKEN): ("all seats were taken", "alle pladser er taget"),
    Reason(ReasonKind.CALLED_OFF): ("it was called off", "den blev aflyst"),
    Reason(ReasonKind.FORMER_TIME): (
        "went for the former time",
        "den gik efter mødets tidligere tidspunkt",
    ),
    Reason(ReasonKind.SAME_MOMENT, lead="7 days"): (
        "the one 7 days before is due at the same moment",
        "den 7\u00a0dage før går på samme tid",
    ),
    Reason(ReasonKind.OVERTAKEN): (
        "the next reminder of the event goes instead",
        "den næste påmindelse går i stedet",
    ),
    Reason(ReasonKind.UNKNOWN_LETTER, letters=("x",), known=("dagen-foer", "vi-ses")): (
        "no reminder letter 'x'; there are: dagen-foer, vi-ses",
        "der er intet påmindelsesbrev »x«; der er: dagen-foer, vi-ses",
    ),
    Reason(ReasonKind.NO_LETTER, lead="2 hours"): (
        "no letter goes 2 hours before an event unless it is named:  2 hours: LETTER",
        "intet brev går 2\u00a0timer før, hvis mødet ikke selv nævner et",
    ),
    Reason(ReasonKind.TWO_LETTERS, letters=("a", "b")): (
        "letters a and b are both for this reminder: name one",
        "brevene »a« og »b« er begge til denne påmindelse",
    ),
    Reason(ReasonKind.BAD_SCHEDULE, fault="'x' is no lead; write it as  14 days  or  2 hours"): (
        "reminders: 'x' is no lead; write it as  14 days  or  2 hours",
        "mødets egne påmindelser er skrevet, så de ikke kan læses",
    ),
}


@pytest.mark.parametrize(("reason", "words"), REASONS.items(), ids=lambda each: str(each)[:30])
def test_a_reason_is_said_in_english_to_scripts_and_in_danish_to_staff(
    reason: Reason, words: tuple[str, str]
) -> None:
    assert (str(reason), why(reason)) == words


def test_there_is_danish_for_every_reason() -> None:
    assert {reason.kind for reason in REASONS} == set(ReasonKind)
    assert why(None) is None


def test_what_a_schedule_names_is_told_as_text_whatever_it_holds() -> None:
    hostile = Reason(ReasonKind.UNKNOWN_LETTER, letters=("{lead.__class__}\x00",), known=("{0}",))
    assert why(hostile) == "der er intet påmindelsesbrev »{lead.__class__}\ufffd«; der er: {0}"
    assert "{lead.__class__}" in str(hostile)


def test_values_are_written_as_people_write_them() -> None:
    assert value_of("date", "2014-04-08") == "8.\u00a0april 2014"
    assert value_of("time", "09:05:00") == "kl.\u00a09.05"
    assert value_of("state", "moved") == "flyttet"
    assert value_of("place", None) == "–"
    assert value_of("date", "ikke en dato") == "ikke en dato"


def test_utc_names_the_day_where_it_is_another() -> None:
    local = datetime.fromisoformat("2014-03-24T00:30+01:00")
    assert in_utc(local) == "23.\u00a0marts 23.30 UTC"
