"""Who gets a letter about an event: by rule, as of a moment, once."""

from collections.abc import Iterator
from datetime import datetime, time, timedelta

import pytest
from sqlalchemy import SelectBase, insert, select, text
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery
from mailer.events.audiences import AudienceRule, audience_of, interested_recipients
from mailer.events.models import Event, Registration, ReminderRequest, ReminderState
from mailer.events.outcomes import reminded_since, store_outcome
from mailer.events.requests import gets_no_reminder
from mailer.tracking.models import Label
from recipients.models import (
    Recipient,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    TrackingChoice,
)
from tests.events.making import (
    GIVEN_BACK,
    NOW,
    SEATED,
    WAITING,
    ask,
    click,
    make_campaign,
    make_event,
    make_recipient,
    plan_by_rule,
    seat,
)

HOUR = timedelta(hours=1)
REGISTERED, ASKED, CLICKED, REGION = AudienceRule


def get(db: Session, event: Event, rule: AudienceRule, *, until: datetime | None = None) -> list[int]:
    return sorted(db.scalars(audience_of(rule, event.id, until=until)))


def say_no(db: Session, recipient: Recipient, scope: SuppressionScope) -> None:
    db.add(
        Suppression(
            address_hash=recipient.address_hash,
            reason=SuppressionReason.UNSUBSCRIBED,
            scope=scope,
            created_at=NOW,
        )
    )
    db.flush()


def clicker(db: Session, event: Event, *, at: datetime = NOW) -> Recipient:
    recipient = make_recipient(db)
    click(db, make_campaign(db, [recipient], event_slug=event.slug), 1, at=at)
    return recipient


def ids(*people: Recipient) -> list[int]:
    return sorted(person.id for person in people)


def test_everybody_is_in_the_audience_of_one_rule_alone(db: Session) -> None:
    """All sixteen ways in which somebody may have asked, clicked, a seat, and the event's region."""
    event = make_event(db, region="Sjælland")
    wanted: dict[AudienceRule | None, list[int]] = {None: [], **{rule: [] for rule in AudienceRule}}
    for number in range(16):
        asks, clicks, sits, is_near = (bool(number & 1 << bit) for bit in range(4))
        person = make_recipient(db, region="Sjælland" if is_near else "Nordjylland")
        if asks:
            ask(db, event, person)
        if clicks:
            click(db, make_campaign(db, [person], event_slug=event.slug), 1)
        if sits:
            seat(db, event, person)
        rule = REGISTERED if sits else ASKED if asks else CLICKED if clicks else None
        wanted[rule or (REGION if is_near else None)].append(person.id)

    for rule in AudienceRule:
        assert get(db, event, rule) == wanted[rule]
    assert sorted(db.scalars(interested_recipients(event.id))) == sorted(
        wanted[REGISTERED] + wanted[ASKED] + wanted[CLICKED]
    )


def test_what_was_done_for_another_event_counts_for_nothing(db: Session) -> None:
    event, other = make_event(db), make_event(db, "kolding")
    asking, seated = make_recipient(db), make_recipient(db)
    ask(db, other, asking)
    seat(db, other, seated)
    clicking = clicker(db, other)

    assert [get(db, event, rule) for rule in (REGISTERED, ASKED, CLICKED)] == [[], [], []]
    assert [get(db, other, rule) for rule in (REGISTERED, ASKED, CLICKED)] == [
        ids(seated),
        ids(asking),
        ids(clicking),
    ]


def test_who_waits_for_a_seat_gets_no_reminder_but_hears_of_changes(db: Session) -> None:
    event = make_event(db, region="Sjælland")
    person = make_recipient(db, region="Sjælland")
    ask(db, event, person)
    click(db, make_campaign(db, [person], event_slug=event.slug), 1)
    seat(db, event, person, state=WAITING)

    assert [get(db, event, rule) for rule in AudienceRule] == [[], [], [], []]
    assert list(db.scalars(interested_recipients(event.id))) == ids(person)

    db.execute(select(Registration)).scalar_one().state = SEATED
    db.flush()
    assert get(db, event, REGISTERED) == ids(person)


def test_who_gave_a_seat_back_hears_no_more_unless_they_turn_to_us_again(db: Session) -> None:
    event = make_event(db, region="Sjælland")
    asked_before, asked_after = make_recipient(db, region="Sjælland"), make_recipient(db)
    ask(db, event, asked_before, at=NOW - HOUR)
    ask(db, event, asked_after, at=NOW + HOUR)
    clicked_before, clicked_after = (clicker(db, event, at=NOW + step) for step in (-HOUR, HOUR))
    for person in (asked_before, asked_after, clicked_before, clicked_after):
        seat(db, event, person, state=GIVEN_BACK, at=NOW)

    assert get(db, event, REGISTERED) == []
    assert get(db, event, ASKED) == ids(asked_after)
    assert get(db, event, CLICKED) == ids(clicked_after)
    assert get(db, event, REGION) == []
    assert sorted(db.scalars(interested_recipients(event.id))) == ids(asked_after, clicked_after)


