"""What too few did with an anonymous letter: not told, nor left to be worked out from what is told.

Where nobody is known there are no groups of people, only counts: of a link, a day, a label, and of the
whole letter. One to four nearly names who it was, and of a letter to fewer than five every count does,
nought among them. What is left when the parts that are told are subtracted from what they add up to is
never one count alone, and never fewer than five: until that holds of every sum, and nothing hidden
follows from all sums together, further counts are hidden, the smallest first.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from mailer.campaigns.models import DOWNLOAD, REGISTRATION
from mailer.foundation.settings import TrackingMode
from mailer.reports.hiding import FEWEST
from mailer.reports.report import CampaignReport, Dimension, EngagementFigures, OverTime
from mailer.reports.solving import System

_DEEDS = tuple(field.name for field in fields(EngagementFigures) if field.name != "registrations")
"""What tracking counts; who is registered is known without it."""
_LABELS = ("people", "machines", "unsure")
_MEASURES = ("total", *_LABELS)

_OF_PEOPLE = frozenset({"recipients", "recipients_people", "registration_recipients"})
_DONE_BY_PEOPLE = ("opened", "clicked", "downloaded", "registration_clicked")
_Key = tuple[str | int, ...]
_REST = "rest"
"""Begins the key of what no count tells; it has to be hidden as if one did."""
_Sum = tuple[_Key, list[_Key]]
"""A count, and the counts that add up to it."""


def hide_few(report: CampaignReport) -> CampaignReport:
    """The report as it may be shown: of an anonymous letter, counts that tell of a few are None.

    By how many people something was done is None in all of it: none of them is to be known.
    """
    if report.about.tracking != TrackingMode.ANONYMOUS:
        return report
    if 0 < report.delivery["audience"] < FEWEST:
        return replace(_without(report, None), over_time=OverTime("day", []))
    counts = _Counts(report)
    return _without(report, counts.hide())


def hides_few(report: CampaignReport) -> bool:
    """Whether any count of what was done is hidden."""
    return any(
        getattr(figures, name) is None
        for figures, names in (
            *[(getattr(report.engagement, deed), _MEASURES) for deed in _DEEDS],
            *[(each, ("clicks", *_LABELS)) for each in (*report.links, *report.events)],
            *[(moment, ("opens", "clicks")) for moment in report.over_time.moments],
        )
        for name in names
    )


class _Counts:
    """The counts of a report, and which of them add up to which."""

    def __init__(self, report: CampaignReport) -> None:
        self.values: dict[_Key, int] = {}
        self.sums: list[_Sum] = []
        for deed in _DEEDS:
            done = getattr(report.engagement, deed)
            self._take((deed,), {measure: getattr(done, measure) for measure in _MEASURES})
        for link in report.links:
            labels = {label: getattr(link, label) for label in _LABELS}
            self._take(("link", link.number), {"total": link.clicks, **labels})
        for event in report.events:
            labels = {label: getattr(event, label) for label in _LABELS}
            self._take(("event", event.slug), {"total": event.clicks, **labels})
            self.values["signing", event.slug] = event.registration_clicks or 0
        for nth, moment in enumerate(report.over_time.moments):
            for name in ("opens", "clicks", "registration_clicks"):
                self.values["moment", nth, name] = getattr(moment, name) or 0
        self._add_up(report)

    def hide(self) -> set[_Key]:
        """The counts that must not be told."""
        few = {key for key, value in self.values.items() if 0 < value < FEWEST}
        hidden = set(few)
        while hidden:
            more = {key for key in (self._one_more(sum_, hidden) for sum_ in self.sums) if key}
            more = more or self._what_tells(few, hidden)
            if not more:
                break
            hidden |= more
        return hidden

    def _what_tells(self, few: Collection[_Key], hidden: Collection[_Key]) -> set[_Key]:
        """The smallest count of those that, put together, tell one of the few; nothing if none do."""
        numbers: dict[_Key, int] = {}
        parts: dict[_Key, list[frozenset[int]]] = {}
        for key in self.values:
            for atoms in self._expand(key):
                found = frozenset(numbers.setdefault(atom, len(numbers)) for atom in atoms)
                parts.setdefault(key, []).append(found)
        told = [(key, atoms) for key, ways in parts.items() if key not in hidden for atoms in ways]
        told = [(key, atoms) for key, atoms in told if key[0] != _REST]
        most = [max(self.values.values())] * len(numbers)
        system = System(most, [(atoms, self.values[key]) for key, atoms in told])
        for key in few:
            if system.tells(parts[key][0]):
                related = [each for each, atoms in told if self.values[each] and atoms & parts[key][0]]
                return {min(related, key=lambda each: self.values[each])}
        return set()

    def _expand(self, key: _Key) -> list[list[_Key]]:
        """The smallest counts that add up to this one, in each of the ways there are."""
        ways = [parts for whole, parts in self.sums if whole == key]
        return [[atom for part in way for atom in self._expand(part)[0]] for way in ways] or [[key]]

    def _one_more(self, sum_: _Sum, hidden: set[_Key]) -> _Key | None:
        """What must be hidden so that this sum does not tell what is hidden in it; None if nothing."""
        whole, parts = sum_
        told = [part for part in parts if part not in hidden and self.values[part]]
        untold = [self.values[part] for part in parts if part in hidden]
        if whole in hidden:
            is_safe = bool(untold) or not told
        else:
            is_safe = not untold or (len(untold) > 1 and sum(untold) >= FEWEST)
        if is_safe:
            return None
        return min(told, key=lambda part: self.values[part]) if told else whole

    def _take(self, key: _Key, counted: dict[str, int | None]) -> None:
        for measure, value in counted.items():
            self.values[*key, measure] = value or 0
        self._sum((*key, "total"), [(*key, label) for label in _LABELS])

    def _add_up(self, report: CampaignReport) -> None:
        links = report.links
        of_deed = {
            "clicks": [link.number for link in links],
            "downloads": [link.number for link in links if link.kind == DOWNLOAD],
            "registration_clicks": [link.number for link in links if link.kind == REGISTRATION],
        }
        for measure in _MEASURES:
            for deed, numbers in of_deed.items():
                self._sum((deed, measure), [("link", number, measure) for number in numbers])
            for event in report.events:
                own = [("link", link.number, measure) for link in links if link.event == event.slug]
                self._sum(("event", event.slug, measure), own)
        for event in report.events:
            signing = [
                ("link", link.number, "total")
                for link in links
                if link.event == event.slug and link.kind == REGISTRATION
            ]
            self._sum(("signing", event.slug), signing)
            self._sum(("event", event.slug, "total"), [("signing", event.slug)])
        moments = range(len(report.over_time.moments))
        for name in ("opens", "clicks", "registration_clicks"):
            self._sum((name, "total"), [("moment", nth, name) for nth in moments])
        for nth in moments:
            self._sum(("moment", nth, "clicks"), [("moment", nth, "registration_clicks")])

    def _sum(self, whole: _Key, parts: Iterable[_Key]) -> None:
        """Note what adds up to a count; what no part of it tells is a part, too."""
        known = list(parts)
        rest = self.values[whole] - sum(self.values[part] for part in known)
        if rest > 0:
            self.values[_REST, len(self.sums)] = rest
            known.append((_REST, len(self.sums)))
        self.sums.append((whole, known))


def _without(report: CampaignReport, hidden: set[_Key] | None) -> CampaignReport:
    """The report without these counts; None: without all of them."""

    def untold(key: _Key) -> bool:
        return hidden is None or key in hidden

    def shown(figures: Any, named: Mapping[str, _Key]) -> Any:
        people = [field.name for field in fields(figures) if field.name in _OF_PEOPLE]
        few = [name for name, key in named.items() if untold(key)]
        return replace(figures, **dict.fromkeys((*people, *few)))

    done = report.engagement
    deeds = {
        deed: shown(getattr(done, deed), {measure: (deed, measure) for measure in _MEASURES})
        for deed in _DEEDS
    }
    links = [
        shown(
            link,
            {"clicks": ("link", link.number, "total")}
            | {label: ("link", link.number, label) for label in _LABELS},
        )
        for link in report.links
    ]
    events = [
        shown(
            event,
            {
                "clicks": ("event", event.slug, "total"),
                "registration_clicks": ("signing", event.slug),
            }
            | {label: ("event", event.slug, label) for label in _LABELS},
        )
        for event in report.events
    ]
    moments = [
        shown(
            moment,
            {name: ("moment", nth, name) for name in ("opens", "clicks", "registration_clicks")},
        )
        for nth, moment in enumerate(report.over_time.moments)
    ]
    clicks = {
        Dimension.LINK: {link.key: link.clicks for link in links},
        Dimension.EVENT: {event.slug: event.clicks for event in events},
    }
    nobody: dict[str, Any] = dict.fromkeys(_DONE_BY_PEOPLE)
    by = {
        dimension: [
            replace(group, **nobody, clicks=clicks.get(dimension, {}).get(group.value or ""))
            for group in groups
        ]
        for dimension, groups in report.by.items()
    }
    return replace(
        report,
        engagement=replace(done, **deeds),
        links=links,
        events=events,
        over_time=replace(report.over_time, moments=moments),
        by=by,
    )
