"""Ten years of events, whatever their dates: each reminder once, at its time, or a reason why not."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from mailer.events.dates import due_moment, parse_lead
from mailer.events.models import Event, Reminder, ReminderState
from mailer.events.outcomes import store_outcome
from mailer.events.reminders import PlannedReminder, due_reminders, lay_out_reminders, plan_reminders
from tests.events.making import GRACE, NOW, ZONE, make_event, new_event, policy

SCHEDULE = "14 days, 7 days, 1 day, 2 hours, 2 hours: dagen-foer"
TO_SUMMER, TO_WINTER = date(2014, 3, 30), date(2014, 10, 26)

days = st.dates(date(2014, 1, 1), date(2024, 12, 31))
times = st.one_of(st.none(), st.times(time(6), time(20)))
gaps = st.lists(st.integers(1, 119), min_size=1, max_size=4)
"""Minutes between ticks: never so long that an event begins before the two hours' reminder is seen."""


class Office:
    """One event and the ticks that look after it, without a database."""

    def __init__(self, event: Event) -> None:
        event.id = 1
        self.event = event
        self.gone: list[Reminder] = []

    def look(self, now: datetime, grace: timedelta = GRACE) -> list[PlannedReminder]:
        return lay_out_reminders(
            [self.event], policy(grace=grace), stored=self.gone, full=(), history=(), now=now
        )

    def tick(self, now: datetime, grace: timedelta = GRACE) -> None:
        due = [one for one in self.look(now, grace) if one.state is ReminderState.DUE]
        for one in sorted(due, key=lambda one: one.due_at, reverse=True):
            if one in self.look(now, grace):
                self.gone.append(
                    Reminder(
                        event_id=one.event_id,
                        lead=one.lead,
                        rule=one.rule,
                        event_date=one.event_date,
                        state=ReminderState.SENT,
                        due_at=one.due_at,
                        late=one.late,
                        audience=1,
                        at=now,
                    )
                )


def ticks(moments: Sequence[datetime], minutes: Sequence[int]) -> Iterator[datetime]:
    """Ticks around each due moment, so many minutes apart, and none in the quiet between."""
    for moment in sorted(set(moments)):
        now = moment - timedelta(minutes=1)
        yield now
        for gap in [*minutes, 119]:
            now += timedelta(minutes=gap)
            yield now


@settings(max_examples=50)
@given(days, times, gaps)
@example(TO_SUMMER, time(4), [1])  # two real hours before, clocks show one o'clock
@example(TO_WINTER, time(3), [60])
@example(TO_SUMMER + timedelta(days=1), time(9), [119])
@example(TO_WINTER + timedelta(days=1), None, [119, 1])
@example(date(2014, 4, 22), time(10), [90])  # the Tuesday after Easter
@example(date(2024, 12, 27), time(7), [1, 2, 3])  # between Christmas and the weekend
def test_each_reminder_goes_once_at_its_time_however_ticks_come(
    day: date, start: time | None, minutes: list[int]
) -> None:
    office = Office(new_event(day=day, start=start, reminders=SCHEDULE, created_at=NOW))
    expected = office.look(datetime(2013, 1, 1, tzinfo=UTC))
    may_go = [one for one in expected if one.state is ReminderState.PLANNED]
    for now in ticks([one.due_at for one in may_go], minutes):
        office.tick(now)

    gone = [(row.lead, row.rule) for row in office.gone]
    assert sorted(gone) == sorted((one.lead, one.rule) for one in may_go)
    assert ("2 hours", "registered") in gone or start is None
    for row in office.gone:
        assert row.due_at == due_moment(day, start, parse_lead(row.lead), ZONE)
        assert timedelta(0) <= row.at - row.due_at < timedelta(minutes=119)
        assert row.late is (row.at - row.due_at > timedelta(minutes=10))
        if row.lead.endswith(("day", "days")):
            assert row.due_at.astimezone(ZONE).time() == time(9)
    blocked = {(one.lead, one.rule.value) for one in expected if one.state is ReminderState.BLOCKED}
    assert (blocked == set()) is (start is not None)


@settings(max_examples=50)
@given(days, times, st.lists(st.integers(3, 60), min_size=1, max_size=8), st.integers(2, 72))
def test_however_long_nobody_looks_each_reminder_is_sent_or_has_its_reason(
    day: date, start: time | None, hours: list[int], grace: int
) -> None:
    """The machine may be off for days; nothing goes after its grace time, and never two at once."""
    office = Office(new_event(day=day, start=start, reminders=SCHEDULE, created_at=NOW))
    length = timedelta(hours=grace)
    now = min(one.due_at for one in office.look(NOW)) - timedelta(hours=5)
    end = datetime.combine(day + timedelta(days=1), time(23), UTC)
    step = 0
    while now < end:
        before = len(office.gone)
        office.tick(now, length)
        at_once = [row.rule for row in office.gone[before:]]
        assert len(at_once) == len(set(at_once))
        now += timedelta(hours=hours[step % len(hours)])
        step += 1

    after = office.look(end + length, length)
    assert {one.state for one in after} <= {
        ReminderState.SENT,
        ReminderState.MISSED,
        ReminderState.CANCELLED,
    }
    assert all(one.reason for one in after if one.state is not ReminderState.SENT)
    for row in office.gone:
        assert timedelta(0) <= row.at - row.due_at <= length


@settings(max_examples=100)
@given(days, st.one_of(st.none(), st.times()), st.integers(-400, 400), st.integers(1, 5))
def test_the_state_at_any_moment_is_one_of_the_seven_with_a_reason_where_it_does_not_go(
    day: date, start: time | None, hours: int, grace: int
) -> None:
    office = Office(new_event(day=day, start=start, reminders=SCHEDULE, created_at=NOW))
    now = datetime.combine(day, time(12), UTC) + timedelta(hours=hours)
    for one in office.look(now, timedelta(days=grace)):
        goes = one.state in {ReminderState.PLANNED, ReminderState.DUE}
        assert (one.reason is None) is goes
        assert (one.state is ReminderState.DUE) <= (one.due_at <= now)
        assert (one.state is ReminderState.PLANNED) <= (one.due_at > now)


def test_ten_years_of_ticks_send_each_reminder_once_or_say_why_not(db: Session) -> None:
    """With the database, the machine off for weeks between two ticks."""
    years = [date(2014, 1, 6) + timedelta(days=622 * step) for step in range(6)]
    for number, day in enumerate(years):
        make_event(db, f"event-{number}", day=day, start=time(10) if number % 3 else None)
    now, last = datetime(2013, 12, 1, 8, 0, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
    grace, sent = timedelta(days=20), 0
    while now < last:
        now += timedelta(days=21, hours=6)
        for one in due_reminders(db, policy(grace=grace), now=now):
            store_outcome(db, one, ReminderState.SENT, now=now)
            sent += 1

    planned = plan_reminders(db, policy(grace=grace), now=last)
    assert len(planned) == 9 * len(years)
    assert {one.state for one in planned} == {ReminderState.SENT, ReminderState.MISSED}
    assert sum(one.state is ReminderState.SENT for one in planned) == sent
    assert all(one.reason for one in planned if one.state is ReminderState.MISSED)
