"""What a sighting looks like beside the others around it."""

import random
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy.event
from psycopg import Cursor
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery, DeliveryState, Link
from mailer.foundation.database import Database, DatabaseUnavailable, open_database
from mailer.tracking import revising
from mailer.tracking.models import Label, Manner, TrackingEvent, TrackingKind
from mailer.tracking.revising import (
    CROWD,
    CROWDED,
    HASTY,
    WINDOW,
    Reviser,
    explain,
    relabel,
    revise,
)
from mailer.tracking.surroundings import ALL_OF_FEW, BURST, FORM, TRAPPED, Seen, judge_beside
from tests.tracking.sighted import CURL, EDGE, FIREFOX, GMAIL, Letters, later, make_letters

MINUTE = 60.0
LONG_AFTER = 3_600.0
BROWSER = (Label.PERSON, "browser")
DONE = later(LONG_AFTER) + timedelta(hours=1)
"""When everything these tests do is over."""


@pytest.fixture
def letters(db: Session) -> Letters:
    return make_letters(db, count=CROWD + 1)


def judged(letters: Letters, event: TrackingEvent) -> tuple[Label, str]:
    """What the event is taken for in the end."""
    revise(letters.db, now=DONE)
    return now(letters, event)


def now(letters: Letters, event: TrackingEvent) -> tuple[Label, str]:
    letters.db.refresh(event)
    return event.label, event.reason


def test_a_lone_click_stays_a_persons_and_is_settled(letters: Letters) -> None:
    click = letters.see(LONG_AFTER)

    assert judged(letters, click) == BROWSER
    assert click.settled


def test_nothing_is_settled_while_later_events_can_change_it(letters: Letters) -> None:
    click = letters.see(LONG_AFTER)

    revise(letters.db, now=click.at + WINDOW)
    assert (now(letters, click), click.settled) == (BROWSER, False)

    revise(letters.db, now=click.at + WINDOW + timedelta(seconds=1))
    assert (now(letters, click), click.settled) == (BROWSER, True)


def test_whoever_follows_the_hidden_link_is_a_machine_with_all_it_does(letters: Letters) -> None:
    opened = letters.see(LONG_AFTER, kind=TrackingKind.OPEN)
    clicked = letters.see(LONG_AFTER + 20)
    trap = letters.see(LONG_AFTER + 30, kind=TrackingKind.TRAP)
    viewed = letters.see(LONG_AFTER + 59, kind=TrackingKind.VIEW)

    for event in (opened, clicked, viewed):
        assert judged(letters, event) == (Label.MACHINE, TRAPPED.reason)
    assert judged(letters, trap) == (Label.MACHINE, "followed the hidden link")


def test_the_first_clicks_of_a_scanner_are_revised_within_seconds(letters: Letters) -> None:
    click = letters.see(LONG_AFTER)
    revise(letters.db, now=later(LONG_AFTER + 1))
    assert now(letters, click) == BROWSER

    letters.see(LONG_AFTER + 2, kind=TrackingKind.TRAP)
    revise(letters.db, now=later(LONG_AFTER + 3))

    assert (now(letters, click), click.settled) == ((Label.MACHINE, TRAPPED.reason), False)


def test_a_reader_elsewhere_is_not_taken_for_the_scanner(letters: Letters) -> None:
    letters.see(LONG_AFTER, kind=TrackingKind.TRAP, network="scanner", agent=FIREFOX)
    click = letters.see(LONG_AFTER + 11, network="home")

    assert judged(letters, click) == BROWSER


def test_a_scanner_of_many_networks_is_one_scanner(letters: Letters) -> None:
    letters.see(LONG_AFTER, kind=TrackingKind.TRAP, network="one", agent=FIREFOX)
    click = letters.see(LONG_AFTER + 9, network="other")

    assert judged(letters, click) == (Label.MACHINE, TRAPPED.reason)


