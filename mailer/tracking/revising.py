"""People or machines once more: what a sighting looks like beside the others around it.

A label is given when something is seen, and revised while later events can still change it: a scanner's
first click looks like anybody's.

First come the rules of ``surroundings``, which look at one letter. Where none of them decides, of what
looks like people's

6. is unsure what was one of many letters from one network by one program in the same minute: so does a
   scanner look, but also a town hall at nine o'clock;
7. is unsure a click at most five seconds after the relay had accepted the letter. Speed alone makes no
   machine. The moment of acceptance is known by batch: it is written when the batch's outcomes are.

All moments are on the clock people see, deliveries' as well as events'.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    CTE,
    CursorResult,
    Float,
    String,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import GenericFunction

from mailer.campaigns.models import Delivery, DeliveryState, Link
from mailer.foundation.database import Database
from mailer.tracking import labels
from mailer.tracking.labels import Judgement, judge_sighting
from mailer.tracking.models import BY_HAND, Label, Manner, TrackingEvent, TrackingKind, UserAgent
from mailer.tracking.surroundings import (
    ALL_OF_FEW,
    BURST,
    BURSTS,
    FEW_LINKS,
    FEWEST_LINKS,
    FORM,
    FORM_SECONDS,
    TRAP_SECONDS,
    TRAPPED,
    Seen,
    judge_beside,
)

WINDOW = timedelta(minutes=10)
"""After an event: what comes later changes its label no more."""
FRESH = timedelta(minutes=1)
"""Events no older than this are looked at in every revision, so that reports are soon right."""
MOST_AT_ONCE = 20_000
"""Events looked at in one transaction: well below a second of work."""

CROWD = 30
"""Letters from one network, by one program, in one minute."""
HASTE_SECONDS = 5.0
BATCH_SECONDS = 30.0
"""How much later than the first of its letters a batch's outcomes may be written."""

CROWDED = Judgement(Label.UNSURE, "many letters from one network")
HASTY = Judgement(Label.UNSURE, "seconds after delivery")

_EXPLANATIONS = {
    TRAPPED.reason: "from there, the link that no reader can see was followed at about the same time",
    FORM.reason: "from there, a form was sent soon after, which scanners do not do",
    BURST.reason: "so many links of the letter were followed at once as no reader follows",
    ALL_OF_FEW.reason: "all links of the letter, two or three, were followed within five seconds",
    CROWDED.reason: "in that minute many letters were read from that network by the same program",
    HASTY.reason: "the relay had taken the letter only seconds before",
}
_ONE_AT_A_TIME = 0x6C6162656C  # "label": the number of PostgreSQL's lock
_UNSETTLED: ColumnElement[bool] = literal_column("NOT tracking_events.settled")  # as the index has it
_KEYS_AT_ONCE = 1_000
_ROWS_AT_ONCE = 2_000
"""Held in memory: a letter that programs open over and over may have any number of events."""
_ANY_MORE = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Relabelled:
    """What judging everything anew has changed."""

    events: int
    before: Mapping[Label, int]
    after: Mapping[Label, int]


class _seconds_of(GenericFunction[float]):  # noqa: N801 - the name of a function
    """A moment as seconds, to some 40 microseconds; only differences mean anything."""

    type = Float()
    inherit_cache = True


@compiles(_seconds_of, "sqlite")
def _count_days(element: _seconds_of, compiler: SQLCompiler, **options: Any) -> str:
    return f"(julianday({compiler.process(element.clauses, **options)}) * 86400.0)"


