"""What one letter's events look like beside each other: scanners show by what else they do.

A machine by what it says of itself stays one, and what was sent by a form stays a person's. For all
others the first rule that fits decides:

1. the hidden link was followed within a minute by the same program from the same network: machine;
2. a form was sent within the next ten minutes by the same program from the same network: person;
3. the hidden link was followed within a minute from the same network, or within ten seconds from
   anywhere (scanners fetch from many networks at once): machine;
4. it was done while four different links were followed within five seconds, or ten within a minute:
   machine;
5. it was done while all links of a letter with two or three were followed within five seconds: unsure,
   for a reader may do that, too.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from mailer.tracking.labels import Judgement
from mailer.tracking.models import BY_HAND, Label, Manner, TrackingKind

TRAP_SECONDS = 60.0
TRAP_ANYWHERE_SECONDS = 10.0
FORM_SECONDS = 600.0
BURSTS = ((4, 5.0), (10, 60.0))
"""Different links of one letter, and the seconds within which nobody follows so many."""
FEWEST_LINKS = min(links for links, _ in BURSTS)
FEW_LINKS = range(2, FEWEST_LINKS)
"""How many links a letter has that is too short for a burst."""
FEW_SECONDS = 5.0
"""Within which a reader seldom follows all of these."""

TRAPPED = Judgement(Label.MACHINE, "beside the hidden link")
FORM = Judgement(Label.PERSON, "a form was sent soon after")
BURST = Judgement(Label.MACHINE, "many links at once")
ALL_OF_FEW = Judgement(Label.UNSURE, "all links at once")


class Seen(NamedTuple):
    """One event of a letter; texts are those of the enumerations."""

    id: int
    seconds: float
    """Its moment; only differences mean anything."""
    kind: str
    link_number: int | None
    manner: str
    network: str | None
    agent_id: int | None
    label: str
    reason: str


_Key = TypeVar("_Key")
_REVISED = frozenset(rule.reason for rule in (TRAPPED, FORM, BURST))


def judge_beside(
    events: Sequence[Seen], *, few_links: int | None = None
) -> Iterator[tuple[Seen, Judgement]]:
    """The events on which a rule has decided, each with what it is now taken for.

    Args:
        events: of one letter, by moment.
        few_links: how many links the letter has, if that is in ``FEW_LINKS``.
    """
    traps = [event for event in events if event.kind == TrackingKind.TRAP]
    forms = [event for event in events if event.manner == Manner.POST]
    trapped = _moments(traps, lambda _: None)
    trapped_there = _moments(traps, lambda event: event.network)
    trapped_by = _moments(traps, _who)
    formed_by = _moments(forms, _who)
    clicks = [event for event in events if event.kind == TrackingKind.CLICK]
    burst = _spans(clicks, BURSTS)
    all_of_few = _spans(clicks, ((few_links, FEW_SECONDS),) if few_links else ())
    for event in events:
        if not _is_open(event):
            continue
        at, who = event.seconds, _who(event)
        if _any(trapped_by.get(who), at - TRAP_SECONDS, at + TRAP_SECONDS):
            yield event, TRAPPED
        elif _any(formed_by.get(who), at, at + FORM_SECONDS):
            person = event.label == Label.PERSON
            yield event, Judgement(Label.PERSON, event.reason) if person else FORM
        elif _any(trapped_there.get(event.network), at - TRAP_SECONDS, at + TRAP_SECONDS) or _any(
            trapped.get(None), at - TRAP_ANYWHERE_SECONDS, at + TRAP_ANYWHERE_SECONDS
        ):
            yield event, TRAPPED
        elif _covers(*burst, at):
            yield event, BURST
        elif _covers(*all_of_few, at):
            yield event, ALL_OF_FEW


def _is_open(event: Seen) -> bool:
    """Whether what the event says of itself leaves open what it was."""
    if event.manner in BY_HAND or event.kind == TrackingKind.TRAP:
        return False
    return event.label != Label.MACHINE or event.reason in _REVISED


def _who(event: Seen) -> tuple[str | None, int | None]:
    return event.network, event.agent_id


def _moments(events: Sequence[Seen], key: Callable[[Seen], _Key]) -> dict[_Key, list[float]]:
    moments: dict[_Key, list[float]] = {}
    for event in events:
        moments.setdefault(key(event), []).append(event.seconds)
    return moments


def _any(moments: Sequence[float] | None, first: float, last: float) -> bool:
    """Whether any of these moments, which are in order, lies between those two."""
    if not moments:
        return False
    place = bisect_left(moments, first)
    return place < len(moments) and moments[place] <= last


def _spans(
    clicks: Sequence[Seen], bursts: Sequence[tuple[int, float]]
) -> tuple[list[float], list[float]]:
    """When bursts of clicks began and when they ended; they may overlap, each list is in order.

    Args:
        bursts: how many different links in how many seconds are one.
    """
    spans = []
    for fewest, seconds in bursts:
        links: Counter[int | None] = Counter()
        first = 0
        for click in clicks:
            links[click.link_number] += 1
            while click.seconds - clicks[first].seconds > seconds:
                gone = clicks[first].link_number
                links[gone] -= 1
                if not links[gone]:
                    del links[gone]
                first += 1
            if len(links) >= fewest:
                spans.append((clicks[first].seconds, click.seconds))
    return sorted(began for began, _ in spans), sorted(ended for _, ended in spans)


def _covers(began: Sequence[float], ended: Sequence[float], at: float) -> bool:
    """Whether a moment lies in any of the spans: more have begun by then than had ended before."""
    return bisect_right(began, at) > bisect_left(ended, at)