def test_the_hidden_link_of_one_letter_says_nothing_of_another(letters: Letters) -> None:
    letters.see(LONG_AFTER, kind=TrackingKind.TRAP, position=2)
    click = letters.see(LONG_AFTER + 1, position=1)

    assert judged(letters, click) == BROWSER


def test_what_is_long_before_or_after_the_hidden_link_is_not_touched(letters: Letters) -> None:
    before = letters.see(LONG_AFTER)
    letters.see(LONG_AFTER + 61, kind=TrackingKind.TRAP)
    after = letters.see(LONG_AFTER + 122)

    assert judged(letters, before) == BROWSER
    assert judged(letters, after) == BROWSER


def test_four_links_within_five_seconds_are_no_readers(letters: Letters) -> None:
    clicks = [letters.see(LONG_AFTER + nth * 1.6, link=nth + 1) for nth in range(4)]

    for click in clicks:
        assert judged(letters, click) == (Label.MACHINE, BURST.reason)


def test_a_busy_reader_stays_a_person(letters: Letters) -> None:
    events = [
        letters.see(LONG_AFTER + after, link=link, position=position)
        for position, clicks in enumerate(
            [
                [(0, 1), (1, 2), (2, 3)],  # three links
                [(0, 1), (1, 2), (2, 3), (5.2, 4)],  # four in more than five seconds
                [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2)],  # the same link again and again
                [(nth * 7, nth) for nth in range(1, 11)],  # ten in more than a minute
            ],
            start=1,
        )
        for after, link in clicks
    ]

    for event in events:
        assert judged(letters, event) == BROWSER


def test_ten_links_within_a_minute_are_no_readers(letters: Letters) -> None:
    events = [letters.see(LONG_AFTER + nth * 6.5, link=nth) for nth in range(1, 11)]

    for event in events:
        assert judged(letters, event) == (Label.MACHINE, BURST.reason)


def test_a_reader_between_two_scans_stays_a_person(letters: Letters) -> None:
    for start in (0, 300):
        for nth in range(4):
            letters.see(LONG_AFTER + start + nth, link=nth + 1, network="scanner", agent=FIREFOX)
    click = letters.see(LONG_AFTER + 150)

    assert judged(letters, click) == BROWSER


def add_links(letters: Letters, count: int) -> Letters:
    """Give the letters so many links."""
    letters.db.add_all(
        Link(campaign_id=letters.campaign_id, number=number, key=f"{number}", kind="link", target="/")
        for number in range(1, count + 1)
    )
    letters.db.flush()
    return letters


@pytest.mark.parametrize("count", [2, 3])
def test_all_links_of_a_short_letter_at_once_are_unsure(letters: Letters, count: int) -> None:
    add_links(letters, count)
    opened = letters.see(LONG_AFTER + 1, kind=TrackingKind.OPEN)
    clicks = [letters.see(LONG_AFTER + nth * 2, link=nth + 1) for nth in range(count)]

    for event in (opened, *clicks):
        assert judged(letters, event) == (Label.UNSURE, ALL_OF_FEW.reason)


def test_some_links_of_a_short_letter_are_followed_by_readers(letters: Letters) -> None:
    add_links(letters, 3)
    events = [
        letters.see(LONG_AFTER + after, link=link, position=position)
        for position, clicks in enumerate(
            [
                [(0, 1), (1, 2)],  # two of three
                [(0, 1), (2, 2), (5.2, 3)],  # all, in more than five seconds
                [(0, 1), (1, 1), (2, 1), (3, 2)],  # one again and again
            ],
            start=1,
        )
        for after, link in clicks
    ]
    one = add_links(make_letters(letters.db, name="et link"), 1)
    events += [one.see(LONG_AFTER + nth, link=1) for nth in range(4)]
    many = add_links(make_letters(letters.db, name="mange links"), 5)
    events += [many.see(LONG_AFTER + nth, link=nth + 1) for nth in range(3)]

    for event in events:
        assert judged(letters, event) == BROWSER


