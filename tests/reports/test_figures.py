"""Figures against hand-counted rows, on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, DeliveryState
from mailer.events.models import RegistrationState, Reminder, ReminderRequest, ReminderState
from mailer.foundation.database import Database
from mailer.reports.figures import count_campaign, count_report, link_clicks, tell_report
from mailer.reports.report import CampaignReport, Dimension, Group
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Region, Role, Sector
from tests.conftest import NOW
from tests.reports.factories import (
    act,
    campaign_report,
    deliver,
    make_campaign,
    make_event,
    make_link,
    make_recipient,
    register,
)

OPEN, CLICK = TrackingKind.OPEN, TrackingKind.CLICK


def report(db: Session, campaign: Campaign, **options: object) -> CampaignReport:
    return count_campaign(db, campaign, now=NOW, **options)  # type: ignore[arg-type]


def group(figures: CampaignReport, dimension: Dimension, value: str | None) -> Group:
    return next(group for group in figures.by[dimension] if group.value == value)


@contextmanager
def counting_statements(database: Database) -> Iterator[list[str]]:
    """What the database is asked while the block lasts."""
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        said.append(statement)

    sqlalchemy_event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        sqlalchemy_event.remove(database.engine, "before_cursor_execute", note)


def test_delivery_is_the_audience_and_the_ten_states(db: Session) -> None:
    campaign = make_campaign(db)
    for number, state in enumerate(
        [DeliveryState.SENT, DeliveryState.SENT, DeliveryState.BOUNCED, DeliveryState.UNCERTAIN]
    ):
        deliver(db, campaign, make_recipient(db, f"{number}@aarhus.example"), state)

    delivery = dict(report(db, campaign).delivery)

    assert delivery.pop("audience") == 4 == sum(delivery.values())
    assert len(delivery) == 10
    assert (delivery["sent"], delivery["bounced"], delivery["uncertain"]) == (2, 1, 1)


def test_recipients_are_distinct_and_totals_are_events(db: Session) -> None:
    campaign = make_campaign(db)
    first = deliver(db, campaign, make_recipient(db, "a@aarhus.example"))
    second = deliver(db, campaign, make_recipient(db, "b@aarhus.example"))
    act(db, campaign, OPEN, first)
    act(db, campaign, OPEN, first)
    act(db, campaign, OPEN, first, label=Label.MACHINE)
    act(db, campaign, OPEN, second, label=Label.UNSURE)

    opens = report(db, campaign).engagement.opens

    assert (opens.recipients, opens.total) == (2, 4)
    assert (opens.people, opens.machines, opens.unsure) == (2, 1, 1)
    assert opens.recipients_people == 1


def test_downloads_and_registration_clicks_are_clicks_too(db: Session) -> None:
    campaign = make_campaign(db)
    plain = make_link(db, campaign, "principles")
    pack = make_link(db, campaign, "pack", kind="download")
    signing = make_link(db, campaign, "events.registration/a", kind="registration", event="a")
    position = deliver(db, campaign, make_recipient(db, "a@aarhus.example"))
    other = deliver(db, campaign, make_recipient(db, "b@aarhus.example"))
    for link in (plain, pack, pack, signing):
        act(db, campaign, CLICK, position, link=link)
    act(db, campaign, CLICK, other, link=plain)

    done = report(db, campaign).engagement

    assert (done.clicks.recipients, done.clicks.total) == (2, 5)
    assert (done.downloads.recipients, done.downloads.total) == (1, 2)
    assert (done.registration_clicks.recipients, done.registration_clicks.total) == (1, 1)


def test_groups_count_deliveries_by_what_recipients_are(db: Session) -> None:
    campaign = make_campaign(db)
    pack = make_link(db, campaign, "pack", kind="download")
    mayor = make_recipient(
        db, "m@odense.example", role=Role.MAYOR, region=Region.SYDDANMARK, organisation="Odense Kommune"
    )
    deliver(db, campaign, mayor, DeliveryState.BOUNCED)
    for number in range(3):
        nurse = make_recipient(
            db,
            f"{number}@region.example",
            sector=Sector.REGION,
            region=None,
            organisation=None,
        )
        position = deliver(db, campaign, nurse)
        if number < 2:
            act(db, campaign, OPEN, position, label=Label.MACHINE)
            act(db, campaign, CLICK, position, link=pack)

    figures = report(db, campaign)

    assert group(figures, Dimension.ROLE, "borgmester") == Group(
        "borgmester", 1, 0, 1, 0, 0, 0, 0, 0, registered=0
    )
    assert group(figures, Dimension.SECTOR, "region") == Group(
        "region", 3, 3, 0, 2, 2, 2, 0, 2, registered=0
    )
    assert group(figures, Dimension.REGION, None).audience == 3
    assert group(figures, Dimension.ORGANISATION, "Odense Kommune").bounced == 1
    assert group(figures, Dimension.DOMAIN, "region.example").sent == 3
    assert figures.by[Dimension.REGION][-1].value is None
    for dimension in ("role", "sector", "region", "organisation", "domain"):
        assert sum(row.audience for row in figures.by[Dimension(dimension)]) == 4


def test_an_erased_recipient_still_counts(db: Session) -> None:
    campaign = make_campaign(db)
    act(db, campaign, OPEN, deliver(db, campaign, None))

    assert group(report(db, campaign), Dimension.ROLE, None) == Group(
        None, 1, 1, 0, 1, 0, 0, 0, 0, registered=0
    )


def test_an_event_counts_each_recipient_once_over_all_its_links(db: Session) -> None:
    campaign = make_campaign(db)
    make_event(db, "odense", "Møde i Odense")
    programme = make_link(db, campaign, "events.programme/odense", event="odense")
    signing = make_link(db, campaign, "events.registration/odense", kind="registration", event="odense")
    gone = make_link(db, campaign, "events.programme/gone", event="gone")
    keen = deliver(db, campaign, make_recipient(db, "a@aarhus.example"))
    mild = deliver(db, campaign, make_recipient(db, "b@aarhus.example"))
    for link in (programme, signing, signing):
        act(db, campaign, CLICK, keen, link=link)
    act(db, campaign, CLICK, mild, link=programme)
    act(db, campaign, CLICK, mild, link=gone)

    figures = report(db, campaign)
    odense, unknown = figures.events

    assert (odense.title, odense.clicks, odense.recipients) == ("Møde i Odense", 4, 2)
    assert (odense.registration_clicks, odense.registration_recipients) == (2, 1)
    assert (unknown.slug, unknown.title, unknown.clicks, unknown.date) == ("gone", "gone", 1, None)
    by_event = group(figures, Dimension.EVENT, "odense")
    assert (by_event.audience, by_event.clicked, by_event.registration_clicked) == (2, 2, 1)
    by_link = group(figures, Dimension.LINK, "events.registration/odense")
    assert (by_link.clicked, by_link.registration_clicked, by_link.clicks) == (1, 1, 2)


def test_reminders_belong_to_their_event(db: Session) -> None:
    campaign, reminder = make_campaign(db), make_campaign(db, "reminder-odense")
    other = make_campaign(db, "other")
    event = make_event(db, "odense", "Møde i Odense")
    make_link(db, campaign, "events.registration/odense", kind="registration", event="odense")
    ours, theirs = make_recipient(db, "a@aarhus.example"), make_recipient(db, "b@aarhus.example")
    deliver(db, campaign, ours)
    deliver(db, other, theirs)
    for asking in (ours, theirs):
        db.add(ReminderRequest(event_id=event.id, recipient_id=asking.id, asked_at=NOW))
    for lead, state in (("14 days", ReminderState.SENT), ("7 days", ReminderState.CANCELLED)):
        db.add(
            Reminder(
                event_id=event.id,
                lead=lead,
                rule="asked",
                event_date=event.date,
                state=state,
                due_at=NOW,
                audience=7,
                campaign_id=reminder.id,
                at=NOW,
            )
        )
    db.flush()

    odense = report(db, campaign).events[0]

    assert (odense.reminder_requests, odense.reminders_sent, odense.reminded) == (1, 1, 7)
    assert [(r.lead, r.state, r.campaign) for r in odense.reminders] == [
        ("14 days", "sent", "reminder-odense"),
        ("7 days", "cancelled", "reminder-odense"),
    ]


def test_the_registered_are_the_letters_recipients_with_a_seat_at_its_events(db: Session) -> None:
    campaign, other = make_campaign(db, tracking="none"), make_campaign(db, "other")
    told = [make_event(db, slug, slug.title()) for slug in ("odense", "vejle")]
    elsewhere = make_event(db, "koege", "Køge")
    for event in told:
        for key in ("programme", "registration"):
            make_link(db, campaign, f"events.{key}/{event.slug}", event=event.slug)
    both, waits, gone = (make_recipient(db, f"{name}@aarhus.example") for name in ("a", "b", "c"))
    mayor = make_recipient(db, "m@odense.example", role=Role.MAYOR)
    stranger = make_recipient(db, "s@odense.example")
    for recipient in (both, waits, gone, mayor):
        deliver(db, campaign, recipient, DeliveryState.BOUNCED)
    deliver(db, other, stranger)
    for event in told:
        register(db, event, both)
    for event, recipient in ((told[0], mayor), (told[0], stranger), (told[0], None), (elsewhere, mayor)):
        register(db, event, recipient)
    register(db, told[0], waits, RegistrationState.WAITING)
    register(db, told[0], gone, RegistrationState.CANCELLED)

    figures = report(db, campaign)

    done = figures.engagement.registrations
    assert (done.recipients, done.total, done.people) == (2, 3, 3)
    assert {event.slug: event.registered for event in figures.events} == {"odense": 2, "vejle": 1}
    assert group(figures, Dimension.ROLE, "medarbejder").registered == 1
    assert group(figures, Dimension.ROLE, "borgmester").registered == 1
    assert group(figures, Dimension.EVENT, "odense").registered == 2
    assert {row.registered for row in figures.by[Dimension.LINK]} == {None}


def test_anonymous_tracking_counts_events_and_no_people(db: Session) -> None:
    campaign = make_campaign(db, tracking="anonymous")
    pack = make_link(db, campaign, "pack", kind="download")
    deliver(db, campaign, make_recipient(db, "a@aarhus.example"))
    act(db, campaign, OPEN)
    act(db, campaign, CLICK, link=pack)

    figures = report(db, campaign)

    assert (figures.engagement.opens.recipients, figures.engagement.opens.total) == (None, 1)
    assert (figures.links[0].recipients, figures.links[0].clicks) == (None, 1)
    assert group(figures, Dimension.LINK, "pack").clicks == 1
    by_role = group(figures, Dimension.ROLE, "medarbejder")
    assert (by_role.sent, by_role.opened, by_role.clicks) == (1, None, None)


def test_figures_over_time_are_by_local_hour_and_have_no_gaps(db: Session) -> None:
    campaign = make_campaign(db)
    signing = make_link(db, campaign, "events.registration/a", kind="registration", event="a")
    act(db, campaign, OPEN, 1, at=NOW + timedelta(minutes=10))
    act(db, campaign, OPEN, 1, at=NOW + timedelta(hours=2, minutes=59, seconds=59))
    act(db, campaign, CLICK, 1, link=signing, at=NOW + timedelta(hours=2))

    over_time = report(db, campaign).over_time

    assert over_time.step == "hour"
    assert [
        (m.start.strftime("%d %H:%M %z"), m.opens, m.clicks, m.registration_clicks)
        for m in over_time.moments
    ] == [
        ("07 09:00 +0100", 1, 0, 0),
        ("07 10:00 +0100", 0, 0, 0),
        ("07 11:00 +0100", 1, 1, 1),
    ]


def test_a_longer_span_is_told_by_local_day_across_summer_time(db: Session) -> None:
    campaign = make_campaign(db)
    campaign.dated_at = datetime(2014, 3, 28, 8, tzinfo=UTC)
    late_on_saturday = datetime(2014, 3, 29, 22, 59, tzinfo=UTC)  # 23:59, winter time
    early_on_tuesday = datetime(2014, 3, 31, 22, 1, tzinfo=UTC)  # 00:01, summer time
    for at in (late_on_saturday, early_on_tuesday):
        act(db, campaign, OPEN, 1, at=at)

    over_time = report(db, campaign).over_time

    assert over_time.step == "day"
    assert [(m.start.strftime("%d/%m"), m.opens) for m in over_time.moments] == [
        ("28/03", 0),
        ("29/03", 1),
        ("30/03", 0),
        ("31/03", 0),
        ("01/04", 1),
    ]


def test_an_hour_that_comes_twice_in_autumn_is_two_hours(db: Session) -> None:
    campaign = make_campaign(db)
    campaign.dated_at = first = datetime(2014, 10, 26, 0, 30, tzinfo=UTC)
    act(db, campaign, OPEN, 1, at=first)
    act(db, campaign, OPEN, 1, at=first + timedelta(hours=1))

    moments = report(db, campaign).over_time.moments

    assert [(m.start.strftime("%H %z"), m.opens) for m in moments] == [
        ("02 +0200", 1),
        ("02 +0100", 1),
    ]


def test_what_nobody_was_known_for_is_told_by_day(db: Session) -> None:
    campaign = make_campaign(db, tracking="anonymous")
    signing = make_link(db, campaign, "events.registration/a", kind="registration", event="a")
    act(db, campaign, OPEN, at=NOW + timedelta(hours=2))
    act(db, campaign, OPEN, at=NOW + timedelta(hours=3))
    act(db, campaign, CLICK, link=signing, at=NOW + timedelta(days=1))

    over_time = report(db, campaign).over_time

    assert (over_time.step, over_time.without_moment) == ("day", 0)
    assert [
        (m.start.strftime("%d %H:%M"), m.opens, m.clicks, m.registration_clicks)
        for m in over_time.moments
    ] == [("07 00:00", 2, 0, 0), ("08 00:00", 0, 1, 1)]


def test_hours_are_kept_where_most_moments_are_known_and_the_others_are_told(db: Session) -> None:
    campaign = make_campaign(db)
    act(db, campaign, OPEN, 1)
    act(db, campaign, OPEN, 2, at=NOW + timedelta(hours=1))
    act(db, campaign, OPEN)

    figures = report(db, campaign)

    assert (figures.over_time.step, figures.over_time.without_moment) == ("hour", 1)
    assert [moment.opens for moment in figures.over_time.moments] == [1, 1]
    assert figures.engagement.opens.total == 3


def test_known_people_and_nobody_add_up_side_by_side(db: Session) -> None:
    campaign = make_campaign(db, tracking="consent")
    link = make_link(db, campaign, "events.registration/a", kind="registration", event="a")
    known = deliver(db, campaign, make_recipient(db, "a@aarhus.example"))
    act(db, campaign, CLICK, known, link=link)
    act(db, campaign, CLICK, known, link=link, label=Label.MACHINE)
    act(db, campaign, CLICK, link=link)
    act(db, campaign, CLICK, link=link, label=Label.UNSURE)

    figures = report(db, campaign)

    clicks = figures.engagement.clicks
    assert (clicks.recipients, clicks.recipients_people, clicks.total) == (1, 1, 4)
    for part in (clicks, figures.links[0], figures.events[0]):
        assert (part.people, part.machines, part.unsure) == (2, 1, 1)
    assert (figures.links[0].clicks, figures.links[0].recipients) == (4, 1)
    assert (figures.events[0].registration_clicks, figures.events[0].recipients) == (4, 1)


def test_the_hidden_link_is_no_click_and_no_link(db: Session) -> None:
    campaign = make_campaign(db)
    make_link(db, campaign, "pack")
    position = deliver(db, campaign, make_recipient(db, "a@aarhus.example"))
    for known in (position, None):
        act(db, campaign, TrackingKind.TRAP, known, link=0, label=Label.MACHINE)

    figures = report(db, campaign)

    assert (figures.engagement.clicks.total, figures.engagement.clicks.recipients) == (0, 0)
    assert [link.clicks for link in figures.links] == [0]
    assert figures.over_time.moments == []


def test_reach_is_apart_from_recipients(db: Session) -> None:
    campaign, other = make_campaign(db), make_campaign(db, "other")
    act(db, campaign, TrackingKind.PASS_ON)
    act(db, campaign, TrackingKind.PASS_ON, label=Label.MACHINE)
    act(db, None, TrackingKind.VISIT, subject="startpakke")
    act(db, None, TrackingKind.VISIT, subject="startpakke", at=NOW - timedelta(days=1))
    act(db, other, TrackingKind.VISIT, subject="startpakke")

    figures = report(db, campaign)

    assert (figures.reach.pass_on.total, figures.reach.pass_on.machines) == (2, 1)
    assert [(page.page, page.total) for page in figures.reach.pages] == [("startpakke", 1)]
    assert figures.engagement.views.total == 0


def test_of_an_anonymous_letter_few_readers_beyond_the_recipients_are_not_told(db: Session) -> None:
    campaign = make_campaign(db, tracking="anonymous")
    for number in range(30):
        deliver(db, campaign, make_recipient(db, f"{number}@x.example"))
    for subject, people, unsure in (
        ("startpakke", 40, 6),
        ("startpakke.pdf", 9, 3),
        ("principper", 4, 0),
    ):
        for label, often in ((Label.PERSON, people), (Label.UNSURE, unsure)):
            for _ in range(often):
                act(db, None, TrackingKind.VISIT, label=label, subject=subject)
    act(db, campaign, TrackingKind.PASS_ON)

    reach = campaign_report(db, campaign).reach

    assert [astuple(page) for page in reach.pages] == [
        ("startpakke", 46, 40, 0, 6),
        ("startpakke.pdf", 12, None, None, None),
    ]
    assert reach.visits == 58
    assert (reach.pass_on.total, reach.pass_on.people) == (None, None)


@pytest.mark.parametrize("tracking", ["none", "consent", "personal"])
def test_of_other_letters_readers_beyond_the_recipients_are_told(db: Session, tracking: str) -> None:
    campaign = make_campaign(db, tracking=tracking)
    act(db, None, TrackingKind.VISIT, subject="principper")
    act(db, campaign, TrackingKind.PASS_ON)

    reach = campaign_report(db, campaign).reach

    assert [astuple(page) for page in reach.pages] == [("principper", 1, 1, 0, 0)]
    assert (reach.visits, reach.pass_on.total) == (1, 1)


def test_a_report_is_told_when_the_database_is_let_go_of(database: Database) -> None:
    with database.write() as db:
        campaign = make_campaign(db)
        for number in range(20):
            role = Role.MAYOR if number % 2 else Role.EMPLOYEE
            act(db, campaign, OPEN, deliver(db, campaign, make_recipient(db, f"{number}@x", role=role)))
        for number in range(2):
            deliver(db, campaign, make_recipient(db, f"{number}@y", role=Role.MINISTER))
        counted = count_report(db, campaign, now=NOW)
    with counting_statements(database) as said:
        figures = tell_report(counted)

    assert said == []
    assert [row.value for row in counted.report.by[Dimension.ROLE]].count("minister") == 1
    assert [row.value for row in figures.by[Dimension.ROLE]].count("minister") == 0


def test_the_links_of_an_anonymous_letter_are_told_as_in_its_report_and_no_letter_is_looked_at(
    database: Database,
) -> None:
    with database.write() as db:
        campaign = make_campaign(db, tracking="anonymous")
        for number in range(60):
            deliver(db, campaign, make_recipient(db, f"{number}@x"))
        for number, (kind, often) in enumerate((("link", 2), ("registration", 9), ("download", 20))):
            link = make_link(db, campaign, f"side-{number}", kind=kind)
            for _ in range(often):
                act(db, campaign, CLICK, link=link)
        make_link(db, campaign, "nobodys")
        for _ in range(6):
            act(db, campaign, CLICK, link=99)
        told = {link.number: link.clicks for link in campaign_report(db, campaign).links}
        with counting_statements(database) as said:
            clicks = link_clicks(db, campaign)

    assert clicks == told == {1: None, 2: 9, 3: 20, 4: None}
    assert said
    assert not any("deliveries" in statement for statement in said)


def test_another_campaigns_events_are_not_counted(db: Session) -> None:
    campaign, other = make_campaign(db), make_campaign(db, "other")
    recipient = make_recipient(db, "a@aarhus.example")
    position = deliver(db, campaign, recipient)
    link = make_link(db, campaign, "pack", kind="download")
    make_link(db, other, "pack")
    act(db, other, OPEN, deliver(db, other, recipient))
    act(db, other, CLICK, position, link=link)

    done = report(db, campaign).engagement

    assert (done.opens.total, done.clicks.total, done.downloads.total) == (0, 0, 0)


def test_a_draft_has_a_report_too(db: Session) -> None:
    campaign = make_campaign(db)
    campaign.dated_at = None

    figures = report(db, campaign)

    assert figures.delivery["audience"] == 0
    assert (figures.engagement.opens.recipients, figures.over_time.moments) == (0, [])
    assert all(not groups for groups in figures.by.values())


def test_only_the_dimensions_asked_for_are_counted(db: Session) -> None:
    campaign = make_campaign(db)
    deliver(db, campaign, make_recipient(db, "a@aarhus.example"))

    figures = report(db, campaign, dimensions=[Dimension.LINK, Dimension.REGION])

    assert list(figures.by) == [Dimension.LINK, Dimension.REGION]


def test_no_dimension_tells_what_a_person_belongs_to() -> None:
    assert "confederation" not in list(Dimension)


@pytest.mark.parametrize("audience", [2, 60])
def test_the_number_of_statements_does_not_grow_with_the_audience(
    database: Database, audience: int
) -> None:
    with database.write() as db:
        campaign = make_campaign(db)
        pack = make_link(db, campaign, "pack", kind="download")
        for number in range(audience):
            name = f"Kommune {number}"
            recipient = make_recipient(db, f"{number}@{number}.example", organisation=name)
            position = deliver(db, campaign, recipient)
            act(db, campaign, OPEN, position, at=NOW + timedelta(hours=number))
            act(db, campaign, CLICK, position, link=pack)
        with counting_statements(database) as said:
            report(db, campaign)

    assert len(said) == 14