def test_who_joins_after_the_moment_is_judged_as_they_stood_then(db: Session) -> None:
    event = make_event(db, region="Sjælland")
    asked, late_asker, late_sitter, asked_then_sat = (make_recipient(db) for _ in range(4))
    ask(db, event, asked, asked_then_sat)
    ask(db, event, late_asker, at=NOW + HOUR)
    seat(db, event, late_sitter, asked_then_sat, at=NOW + HOUR)
    clicked, late_clicker = clicker(db, event), clicker(db, event, at=NOW + HOUR)
    clicked_then_sat = clicker(db, event)
    seat(db, event, clicked_then_sat, at=NOW + HOUR)

    assert get(db, event, REGISTERED, until=NOW) == []
    assert get(db, event, ASKED, until=NOW) == ids(asked, asked_then_sat)
    assert get(db, event, CLICKED, until=NOW) == ids(clicked)

    later = NOW + HOUR
    assert get(db, event, REGISTERED, until=later) == ids(late_sitter, asked_then_sat, clicked_then_sat)
    assert get(db, event, ASKED, until=later) == ids(asked, late_asker)
    assert get(db, event, CLICKED, until=later) == ids(clicked, late_clicker)


def test_people_on_an_attendance_list_alone_are_nobodys_audience_and_hide_nobody(db: Session) -> None:
    """A NULL among those left out leaves nobody else out."""
    event = make_event(db, region="Sjælland")
    near, asking = make_recipient(db, region="Sjælland"), make_recipient(db)
    ask(db, event, asking)
    for state in (SEATED, WAITING, GIVEN_BACK):
        seat(db, event, None, state=state)

    assert get(db, event, REGISTERED) == []
    assert get(db, event, ASKED) == ids(asking)
    assert get(db, event, REGION) == ids(near)


def test_an_event_of_no_region_invites_nobody_by_region(db: Session) -> None:
    event = make_event(db)
    make_recipient(db)
    assert get(db, event, REGION) == []


# Clicks


def test_a_click_counts_only_on_that_events_registration_link(db: Session) -> None:
    event, other = make_event(db), make_event(db, "kolding")
    (person,) = people = [make_recipient(db)]
    click(db, make_campaign(db, people, event_slug=event.slug), 1, link_number=1)
    click(db, make_campaign(db, people, event_slug=other.slug), 1)

    assert get(db, event, CLICKED) == []
    assert get(db, other, CLICKED) == [person.id]


@pytest.mark.parametrize(
    ("label", "counts"), [(Label.PERSON, True), (Label.UNSURE, True), (Label.MACHINE, False)]
)
def test_machines_are_not_reminded(db: Session, label: Label, counts: bool) -> None:
    event = make_event(db)
    people = [make_recipient(db)]
    click(db, make_campaign(db, people, event_slug=event.slug), 1, label=label)
    assert bool(get(db, event, CLICKED)) is counts


@pytest.mark.parametrize(
    ("tracking", "choice", "counts"),
    [
        ("personal", None, True),
        ("personal", TrackingChoice.CONSENT, True),
        ("consent", TrackingChoice.CONSENT, True),
        ("consent", None, False),
        ("consent", TrackingChoice.OBJECTION, False),
        ("anonymous", TrackingChoice.CONSENT, False),
        ("none", TrackingChoice.CONSENT, False),
    ],
)
def test_clicks_count_only_where_mode_and_person_allow_it(
    db: Session, tracking: str, choice: TrackingChoice | None, counts: bool
) -> None:
    event = make_event(db)
    people = [make_recipient(db, tracking=choice)]
    click(db, make_campaign(db, people, event_slug=event.slug, tracking=tracking), 1)
    assert bool(get(db, event, CLICKED)) is counts


def test_an_objection_to_tracking_wins_over_the_click_but_not_over_asking(db: Session) -> None:
    event = make_event(db)
    objector = make_recipient(db, tracking=TrackingChoice.OBJECTION)
    click(db, make_campaign(db, [objector], event_slug=event.slug), 1)
    assert get(db, event, CLICKED) == []

    ask(db, event, objector)
    assert get(db, event, ASKED) == [objector.id]


# Rules that no letter serves, and what it costs to ask


def test_a_rule_that_is_not_served_takes_nobody_away_but_whoever_has_a_seat_is_invited_to_none(
    db: Session,
) -> None:
    event = make_event(db)
    sits, asks, waits = make_recipient(db), make_recipient(db), make_recipient(db)
    ask(db, event, *(people := [sits, asks, waits]))
    campaign = make_campaign(db, people, event_slug=event.slug)
    for position in (1, 2, 3):
        click(db, campaign, position)
    seat(db, event, sits)
    seat(db, event, waits, state=WAITING)

    def alone(rule: AudienceRule) -> list[int]:
        return sorted(db.scalars(audience_of(rule, event.id, served={rule})))

    assert alone(ASKED) == ids(sits, asks)
    assert alone(CLICKED) == ids(asks)