def test_all_links_of_a_short_letter_make_no_machine_and_no_person_of_anybody(letters: Letters) -> None:
    add_links(letters, 2)
    said = [letters.see(LONG_AFTER + nth, link=nth + 1, agent=CURL) for nth in range(2)]
    trapped = [letters.see(LONG_AFTER + nth, link=nth + 1, position=2) for nth in range(2)]
    letters.see(LONG_AFTER + 3, kind=TrackingKind.TRAP, position=2)
    formed = [letters.see(LONG_AFTER + nth, link=nth + 1, position=3) for nth in range(2)]
    revise(letters.db, now=later(LONG_AFTER + 4))
    assert now(letters, formed[0]) == (Label.UNSURE, ALL_OF_FEW.reason)
    letters.see(LONG_AFTER + 90, kind=TrackingKind.REMIND, manner=Manner.POST, position=3)

    for click, label in zip(
        (*said, *trapped, *formed), [Label.MACHINE] * 4 + [Label.PERSON] * 2, strict=True
    ):
        assert judged(letters, click)[0] is label


def test_the_first_click_on_a_short_letter_is_doubted_when_the_last_one_comes(
    database: Database,
) -> None:
    reviser = Reviser(database)
    with database.write() as db:
        letters = add_links(make_letters(db, count=2), 2)
        first, hasty = letters.see(LONG_AFTER), letters.see(1, position=2)
    reviser.revise(later(2))
    assert labelled(database, hasty) == (Label.UNSURE, HASTY.reason)
    with database.write() as db:
        Letters(db, letters.campaign_id).see(3, link=2, position=2)
    reviser.revise(later(LONG_AFTER + 1))
    assert labelled(database, first) == BROWSER
    with database.write() as db:
        Letters(db, letters.campaign_id).see(LONG_AFTER + 2, link=2)
    reviser.revise(later(LONG_AFTER + 3))
    assert labelled(database, first) == (Label.UNSURE, ALL_OF_FEW.reason)

    reviser.revise(DONE)
    assert labelled(database, hasty) == (Label.UNSURE, ALL_OF_FEW.reason)
    with database.read() as db:
        before = labels_in(db)
    relabel(database, None, now=DONE)
    with database.read() as db:
        assert labels_in(db) == before


def test_the_database_passes_over_no_letter_that_a_rule_would_judge(letters: Letters) -> None:
    chance = random.Random(2014)
    events: dict[tuple[int, int], list[TrackingEvent]] = {}
    for links in range(6):
        some = add_links(make_letters(letters.db, count=12, name=f"{links} links"), links)
        for position in range(1, 13):
            moments = sorted(chance.uniform(0, 9) for _ in range(chance.randrange(1, 7)))
            events[links, position] = [
                some.see(
                    LONG_AFTER + after,
                    position=position,
                    link=chance.randint(1, max(links, 1)),
                    network=f"n{links}-{position}",
                )
                for after in moments
            ]
    revise(letters.db, now=DONE)

    found = set()
    for (links, _), seen in events.items():
        alone = [
            Seen(
                each.id,
                (each.at - later(0)).total_seconds(),
                each.kind,
                each.link_number,
                each.manner,
                each.network,
                each.agent_id,
                Label.PERSON,
                "browser",
            )
            for each in seen
        ]
        few = links if links in {2, 3} else None
        expected = {each[0].id: each[1] for each in judge_beside(alone, few_links=few)}
        for event in seen:
            said = expected.get(event.id)
            assert now(letters, event) == ((said.label, said.reason) if said else BROWSER)
            found.add(said)
    assert found == {None, BURST, ALL_OF_FEW}


def test_links_of_different_letters_are_no_burst(letters: Letters) -> None:
    events = [letters.see(LONG_AFTER, position=nth, link=nth, network=f"n{nth}") for nth in range(1, 6)]

    for event in events:
        assert judged(letters, event) == BROWSER


