"""What a few did follows from no page: not from letters, events and the parties' report together."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Link
from mailer.events.models import RegistrationState, Reminder, ReminderRequest, ReminderState
from mailer.reports import progress_sections
from mailer.reports.few import ClickedLink, tell_clicks
from mailer.reports.hiding import FEWEST
from mailer.reports.progress import EventProgress, LetterFigures, Period, ProgressReport, Standing
from mailer.reports.progress_events import event_totals, untold_clicks
from mailer.reports.progress_figures import progress_report
from mailer.reports.progress_forms import as_data, write_flat, write_page, write_workbook
from mailer.reports.standings import event_standings
from mailer.tracking.models import Label, TrackingCount, TrackingEvent, TrackingKind
from mailer.web.staff.event_views import tell_clicks as in_words
from recipients.models import Suppression, SuppressionReason
from tests.conftest import NOW
from tests.events.making import ZONE
from tests.reports.factories import (
    act,
    make_campaign,
    make_event,
    make_link,
    make_recipient,
    register,
)
from tests.reports.test_few import click, send, spread

TEMPLATES = Path(__file__).parents[2] / "templates"
CLICK, UNSUBSCRIBE = TrackingKind.CLICK, TrackingKind.UNSUBSCRIBE
PERIOD = Period(date(2014, 3, 1), date(2014, 4, 1), ZONE)


def parties_report(db: Session, period: Period = PERIOD) -> ProgressReport:
    return progress_report(db, period, now=datetime(2014, 4, 2, tzinfo=ZONE))


def staff_list(db: Session) -> dict[str, str]:
    return {each.event.slug: in_words(each.clicks) for each in event_standings(db)}


def in_parties_report(db: Session) -> dict[str, int | None]:
    return {event.slug: event.registration_clicks for event in parties_report(db).events}


def invite(db: Session, campaign: Campaign, clicks: Mapping[str, Sequence[int]]) -> None:
    """Links to register for events, by event, with how often each was clicked."""
    for slug, each in clicks.items():
        for nth, often in enumerate(each):
            number = make_link(db, campaign, f"{slug}-{nth}", kind="registration", event=slug)
            click(db, campaign, number, often)


def only_letter(report: ProgressReport) -> LetterFigures:
    (letter,) = report.letters
    return letter


def unsubscribe(db: Session, many: int, *, at: datetime = NOW) -> None:
    """So many addresses get no more mail."""
    for nth in range(many):
        key = f"{at:%m%d}-{nth}"
        reason = SuppressionReason.UNSUBSCRIBED
        db.add(Suppression(address_hash=key, reason=reason, created_at=at))
    db.flush()


# Clicks on events


def test_a_link_nobody_clicked_is_no_nought_beside_a_few(db: Session) -> None:
    slugs = [f"e{number}" for number in range(10)]
    for slug in slugs:
        make_event(db, slug, slug)
    invite(db, send(db, 30), {slug: [int(number < 5)] for number, slug in enumerate(slugs)})

    assert staff_list(db) == dict.fromkeys(slugs, "–")
    assert in_parties_report(db) == dict.fromkeys(slugs)
    assert parties_report(db).totals.registration_clicks is None


def test_an_event_of_two_links_is_not_told_where_the_unclicked_one_is_not(db: Session) -> None:
    for slug in "abc":
        make_event(db, slug, slug)
    invite(db, send(db, 30), {"a": [10, 0], "b": [3], "c": [12]})

    assert staff_list(db) == {"a": "–", "b": "–", "c": "–"}
    assert in_parties_report(db) == {"a": None, "b": None, "c": None}


@pytest.mark.parametrize("tracking", ["anonymous", "consent", "personal"])
@pytest.mark.parametrize("often", [0, 1, 30])
def test_of_a_letter_to_a_few_no_clicks_are_told(db: Session, tracking: str, often: int) -> None:
    for slug in "ab":
        make_event(db, slug, slug)
    campaign = send(db, 3, tracking=tracking)
    link = make_link(db, campaign, "r", kind="registration", event="a")
    for _ in range(often):
        act(db, campaign, CLICK, None if tracking == "anonymous" else 1, link=link)

    assert staff_list(db) == {"a": "–", "b": "0"}
    assert in_parties_report(db) == {"a": None, "b": 0}
    (first, _) = parties_report(db).events
    assert (first.clicks_untold, first.registration_recipients or 0) == (True, 0)


def test_clicks_in_letters_that_went_by_themselves_are_not_added(db: Session) -> None:
    make_event(db, "a", "a")
    for name, automatic, often in (("invitation", False, 10), ("reminder", True, 1)):
        campaign = send(db, 30, tracking="personal", name=name)
        campaign.auto_submitted = automatic
        link = make_link(db, campaign, "r", kind="registration", event="a")
        for position in range(1, often + 1):
            act(db, campaign, CLICK, position, link=link)

    assert staff_list(db) == {"a": "10"}
    assert in_parties_report(db) == {"a": 10}


def test_few_clicks_of_known_people_take_others_with_them_in_the_parties_report(db: Session) -> None:
    for slug, ahead in (("a", 10), ("b", 11), ("c", 12), ("d", 13)):
        make_event(db, slug, slug, days_ahead=ahead)
    campaign = send(db, 30, tracking="personal")
    for slug, often in (("a", 9), ("b", 2), ("c", 12), ("d", 0)):
        link = make_link(db, campaign, slug, kind="registration", event=slug)
        for position in range(1, often + 1):
            act(db, campaign, CLICK, position, link=link)

    report = parties_report(db)

    told = [(event.registration_clicks, event.registration_recipients) for event in report.events]
    assert told == [(9, 9), (None, None), (None, None), (None, None)]
    assert report.totals.registration_clicks == 9
    assert report.invitations.engagement["registration_clicks"].total == 23


def test_a_click_on_no_link_is_counted_as_one(db: Session) -> None:
    make_event(db, "a", "a")
    campaign = send(db, 30)
    invite(db, campaign, {"a": [12]})
    for _ in range(2):
        db.add(
            TrackingEvent(
                kind=CLICK,
                campaign_id=campaign.id,
                position=1,
                link_number=None,
                label=Label.PERSON,
                reason="test",
                at=NOW,
            )
        )
    db.flush()

    assert staff_list(db) == {"a": "–"}
    assert in_parties_report(db) == {"a": None}


# People


def few_of_everything(db: Session) -> None:
    """One event of many, and one of a few."""
    many, few = make_event(db, "many", "Mange"), make_event(db, "few", "Få")
    people = [make_recipient(db, f"{number}@{number}.example") for number in range(20)]
    for event, often in ((many, 9), (few, 1)):
        for person in people[:often]:
            register(db, event, person)
            db.add(ReminderRequest(event_id=event.id, recipient_id=person.id, asked_at=NOW))
        for person in people[10 : 10 + often]:
            register(db, event, person, RegistrationState.WAITING)
        db.add(
            Reminder(
                event_id=event.id,
                lead="14 days",
                rule="registered",
                event_date=event.date,
                state=ReminderState.SENT,
                due_at=NOW,
                late=False,
                audience=often,
                at=NOW,
            )
        )
    db.flush()


def test_one_to_four_people_are_told_in_no_form(db: Session) -> None:
    few_of_everything(db)
    unsubscribe(db, 2)
    report = parties_report(db)
    lines = io.StringIO(newline="")

    write_flat(report, lines)
    book = CalamineWorkbook.from_filelike(io.BytesIO(write_workbook(report, [TEMPLATES])))
    page = write_page(report, [TEMPLATES])

    rows = {row[0]: row[1:] for row in progress_sections.event_table(report).rows}
    assert rows["Mange"] == ["9", "9", "0", "9", "mindst 5"]
    assert rows["Få"] == ["færre end 5", "færre end 5", "0", "færre end 5", "–"]
    data = as_data(report)
    few = next(event for event in data["events"] if event["slug"] == "few")
    told = {row[2:4]: row[4] for row in map(tuple, csv.reader(io.StringIO(lines.getvalue())))}
    for measure in ("seated", "waiting", "asked", "reminded"):
        assert few[measure] is None
        assert told["few", measure] == ""
        assert told["", measure] == ("5" if measure == "reminded" else "")
    assert data["suppressions"] == {"unsubscribed": None}
    assert told["unsubscribed", "total"] == ""
    overview = {str(name): cell for name, cell, *_ in book.get_sheet_by_name("Overblik").to_python()}
    assert [overview[name] for name in ("Tilmeldte", "På venteliste", "Vil mindes om et møde")] == [
        ""
    ] * 3
    assert overview["Får ikke flere breve: har afmeldt sig"] == ""
    assert str(overview["Tomme felter"]).startswith("ikke vist")
    assert "Små tal er skjult" in page
    assert "<td>færre end 5</td>" in page.replace(' class="number"', "")


def test_where_nothing_is_left_out_nothing_says_so(db: Session) -> None:
    make_event(db, "a", "a")
    send(db, 20, tracking="personal")
    report = parties_report(db)

    assert not report.leaves_out
    assert "Små tal er skjult" not in write_page(report, [TEMPLATES])
    assert report.totals.seated == 0


# Who unsubscribed


def test_unsubscribing_of_a_few_is_not_told_beside_their_anonymous_letter(db: Session) -> None:
    campaign = send(db, 30)
    for _ in range(2):
        act(db, campaign, UNSUBSCRIBE)
    unsubscribe(db, 30)

    report = parties_report(db)

    assert only_letter(report).engagement["unsubscribes"].total is None
    assert report.suppressions == {}


@pytest.mark.parametrize("often", [0, 2, 9])
def test_an_earlier_anonymous_letter_to_a_few_is_not_told_of(db: Session, often: int) -> None:
    campaign = send(db, 3)
    later = Period(date(2014, 5, 1), date(2014, 5, 9), ZONE)
    for _ in range(often):
        act(db, campaign, UNSUBSCRIBE, at=datetime(2014, 5, 2, 12, tzinfo=UTC))
    unsubscribe(db, 20, at=datetime(2014, 5, 2, 12, tzinfo=UTC))

    report = parties_report(db, later)

    assert report.letters == []
    assert report.suppressions == ({} if often else {"unsubscribed": 20})


def test_who_unsubscribed_is_told_where_the_letters_tell_it_too(db: Session) -> None:
    campaign = send(db, 30)
    for _ in range(7):
        act(db, campaign, UNSUBSCRIBE)
    unsubscribe(db, 7)

    assert parties_report(db).suppressions == {"unsubscribed": 7}


# Letters that went by themselves, and readers beyond the recipients


def test_letters_that_went_by_themselves_are_rounded_down_one_by_one(db: Session) -> None:
    for name, size in (("r1", 12), ("r2", 4), ("c1", 1)):
        campaign = send(db, size, tracking="personal", name=name)
        campaign.auto_submitted, campaign.letter = True, "paamindelse" if size > 1 else "tilmelding"
        act(db, campaign, TrackingKind.OPEN, 1)

    report = parties_report(db)

    together = only_letter(report)
    assert (together.delivery["letters"], together.delivery["sent"], together.campaigns) == (10, 10, 1)
    assert together.engagement["opens"].recipients == 1
    assert report.automatic.delivery["sent"] == 10


def test_few_readers_beyond_an_anonymous_letter_are_left_out(db: Session) -> None:
    for name, often in (("a", 2), ("b", 9)):
        campaign = send(db, 30, name=name)
        for _ in range(often):
            act(db, campaign, TrackingKind.PASS_ON)
    for page, often in (("startpakke", 3), ("events/x", 8)):
        for _ in range(often):
            act(db, None, TrackingKind.VISIT, subject=page)

    reach = parties_report(db).reach

    assert reach.pass_on.total == 9
    assert ([page.page for page in reach.pages], reach.visits) == (["events/x"], 8)


# Nothing can be worked out, whatever the counts are.

Told = tuple[Any, ...]


def check_that_every_few_might_be_others(populations: Iterable[tuple[Told, tuple[int, ...]]]) -> None:
    """Each few that is not told is another number in a population of which the same is told.

    Args:
        populations: what is told of each, in whatever form, and what is so.
    """
    alike: dict[Told, list[tuple[int, ...]]] = {}
    for told, truth in populations:
        alike.setdefault(told, []).append(truth)
    assert len(alike) > 1
    for told, truths in alike.items():
        assert not [count for count in told if count in range(1, FEWEST)]
        for might_be in zip(*truths, strict=True):
            if any(0 < count < FEWEST for count in might_be):
                assert len(set(might_be)) > 1, (told, truths)


@pytest.mark.parametrize("events", ["aab", "abc"])
def test_no_clicks_of_a_few_follow_from_letters_and_events_together(db: Session, events: str) -> None:
    """Every population is a letter of its own, with events of its own."""
    spreads = list(spread(13, len(events)))
    for nth, often in enumerate(spreads):
        campaign = make_campaign(db, f"brev-{nth}", tracking="anonymous")
        campaign.audience = 30
        for event in sorted(set(events)):
            make_event(db, f"{event}{nth}", event)
        for number, (event, count) in enumerate(zip(events, often, strict=True), start=1):
            slug = f"{event}{nth}"
            db.add(
                Link(
                    campaign_id=campaign.id,
                    number=number,
                    key=f"l{number}",
                    kind="registration",
                    event_slug=slug,
                    target="/",
                )
            )
            if count:
                db.add(
                    TrackingCount(
                        campaign_id=campaign.id,
                        day=NOW.date(),
                        kind=CLICK,
                        link_number=number,
                        subject="",
                        label=Label.PERSON,
                        reason="test",
                        total=count,
                    )
                )
    db.flush()
    report, staff = parties_report(db), staff_list(db)
    letters = {letter.name: letter.engagement for letter in report.letters}
    parties = {event.slug: event.registration_clicks for event in report.events}

    def told(nth: int, often: tuple[int, ...]) -> Told:
        links = {n: ClickedLink("registration", (count, 0, 0)) for n, count in enumerate(often)}
        of_links = tell_clicks(links)
        done = letters.get(f"brev-{nth}")
        return (
            *[count if of_links.tells({n}) else None for n, count in enumerate(often)],
            *[staff[f"{event}{nth}"] for event in sorted(set(events))],
            *[parties[f"{event}{nth}"] for event in sorted(set(events))],
            *[done[deed].total if done else 0 for deed in ("clicks", "registration_clicks")],
        )

    def so(often: tuple[int, ...]) -> tuple[int, ...]:
        by_event = dict.fromkeys(sorted(set(events)), 0)
        for event, count in zip(events, often, strict=True):
            by_event[event] += count
        return (*often, *by_event.values())

    check_that_every_few_might_be_others(
        (told(nth, often), so(often)) for nth, often in enumerate(spreads)
    )


def test_no_few_known_clickers_follow_from_the_events_of_the_parties_report() -> None:
    def populations() -> Iterator[tuple[Told, tuple[int, ...]]]:
        for often in spread(18, 4):
            clicks, recipients = untold_clicks([(count, count) for count in often])
            told = [None if nth in clicks else count for nth, count in enumerate(often)]
            assert clicks <= recipients
            yield (*told, f"{sum(often)} in their letter"), often

    check_that_every_few_might_be_others(populations())


def progress(slug: str, people: int | None) -> EventProgress:
    return EventProgress(
        slug=slug,
        title=slug,
        date=NOW.date(),
        time=None,
        place=None,
        region=None,
        state="open",
        standing=Standing.COMING,
        moved=False,
        capacity=None,
        registration_clicks=0,
        registration_recipients=0,
        clicks_untold=False,
        asked=0,
        seated=people,
        waiting=0,
        reminders_sent=0,
        reminders_late=0,
        reminders_missed=0,
        reminded=0,
    )


def test_no_few_registered_follow_from_events_and_their_sum() -> None:
    def populations() -> Iterator[tuple[Told, tuple[int, ...]]]:
        for often in product(range(7), repeat=3):
            events = [
                progress(str(nth), None if 0 < count < FEWEST else count)
                for nth, count in enumerate(often)
            ]
            yield (*[event.seated for event in events], event_totals(events).seated), often

    check_that_every_few_might_be_others(populations())


def test_no_few_who_unsubscribed_follow_from_letters_and_refusals(db: Session) -> None:
    """Every population is a day of its own, with one letter to all of them."""
    campaign = send(db, 30)
    populations = list(spread(8, 2))
    for nth, (by_letter, otherwise) in enumerate(populations):
        at = datetime.combine(PERIOD.first + timedelta(days=nth), time(12), UTC)
        for _ in range(by_letter):
            act(db, campaign, UNSUBSCRIBE, at=at)
        unsubscribe(db, by_letter + otherwise, at=at)

    def told(nth: int) -> Told:
        day = PERIOD.first + timedelta(days=nth)
        report = parties_report(db, Period(day, day, ZONE))
        letter = report.invitations.engagement["unsubscribes"].total
        return letter, report.suppressions.get("unsubscribed", "left out")

    check_that_every_few_might_be_others(
        (told(nth), (by_letter, by_letter + otherwise))
        for nth, (by_letter, otherwise) in enumerate(populations)
    )