@compiles(_seconds_of, "postgresql")
def _extract_epoch(element: _seconds_of, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(extract(epoch FROM {compiler.process(element.clauses, **options)}) AS float8)"


class _minute_of(GenericFunction[str]):  # noqa: N801 - the name of a function
    """The minute a moment lies in, in whatever form."""

    type = String()
    inherit_cache = True


@compiles(_minute_of, "sqlite")
def _cut_minute(element: _minute_of, compiler: SQLCompiler, **options: Any) -> str:
    return f"substr({compiler.process(element.clauses, **options)}, 1, 16)"


@compiles(_minute_of, "postgresql")
def _truncate_minute(element: _minute_of, compiler: SQLCompiler, **options: Any) -> str:
    return f"date_trunc('minute', {compiler.process(element.clauses, **options)})"


def explain(reason: str) -> str:
    """Any rule's reason, of one sighting or of several, in words that somebody can be told."""
    return _EXPLANATIONS.get(reason) or labels.explain(reason)


class Reviser:
    """Revises again and again, and passes over letters in which nothing is new since the last time."""

    def __init__(self, database: Database) -> None:
        """The first time, all that is fresh is looked at."""
        self._database = database
        self._newest = 0

    def revise(self, now: datetime) -> int:
        """As the function does, in a transaction of its own.

        What another machine puts into a letter at this very moment may be passed over; it is looked at
        when it is settled.

        Raises:
            DatabaseUnavailable: the database cannot be reached; nothing was changed.
        """
        with self._database.write() as db:
            if not _be_the_only_one(db, wait=False):
                return 0
            newest = db.scalar(select(func.max(TrackingEvent.id))) or 0
            written = _revise(db, now, news_after=self._newest)
        self._newest = newest
        return written


def revise(db: Session, *, now: datetime) -> int:
    """Judge again what has just happened, and for good what happened a while ago.

    Looks at no more than ``MOST_AT_ONCE`` events of either kind; what is left waits for the next call.
    Harmless when done by two at once, or never: the next call catches up.

    Args:
        now: the clock people see.

    Returns:
        How many events were given another label or settled.
    """
    return _revise(db, now, news_after=0) if _be_the_only_one(db, wait=False) else 0


def _revise(db: Session, now: datetime, *, news_after: int) -> int:
    fresh = now - FRESH
    newest = select(TrackingEvent.at).where(_UNSETTLED, TrackingEvent.at > fresh)
    first = db.scalar(newest.order_by(TrackingEvent.at.desc()).offset(MOST_AT_ONCE - 1).limit(1))
    written = _judge(db, _Fresh(first or fresh, None, news_after), settle=False)
    part = _next_part(db, None, until=now - WINDOW)
    return written + (_judge(db, part, settle=True) if part else 0)


def relabel(
    database: Database,
    campaign_id: int | None,
    *,
    now: datetime,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Relabelled:
    """Judge every event anew by today's rules and what is stored; in parts, each its own transaction.

    Until it is through, reports show some labels as they look without the events around. What was noted
    before user agents were kept stays as it is, and so does what was only counted.

    Args:
        campaign_id: whose events; None is everybody's.
        now: the clock people see.
        progress: is told how many events of how many are done.
    """
    with database.read() as db:
        before = _count_labels(db, campaign_id)
        ids = select(func.min(TrackingEvent.id), func.max(TrackingEvent.id))
        first, last = db.execute(ids.where(_whose(campaign_id))).one()
    total = sum(before.values())
    steps = range(first, last + 1, MOST_AT_ONCE) if total else range(0)
    for done, step in enumerate(steps):
        with database.write() as db:
            _be_the_only_one(db, wait=True)
            _judge_alone(db, campaign_id, step, step + MOST_AT_ONCE)
        progress(total * done // (2 * len(steps)), total)
    _revise_all(
        database, now=now, progress=lambda done: progress((total + min(done, total)) // 2, total)
    )
    progress(total, total)
    with database.read() as db:
        return Relabelled(total, before, _count_labels(db, campaign_id))


def _revise_all(database: Database, *, now: datetime, progress: Callable[[int], None]) -> None:
    """Judge everything unsettled beside the events around it, one part after the other."""
    ended, done = now - WINDOW, 0
    since: datetime | None = None
    while True:
        with database.write() as db:
            _be_the_only_one(db, wait=True)
            until = ended if since is None else None
            part = _next_part(db, since, until=until)
            if part is not None:
                done += _judge(db, part, settle=since is None)
        progress(done)
        if since is not None:
            if part is None or part.until is None:
                return
            since = part.until
        elif part is None:
            since = ended


def _judge_alone(db: Session, campaign_id: int | None, first: int, last: int) -> None:
    """Give events the label they have by themselves, and take back that it is settled.

    Args:
        first, last: from this id to just before that one.
    """
    part = and_(_whose(campaign_id), TrackingEvent.id >= first, TrackingEvent.id < last)
    by = (TrackingEvent.kind, TrackingEvent.manner, TrackingEvent.agent_id)
    kinds = (
        select(*by, UserAgent.text, TrackingEvent.label, TrackingEvent.reason)
        .join(UserAgent, UserAgent.id == TrackingEvent.agent_id)
        .where(part)
        .distinct()
    )
    wrong: dict[Judgement, list[tuple[TrackingKind, Manner, int | None]]] = {}
    for kind, manner, agent_id, said, label, reason in db.execute(kinds):
        judgement = judge_sighting(kind, manner, said)
        if judgement != Judgement(label, reason):
            wrong.setdefault(judgement, []).append((kind, manner, agent_id))
    unsynchronized = {"synchronize_session": False}
    for judgement, keys in wrong.items():
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            corrected = update(TrackingEvent).where(part, tuple_(*by).in_(some))
            db.execute(
                corrected.values(label=judgement.label, reason=judgement.reason),
                execution_options=unsynchronized,
            )
    again = update(TrackingEvent).where(
        part, TrackingEvent.settled.is_(True), TrackingEvent.agent_id.is_not(None)
    )
    db.execute(again.values(settled=False), execution_options=unsynchronized)


def _whose(campaign_id: int | None) -> ColumnElement[bool]:
    """True for one campaign's events, or for all."""
    return true() if campaign_id is None else TrackingEvent.campaign_id == campaign_id


def _count_labels(db: Session, campaign_id: int | None) -> dict[Label, int]:
    counted = select(TrackingEvent.label, func.count()).group_by(TrackingEvent.label)
    counts = dict.fromkeys(Label, 0)
    for label, count in db.execute(counted.where(_whose(campaign_id))):
        counts[label] = count
    return counts


@dataclass(frozen=True, slots=True)
class _Part:
    """The unsettled events from one moment to just before another."""

    since: datetime
    until: datetime | None
    """None: all that come after."""

    @property
    def condition(self) -> ColumnElement[bool]:
        """Selects them, by the index of what is unsettled."""
        condition = and_(_UNSETTLED, TrackingEvent.at >= self.since)
        return condition if self.until is None else and_(condition, TrackingEvent.at < self.until)


@dataclass(frozen=True, slots=True)
class _Fresh(_Part):
    """The unsettled events of the last minute; nothing near them is settled either."""

    news_after: int
    """Only letters with events beyond this id are judged."""


def _next_part(db: Session, since: datetime | None, *, until: datetime | None) -> _Part | None:
    """The oldest unsettled events, in whole minutes where that many can be looked at together."""
    waiting = select(TrackingEvent.at).where(_UNSETTLED).order_by(TrackingEvent.at)
    if since is not None:
        waiting = waiting.where(TrackingEvent.at >= since)
    if until is not None:
        waiting = waiting.where(TrackingEvent.at < until)
    first = db.scalar(waiting.limit(1))
    if first is None:
        return None
    beyond = db.scalar(waiting.offset(MOST_AT_ONCE).limit(1))
    if beyond is None:
        return _Part(first, until)
    minute = beyond.replace(second=0, microsecond=0)
    return _Part(first, minute if minute > first else max(beyond, first + _ANY_MORE))


def _be_the_only_one(db: Session, *, wait: bool) -> bool:
    """Whether nobody else revises; until the transaction ends. On SQLite its write lock sees to it."""
    if db.get_bind().dialect.name == "sqlite":
        return True
    if wait:
        db.execute(select(func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
        return True
    return bool(db.scalar(select(func.pg_try_advisory_xact_lock(_ONE_AT_A_TIME))))


def _judge(db: Session, part: _Part, *, settle: bool) -> int:
    """Judge these events beside the others; return how many got another label or were settled."""
    verdicts = _judge_letters(db, part)
    with _in_one_go(db):
        written = _doubt(db, and_(part.condition, _in_a_crowd(part)), CROWDED)
    written += _doubt(db, and_(part.condition, _is_hasty()), HASTY)
    if settle:
        written = 0
    for judgement, ids in verdicts.items():
        values: dict[str, Any] = {"label": judgement.label, "reason": judgement.reason}
        if settle:
            values["settled"] = True
        for start in range(0, len(ids), _KEYS_AT_ONCE):
            some = TrackingEvent.id.in_(ids[start : start + _KEYS_AT_ONCE])
            written += _update(db, and_(some, _UNSETTLED), values)
    if settle:
        written += _update(db, part.condition, {"settled": True})
    return written


def _judge_letters(db: Session, part: _Part) -> dict[Judgement, list[int]]:
    """The events of the part by what they are, where the other events of their letter tell.

    Only letters in which a rule can decide at all are read.
    """
    near = _near(part)
    letter = (TrackingEvent.campaign_id, TrackingEvent.position)
    looked_at = select(*letter).where(part.condition, _has_news(part)).order_by(TrackingEvent.at)
    links = case((TrackingEvent.kind == TrackingKind.CLICK, TrackingEvent.link_number))
    telling = or_(TrackingEvent.kind == TrackingKind.TRAP, TrackingEvent.manner == Manner.POST)
    few = _few_links(db, part)
    fewest = case(
        *(
            (TrackingEvent.campaign_id.in_([each for each, has in few.items() if has == count]), count)
            for count in FEW_LINKS
        ),
        else_=FEWEST_LINKS,
    )
    letters = (
        select(*letter)
        .where(tuple_(*letter).in_(looked_at), near)
        .group_by(*letter)
        .having(or_(func.count(links.distinct()) >= fewest, func.max(case((telling, 1), else_=0)) == 1))
        .cte("letters")
    )
    at = _seconds_of(TrackingEvent.at)
    query = (
        select(
            case((part.condition, 1), else_=0),
            *letter,
            TrackingEvent.id,
            at,
            type_coerce(TrackingEvent.kind, String),
            TrackingEvent.link_number,
            type_coerce(TrackingEvent.manner, String),
            TrackingEvent.network,
            TrackingEvent.agent_id,
            type_coerce(TrackingEvent.label, String),
            TrackingEvent.reason,
        )
        .join(letters, _same_letter(letters))
        .where(near)
        .order_by(letters.c.campaign_id, letters.c.position, at, TrackingEvent.id)
    )
    verdicts: dict[Judgement, list[int]] = {}
    with _in_one_go(db) if isinstance(part, _Fresh) else nullcontext():
        events = db.execute(query, execution_options={"yield_per": _ROWS_AT_ONCE})
        for (campaign_id, _), rows in groupby(events, key=itemgetter(1, 2)):
            belongs, seen = {}, []
            for row in rows:
                seen.append(Seen(*row[3:]))
                belongs[row[3]] = row[0]
            for event, judgement in judge_beside(seen, few_links=few.get(campaign_id)):
                # A person is written again in any case: the crowd may have cast doubt on them since.
                stays = judgement == Judgement(Label(event.label), event.reason)
                if belongs[event.id] and (judgement.label is Label.PERSON or not stays):
                    verdicts.setdefault(judgement, []).append(event.id)
    return verdicts


def _few_links(db: Session, part: _Part) -> dict[int, int]:
    """By campaign of the part, how many links its letters have, where that is few."""
    campaigns = db.scalars(select(TrackingEvent.campaign_id).where(part.condition).distinct()).all()
    few: dict[int, int] = {}
    for start in range(0, len(campaigns), _KEYS_AT_ONCE):
        counted = (
            select(Link.campaign_id, func.count())
            .where(Link.campaign_id.in_(campaigns[start : start + _KEYS_AT_ONCE]))
            .group_by(Link.campaign_id)
            .having(func.count().in_(FEW_LINKS))
        )
        few |= {row[0]: row[1] for row in db.execute(counted)}
    return few


@contextmanager
def _in_one_go(db: Session) -> Iterator[None]:
    """Let PostgreSQL build tables of what it joins instead of asking again for every row.

    It knows nothing of the events that have just come, expects one, and would go through all of them
    for each of them.
    """
    on_postgres = db.get_bind().dialect.name == "postgresql"
    if on_postgres:
        db.execute(text("SET LOCAL enable_nestloop = off"))
    yield
    if on_postgres:
        db.execute(text("SET LOCAL enable_nestloop = on"))


def _near(part: _Part) -> ColumnElement[bool]:
    """True for events that can tell something of those of the part, and for these."""
    margin = timedelta(seconds=max(TRAP_SECONDS, *[seconds for _, seconds in BURSTS]))
    near = TrackingEvent.at >= part.since - margin
    if isinstance(part, _Fresh):
        return and_(_UNSETTLED, near)  # by the index of what is unsettled, however much came before
    if part.until is None:
        return near
    return and_(
        near,
        TrackingEvent.at <= part.until + timedelta(seconds=FORM_SECONDS),
        or_(TrackingEvent.at <= part.until + margin, TrackingEvent.manner == Manner.POST),
    )


def _has_news(part: _Part) -> ColumnElement[bool]:
    """True where a letter must be judged again: something is new, or a form stands against a crowd."""
    if not isinstance(part, _Fresh):
        return true()
    return or_(TrackingEvent.id > part.news_after, TrackingEvent.manner == Manner.POST)


def _same_letter(letters: CTE) -> ColumnElement[bool]:
    return and_(
        letters.c.campaign_id == TrackingEvent.campaign_id,
        letters.c.position == TrackingEvent.position,
    )


def _in_a_crowd(part: _Part) -> ColumnElement[bool]:
    """True for events of the part that share minute, network and program with those of many letters."""
    by = (TrackingEvent.network, TrackingEvent.agent_id, _minute_of(TrackingEvent.at).label("minute"))
    letters = (
        select(*by, TrackingEvent.campaign_id, TrackingEvent.position)
        .where(part.condition, TrackingEvent.network.is_not(None), TrackingEvent.agent_id.is_not(None))
        .distinct()
        .subquery()
    )
    crowd = (letters.c.network, letters.c.agent_id, letters.c.minute)
    crowds = select(*crowd).group_by(*crowd).having(func.count() >= CROWD)
    return tuple_(TrackingEvent.network, TrackingEvent.agent_id, _minute_of(TrackingEvent.at)).in_(
        crowds
    )


def _is_hasty() -> ColumnElement[bool]:
    """True for clicks so shortly after the relay took the letter; a bounce's moment tells nothing."""
    clicked, taken = _seconds_of(TrackingEvent.at), _seconds_of(Delivery.at)
    return and_(
        TrackingEvent.kind == TrackingKind.CLICK,
        select(1)
        .where(
            Delivery.campaign_id == TrackingEvent.campaign_id,
            Delivery.position == TrackingEvent.position,
            Delivery.state == DeliveryState.SENT,
            clicked.between(taken - BATCH_SECONDS, taken + HASTE_SECONDS),
        )
        .correlate(TrackingEvent)
        .exists(),
    )


def _doubt(db: Session, condition: ColumnElement[bool], judgement: Judgement) -> int:
    """Doubt the people among these events who sent neither a form nor a mail."""
    doubted = and_(condition, TrackingEvent.label == Label.PERSON, TrackingEvent.manner.not_in(BY_HAND))
    return _update(db, doubted, {"label": judgement.label, "reason": judgement.reason})


def _update(db: Session, condition: ColumnElement[bool], values: Mapping[str, Any]) -> int:
    written = db.execute(
        update(TrackingEvent).where(condition).values(**values),
        execution_options={"synchronize_session": False},
    )
    assert isinstance(written, CursorResult)
    return written.rowcount