def test_a_click_seconds_after_acceptance_is_unsure_and_never_a_machine(letters: Letters) -> None:
    quick = [letters.see(after, position=n) for n, after in enumerate((-20, 0, 5), start=1)]
    others = [letters.see(after, position=n) for n, after in enumerate((5.1, 30, -31), start=4)]

    for click in quick:
        assert judged(letters, click) == (Label.UNSURE, HASTY.reason)
    for click in others:
        assert judged(letters, click) == BROWSER


def test_the_moment_of_a_bounce_is_no_acceptance(letters: Letters) -> None:
    letters.db.execute(update(Delivery).values(state=DeliveryState.BOUNCED))

    assert judged(letters, letters.see(1)) == BROWSER


def test_an_open_is_not_quick(letters: Letters) -> None:
    assert judged(letters, letters.see(1, kind=TrackingKind.OPEN)) == BROWSER


def test_many_letters_from_one_network_by_one_program_are_unsure(letters: Letters) -> None:
    crowd = [letters.see(LONG_AFTER + nth, position=nth + 1) for nth in range(CROWD)]

    for event in crowd:
        assert judged(letters, event) == (Label.UNSURE, CROWDED.reason)


def test_a_letter_read_many_times_is_no_crowd(letters: Letters) -> None:
    events = [letters.see(LONG_AFTER + nth, link=1) for nth in range(CROWD + 5)]

    assert judged(letters, events[0]) == BROWSER


def test_many_letters_from_many_networks_are_read_by_people(letters: Letters) -> None:
    for nth in range(CROWD + 1):
        letters.see(LONG_AFTER, position=nth + 1, network=f"n{nth}")
        letters.see(LONG_AFTER + MINUTE, position=nth + 1, network=None)
    revise(letters.db, now=DONE)

    assert set(letters.db.scalars(select(TrackingEvent.label))) == {Label.PERSON}


def test_a_form_keeps_a_click_a_persons(letters: Letters) -> None:
    clicks = [letters.see(LONG_AFTER + nth, link=nth + 1) for nth in range(4)]
    revise(letters.db, now=later(LONG_AFTER + 4))
    assert now(letters, clicks[0]) == (Label.MACHINE, BURST.reason)

    letters.see(LONG_AFTER + 200, kind=TrackingKind.REMIND, manner=Manner.POST)

    for click in clicks:
        assert judged(letters, click) == (Label.PERSON, FORM.reason)


def test_a_form_makes_a_quick_click_a_persons(letters: Letters) -> None:
    click = letters.see(2)
    letters.see(30, kind=TrackingKind.REMIND, manner=Manner.POST)

    assert judged(letters, click) == BROWSER


def test_a_form_speaks_for_its_sender_alone(letters: Letters) -> None:
    clicks = [
        letters.see(LONG_AFTER + nth, link=nth + 1, position=position)
        for position in (1, 2, 3)
        for nth in range(4)
    ]
    form = TrackingKind.REMIND, Manner.POST
    for position, agent, network in (
        (1, EDGE, "elsewhere"),
        (2, FIREFOX, "office"),
        (4, EDGE, "office"),
    ):
        letters.see(
            LONG_AFTER + 20,
            kind=form[0],
            manner=form[1],
            position=position,
            agent=agent,
            network=network,
        )

    for click in clicks:
        assert judged(letters, click) == (Label.MACHINE, BURST.reason)


def test_a_robot_that_fills_in_forms_is_caught_by_the_hidden_link(letters: Letters) -> None:
    click = letters.see(LONG_AFTER)
    letters.see(LONG_AFTER + 1, kind=TrackingKind.TRAP)
    letters.see(LONG_AFTER + 2, kind=TrackingKind.REMIND, manner=Manner.POST)

    assert judged(letters, click) == (Label.MACHINE, TRAPPED.reason)


def test_what_was_sent_by_a_form_stays_a_persons(letters: Letters) -> None:
    letters.see(LONG_AFTER, kind=TrackingKind.TRAP)
    form = letters.see(LONG_AFTER + 1, kind=TrackingKind.UNSUBSCRIBE, manner=Manner.POST)

    assert judged(letters, form) == (Label.PERSON, "sent a form")