def test_no_list_of_people_is_read_once_for_each_recipient(db: Session) -> None:
    """With little memory to work in, where PostgreSQL builds no table of what ``NOT IN`` names."""
    event = make_event(db, start=time(10), region="Sjælland")
    (first,) = people = [make_recipient(db, region="Sjælland")]
    campaign = make_campaign(db, people, event_slug=event.slug)
    click(db, campaign, 1)
    many = range(first.id + 1, first.id + 3001)
    like = {key.name: getattr(first, key.name) for key in Recipient.__table__.columns}
    copies = [
        like
        | {
            "id": one,
            "email": f"{one}@b.example",
            "email_key": f"{one}@b.example",
            "address_hash": f"{one:032x}",
        }
        for one in many
    ]
    db.execute(insert(Recipient), copies)
    asked = [{"event_id": event.id, "recipient_id": one, "asked_at": NOW} for one in many]
    db.execute(insert(ReminderRequest), asked)
    sent = [
        {
            "campaign_id": campaign.id,
            "position": place,
            "recipient_id": one,
            "state": "sent",
            "attempts": 1,
        }
        for place, one in enumerate(many, start=2)
    ]
    db.execute(insert(Delivery), sent)
    db.execute(text("ANALYZE"))
    week = plan_by_rule(db)["7 days", ASKED]
    store_outcome(db, week, ReminderState.SENT, campaign_id=campaign.id, now=week.due_at)
    queries = [audience_of(rule, event.id) for rule in AudienceRule]
    again = queries[0].except_(reminded_since(week))

    for query in (*queries, again, interested_recipients(event.id)):
        assert _read_for_each(db, query) == []


def _read_for_each(db: Session, query: SelectBase) -> list[str]:
    """The steps of a query that read a whole table or list for each row of another."""
    sql = str(query.compile(db.get_bind(), compile_kwargs={"literal_binds": True}))
    if db.get_bind().dialect.name == "postgresql":
        db.execute(text("SET LOCAL work_mem = '64kB'"))
        db.execute(text("SET LOCAL hash_mem_multiplier = 1"))
        return [step for (step,) in db.execute(text(f"EXPLAIN {sql}")) if "SubPlan" in step]
    unwritten = (None,) * sql.count("?")
    told = db.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", unwritten)
    steps = {row[0]: (row[1], row[3]) for row in told}

    def causes(number: int) -> Iterator[str]:
        while number:
            number, detail = steps[number]
            yield detail

    return [
        detail
        for number, (_, detail) in steps.items()
        if detail.startswith("SCAN") and any("CORRELATED" in cause for cause in causes(number))
    ]


# Those who said no


def test_a_no_to_letters_stops_what_nobody_asked_for_and_a_no_to_everything_stops_all(
    db: Session,
) -> None:
    event = make_event(db, region="Sjælland")
    for scope in (None, SuppressionScope.LETTERS, SuppressionScope.EVERYTHING):
        people = [make_recipient(db, region="Sjælland") for _ in range(3)]
        ask(db, event, people[0])
        seat(db, event, people[1])
        people.append(clicker(db, event))
        for person in people if scope else []:
            say_no(db, person, scope)

    sizes = {rule.value: len(get(db, event, rule)) for rule in AudienceRule}
    assert sizes == {"registered": 2, "asked": 2, "clicked": 1, "region": 1}
    assert len(list(db.scalars(interested_recipients(event.id)))) == 5


def test_a_click_lets_no_letter_through_to_somebody_who_asked_for_nothing_after_giving_a_seat_back(
    db: Session,
) -> None:
    event = make_event(db)
    person = clicker(db, event, at=NOW + HOUR)
    seat(db, event, person, state=GIVEN_BACK, at=NOW)
    assert get(db, event, CLICKED) == [person.id]
    say_no(db, person, SuppressionScope.LETTERS)
    assert get(db, event, CLICKED) == []


def test_who_wants_no_more_letters_still_gets_what_follows_from_registering(db: Session) -> None:
    event = make_event(db)
    people = {state: make_recipient(db) for state in (SEATED, WAITING, GIVEN_BACK)}
    for state, person in people.items():
        seat(db, event, person, state=state)
        say_no(db, person, SuppressionScope.LETTERS)
    stranger, furious = make_recipient(db), make_recipient(db)
    say_no(db, stranger, SuppressionScope.LETTERS)
    seat(db, event, furious)
    say_no(db, furious, SuppressionScope.EVERYTHING)

    withheld = db.scalars(select(Recipient.id).where(gets_no_reminder(event.slug)))

    assert sorted(withheld) == ids(stranger, furious)