def test_a_machine_by_what_it_says_stays_one(letters: Letters) -> None:
    click = letters.see(LONG_AFTER, agent=CURL)
    letters.see(LONG_AFTER + 5, kind=TrackingKind.REMIND, manner=Manner.POST, agent=CURL)

    assert judged(letters, click) == (Label.MACHINE, "program")


def test_what_is_unsure_keeps_its_own_reason(letters: Letters) -> None:
    opened = letters.see(1, kind=TrackingKind.OPEN, agent=GMAIL)

    assert judged(letters, opened) == (Label.UNSURE, "Gmail's image proxy")


def test_a_settled_event_is_not_looked_at_again(letters: Letters) -> None:
    click = letters.see(LONG_AFTER)
    revise(letters.db, now=DONE)
    letters.see(LONG_AFTER + 1, kind=TrackingKind.TRAP)

    assert judged(letters, click) == BROWSER


def test_what_arrives_late_is_judged_beside_what_was_settled(letters: Letters) -> None:
    letters.see(LONG_AFTER, kind=TrackingKind.TRAP)
    revise(letters.db, now=DONE)
    late = letters.see(LONG_AFTER + 3)

    assert judged(letters, late) == (Label.MACHINE, TRAPPED.reason)


def test_an_old_click_is_judged_anew_when_something_new_shows_what_it_was(database: Database) -> None:
    reviser = Reviser(database)
    with database.write() as db:
        letters = make_letters(db, count=2)
        first = letters.see(LONG_AFTER)
        elsewhere = letters.see(LONG_AFTER, position=2)
    reviser.revise(later(LONG_AFTER + 1))
    with database.write() as db:
        Letters(db, letters.campaign_id).see(LONG_AFTER + 2, kind=TrackingKind.TRAP)
    reviser.revise(later(LONG_AFTER + 3))

    assert labelled(database, first) == (Label.MACHINE, TRAPPED.reason)
    assert labelled(database, elsewhere) == BROWSER


def test_a_form_stands_against_a_crowd_that_comes_later(database: Database) -> None:
    reviser = Reviser(database)
    with database.write() as db:
        letters = make_letters(db, count=CROWD + 1)
        click = letters.see(LONG_AFTER)
        letters.see(LONG_AFTER + 1, kind=TrackingKind.UNSUBSCRIBE, manner=Manner.POST)
    reviser.revise(later(LONG_AFTER + 2))
    with database.write() as db:
        crowd = Letters(db, letters.campaign_id)
        others = [crowd.see(LONG_AFTER + 3, position=nth + 2) for nth in range(CROWD)]
    reviser.revise(later(LONG_AFTER + 4))
    reviser.revise(later(LONG_AFTER + 6))

    assert labelled(database, click) == BROWSER
    assert labelled(database, others[0]) == (Label.UNSURE, CROWDED.reason)


def test_a_revision_that_was_not_kept_is_made_again(database: Database) -> None:
    reviser = Reviser(database)
    with database.write() as db:
        letters = make_letters(db)
        click = letters.see(LONG_AFTER)
        letters.see(LONG_AFTER + 1, kind=TrackingKind.TRAP)

    def fail(_connection: object) -> None:
        raise OperationalError("COMMIT", None, Exception("the line is cut"))

    sqlalchemy.event.listen(database.engine, "commit", fail)
    with pytest.raises((OperationalError, DatabaseUnavailable)):
        reviser.revise(later(LONG_AFTER + 2))
    sqlalchemy.event.remove(database.engine, "commit", fail)
    database.dispose()
    assert labelled(database, click) == BROWSER

    reviser.revise(later(LONG_AFTER + 3))

    assert labelled(database, click) == (Label.MACHINE, TRAPPED.reason)


def labelled(database: Database, event: TrackingEvent) -> tuple[Label, str]:
    """How an event stands in the database now."""
    with database.read() as db:
        found = db.get_one(TrackingEvent, event.id)
        return found.label, found.reason


@pytest.mark.parametrize("history", [0, 400])
def test_what_a_letter_has_behind_it_is_not_read_again(postgres_url: str, history: int) -> None:
    database = open_database(postgres_url)
    with database.write() as db:
        letters = make_letters(db, count=20)
        for position in range(1, 21):
            letters.see(-2 * LONG_AFTER, position=position)
        db.execute(
            text(
                "INSERT INTO tracking_events (kind, campaign_id, position, link_number, manner,"
                " agent_id, label, reason, settled, at) SELECT kind, campaign_id, position, nth, manner,"
                " agent_id, label, reason, true, at"
                " FROM tracking_events, generate_series(1, :history) AS nth"
            ),
            {"history": history},
        )
        db.execute(update(TrackingEvent).values(settled=True))
        for nth in range(4):
            for position in range(1, 21):
                letters.see(LONG_AFTER + nth, position=position, link=nth + 1)
    with database.write() as db:
        db.execute(text("ANALYZE tracking_events"))
        db.execute(text("SET LOCAL enable_seqscan = off"))
        before = entries_followed(db)
        assert revise(db, now=later(LONG_AFTER + 5)) == 80
        assert entries_followed(db) - before < 3_000
    database.dispose()


def test_a_crowd_that_the_planner_has_not_heard_of_is_counted_once(postgres_url: str) -> None:
    database = open_database(postgres_url)
    with database.write() as db:
        letters = make_letters(db, count=CROWD)
        letters.see(-2 * LONG_AFTER)
        db.execute(update(TrackingEvent).values(settled=True))
    with database.write() as db:
        db.execute(text("ANALYZE"))
        letters.db = db
        for position in range(1, CROWD + 1):
            letters.see(LONG_AFTER, position=position)
    plans: list[str] = []

    def ask_how(
        _connection: object, cursor: Cursor, statement: str, values: Any, *_rest: object
    ) -> None:
        if statement.startswith("UPDATE") and "HAVING" in statement:
            cursor.execute(f"EXPLAIN {statement}", values)
            plans.append("\n".join(line for (line,) in cursor))

    sqlalchemy.event.listen(database.engine, "before_cursor_execute", ask_how)
    with database.write() as db:
        revise(db, now=later(LONG_AFTER + 5))
        found = db.execute(
            select(TrackingEvent.label, TrackingEvent.reason).where(~TrackingEvent.settled)
        )
        assert {tuple(row) for row in found} == {(Label.UNSURE, CROWDED.reason)}

    assert plans
    assert not any("Nested Loop" in plan for plan in plans), plans
    database.dispose()


def entries_followed(db: Session) -> int:
    """Index entries of the event log that this session's statements have followed so far."""
    asked = "SELECT coalesce(sum(pg_stat_get_xact_tuples_fetched(indexrelid)), 0) FROM pg_index"
    return int(db.scalar(text(asked + " WHERE indrelid = 'tracking_events'::regclass")) or 0)


def test_one_call_looks_at_a_bounded_number(letters: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revising, "MOST_AT_ONCE", 10)
    for nth in range(25):
        letters.see(LONG_AFTER + nth * MINUTE, position=nth + 1)
    after = later(LONG_AFTER + 26 * MINUTE) + WINDOW

    assert [revise(letters.db, now=after) for _ in range(4)] == [10, 10, 5, 0]


def test_more_events_at_one_moment_than_are_looked_at_do_not_hold_it_up(
    letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revising, "MOST_AT_ONCE", 3)
    for nth in range(9):
        letters.see(LONG_AFTER, position=nth + 1)

    assert sum(revise(letters.db, now=DONE) for _ in range(5)) == 9


def test_judging_anew_gives_what_revising_gave(database: Database) -> None:
    with database.write() as db:
        letters = make_letters(db, count=CROWD + 1)
        for nth in range(4):
            letters.see(LONG_AFTER + nth, link=nth + 1)
        letters.see(LONG_AFTER, position=2, kind=TrackingKind.TRAP)
        letters.see(LONG_AFTER + 1, position=2)
        letters.see(1, position=3)
        letters.see(LONG_AFTER, position=4, agent=CURL)
        revise(db, now=DONE)
    with database.read() as db:
        before = labels_in(db)

    told = []
    done = relabel(database, None, now=DONE, progress=lambda *parts: told.append(parts))

    with database.read() as db:
        assert labels_in(db) == before
        assert not db.scalar(select(func.count()).where(~TrackingEvent.settled))
    assert done.before == done.after
    assert told[-1] == (8, 8)


def labels_in(db: Session) -> list[tuple[int, Label, str]]:
    wanted = select(TrackingEvent.id, TrackingEvent.label, TrackingEvent.reason)
    return [(row[0], row[1], row[2]) for row in db.execute(wanted.order_by(TrackingEvent.id))]


def test_a_rule_that_has_changed_is_applied_to_what_is_stored(database: Database) -> None:
    with database.write() as db:
        letters = make_letters(db)
        letters.see(LONG_AFTER, agent=CURL)
        letters.see(2)
        other = make_letters(db, name="andet brev")
        other.see(LONG_AFTER, agent=CURL)
        db.execute(
            update(TrackingEvent).values(label=Label.PERSON, reason="a rule of old", settled=True)
        )

    done = relabel(database, letters.campaign_id, now=DONE)

    assert done.before == {Label.PERSON: 2, Label.MACHINE: 0, Label.UNSURE: 0}
    assert done.after == {Label.PERSON: 0, Label.MACHINE: 1, Label.UNSURE: 1}
    with database.read() as db:
        assert [reason for _, _, reason in labels_in(db)] == ["program", HASTY.reason, "a rule of old"]


def test_judging_anew_settles_nothing_too_early(database: Database) -> None:
    with database.write() as db:
        letters = make_letters(db)
        for nth in range(4):
            letters.see(LONG_AFTER + nth, link=nth + 1)

    done = relabel(database, None, now=later(LONG_AFTER + 300))

    assert done.after[Label.MACHINE] == 4
    with database.read() as db:
        assert db.scalar(select(func.count()).where(~TrackingEvent.settled)) == 4


def test_what_was_noted_before_user_agents_were_kept_stays_as_it_is(database: Database) -> None:
    with database.write() as db:
        old = make_letters(db).see(LONG_AFTER, agent=CURL)
        old.agent_id, old.label, old.reason, old.settled = None, Label.PERSON, "a rule of old", True

    relabel(database, None, now=DONE)

    with database.read() as db:
        assert [row[1:] for row in labels_in(db)] == [(Label.PERSON, "a rule of old")]


def test_judging_anew_in_parts_comes_out_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as db:
        letters = make_letters(db, count=12)
        for position in range(1, 13):
            for nth in range(position % 6):
                letters.see(LONG_AFTER + position * 7 + nth, position=position, link=nth + 1)
    relabel(database, None, now=DONE)
    with database.read() as db:
        whole = labels_in(db)

    monkeypatch.setattr(revising, "MOST_AT_ONCE", 5)
    relabel(database, None, now=DONE)

    with database.read() as db:
        assert labels_in(db) == whole


def test_nothing_to_judge_is_no_trouble(database: Database) -> None:
    assert relabel(database, None, now=DONE).events == 0
    with database.write() as db:
        assert revise(db, now=DONE) == 0


def test_every_reason_fits_its_column_and_is_explained() -> None:
    longest = TrackingEvent.__table__.c.reason.type.length

    for rule in (TRAPPED, FORM, BURST, ALL_OF_FEW, CROWDED, HASTY):
        assert len(rule.reason) <= longest
        assert not explain(rule.reason).startswith("the program says")
