"""What too few did with an anonymous letter: not told, nor left to be worked out from what is told.

Where nobody is known there are no groups of people, only counts: of a link, a day, a label, and of the
whole letter. One to four nearly names who it was, and of a letter to fewer than five every count does,
nought among them.

Whatever is told is a sum of heaps. A heap is of nobody, or of five or more, and of what is in it nothing
else is told. Counts of a few are thrown together with the noughts beside them, so that each of them may
be nought as well, and with the last of the others, so that it may not be a few. The last, and not the
smallest: which one it is must not depend on how large it is, or it would tell of the few.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from mailer.campaigns.models import DOWNLOAD, REGISTRATION
from mailer.foundation.settings import TrackingMode
from mailer.reports.hiding import FEWEST
from mailer.reports.report import CampaignReport, Dimension, Engagement, EngagementFigures, OverTime

LABELS = ("people", "machines", "unsure")
_DEEDS = tuple(field.name for field in fields(EngagementFigures) if field.name != "registrations")
"""What tracking counts; who is registered is known without it."""
_HEAP = 2 * FEWEST
"""So many are in a heap of several counts: in one of fewer, only one of them may be the few."""
_KINDS = {"downloads": DOWNLOAD, "registration_clicks": REGISTRATION}
_MEASURES = ("total", *LABELS)
_PER_MOMENT = ("opens", "clicks", "registration_clicks")
_OF_PEOPLE = frozenset({"recipients", "recipients_people", "registration_recipients"})
_DONE_BY_PEOPLE = ("opened", "clicked", "downloaded", "registration_clicked")

Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClickedLink:
    """How often a link was clicked."""

    kind: str | None
    counts: Counts
    """By ``LABELS``."""
    event: str | None = None


@dataclass(frozen=True, slots=True)
class ToldClicks:
    """Which clicks on an anonymous letter may be told."""

    is_told: bool = False
    """All of them together."""
    kinds: frozenset[str] = frozenset()
    """Of downloads and registrations: those whose clicks may be told together."""
    links: frozenset[int] = frozenset()
    labels: tuple[str, ...] = ()
    labels_of_kinds: tuple[str, ...] = ()
    labels_of_links: tuple[str, ...] = ()

    def tells(self, links: Iterable[int]) -> bool:
        """Whether the sum of these links may be told: it is where each of them is."""
        return self.is_told and self.links.issuperset(links)


def is_few(count: int | None) -> bool:
    """Whether it nearly names who it was."""
    return count is not None and 0 < count < FEWEST


def tell_clicks(links: Mapping[int, ClickedLink]) -> ToldClicks:
    """Which clicks on an anonymous letter to five or more may be told.

    Args:
        links: by number, those that nobody clicked among them: of a link that is missing here nothing
            may be told, its nought neither.
    """
    if is_few(sum(_added(link.counts for link in links.values()))):
        return ToldClicks()
    heaps: dict[str | None, dict[int, Counts]] = {REGISTRATION: {}, DOWNLOAD: {}, None: {}}
    for number, link in sorted(links.items()):
        heaps[link.kind if link.kind in heaps else None][number] = link.counts
    for kind in (DOWNLOAD, REGISTRATION):
        if is_few(_total(heaps[kind])):
            heaps[None] |= heaps.pop(kind)
    for kind in (DOWNLOAD, REGISTRATION):
        if is_few(_total(heaps[None])) and _total(heaps.get(kind, {})):
            heaps[None] |= heaps.pop(kind)
    told: dict[int, Counts] = {}
    untold: list[Counts] = []
    for heap in heaps.values():
        in_order = sorted(heap)
        together = {in_order[row] for row in untold_rows([(sum(heap[n]),) for n in in_order])}
        told |= {number: counts for number, counts in heap.items() if number not in together}
        untold.append(_added(heap[number] for number in together))
    by_kind = [_added(heap.values()) for heap in heaps.values()]
    return ToldClicks(
        is_told=True,
        kinds=frozenset(kind for kind in heaps if kind),
        links=frozenset(told),
        labels=told_labels([_added(by_kind)]),
        labels_of_kinds=told_labels(by_kind),
        labels_of_links=told_labels([*told.values(), *untold]),
    )


def add_clicks(links: dict[int, ClickedLink], number: int | None, counts: Counts) -> None:
    """Add clicks to a letter's links; those on none of them as if on one more."""
    known = number if number in links else None
    link = links.get(known or 0, ClickedLink(None, (0, 0, 0)))
    links[known or 0] = replace(link, counts=_added([link.counts, counts]))


def tell_registration_clicks(links: Mapping[int, ClickedLink]) -> dict[str, int | None]:
    """By event: clicks on the links to register by, None where they are not told.

    Args:
        links: all of an anonymous letter to five or more, by number.
    """
    told = tell_clicks(links)
    signing: dict[str, list[int]] = {}
    for number, link in links.items():
        if link.kind == REGISTRATION and link.event is not None:
            signing.setdefault(link.event, []).append(number)
    return {
        event: sum(sum(links[number].counts) for number in numbers) if told.tells(numbers) else None
        for event, numbers in signing.items()
    }


def untold_rows(rows: Sequence[Counts]) -> set[int]:
    """The rows that may be told only as one; none where each may be told.

    Those with a few in any column, all noughts, and as many others as it takes, the last first.
    """
    together = {nth for nth, row in enumerate(rows) if any(map(is_few, row))}
    if not together:
        return together
    together |= {nth for nth, row in enumerate(rows) if not any(row)}
    others = [nth for nth in range(len(rows)) if nth not in together]
    is_enough = False
    while others and not is_enough:
        together.add(others.pop())
        is_enough = not any(0 < count < _HEAP for count in _added(rows[nth] for nth in together))
    return together


def told_labels(rows: Iterable[Counts]) -> tuple[str, ...]:
    """By which labels rows that are told may be broken down, the same for each of them."""
    apart = list(rows)
    if not any(is_few(count) for row in apart for count in row):
        return LABELS
    if not any(is_few(people) or is_few(sum(others)) for people, *others in apart):
        return LABELS[:1]
    return ()


def without_few(
    engagement: Mapping[str, Engagement], clicks: ToldClicks, *, audience: int
) -> dict[str, Engagement]:
    """What was done with an anonymous letter, by deed, as it may be told."""
    shown = {}
    for deed, done in engagement.items():
        if is_few(audience):
            told: tuple[str, ...] = ()
        elif deed in _KINDS:
            told = ("total", *clicks.labels_of_kinds) if _KINDS[deed] in clicks.kinds else ()
        elif deed == "clicks":
            told = ("total", *clicks.labels) if clicks.is_told else ()
        else:
            told = () if is_few(done.total) else ("total", *told_labels([_counts(done)]))
        shown[deed] = _only(done, told, of=_MEASURES)
    return shown


def hide_few(report: CampaignReport) -> CampaignReport:
    """The report as it may be shown: of an anonymous letter, counts that tell of a few are None.

    By how many people something was done is None in all of it: none of them is to be known.
    """
    if report.about.tracking != TrackingMode.ANONYMOUS:
        return report
    audience = report.delivery["audience"]
    clicks = ToldClicks() if is_few(audience) else tell_clicks(_clicked(report))
    done = {deed: getattr(report.engagement, deed) for deed in _DEEDS}
    links = [
        _only(link, ("clicks", *clicks.labels_of_links) if clicks.tells({link.number}) else ())
        for link in report.links
    ]
    events = []
    for event in report.events:
        of_event = {link.number for link in report.links if link.event == event.slug}
        signing = {link.number for link in report.links if link.kind == REGISTRATION} & of_event
        told = ("clicks", *clicks.labels_of_links) if clicks.tells(of_event) else ()
        if clicks.tells(signing):
            told = (*told, "registration_clicks")
        events.append(_only(event, told, of=("clicks", "registration_clicks", *LABELS)))
    shown = without_few(done, clicks, audience=audience)
    sums = {
        Dimension.LINK: {link.key: link.clicks for link in links},
        Dimension.EVENT: {event.slug: event.clicks for event in events},
    }
    nobody: dict[str, Any] = dict.fromkeys(_DONE_BY_PEOPLE)
    by = {
        dimension: [
            replace(group, **nobody, clicks=sums.get(dimension, {}).get(group.value or ""))
            for group in groups
        ]
        for dimension, groups in report.by.items()
    }
    return replace(
        report,
        engagement=replace(report.engagement, **shown),
        links=links,
        events=events,
        over_time=OverTime("day", []) if is_few(audience) else _told_over_time(report, shown),
        by=by,
    )


def hides_few(report: CampaignReport) -> bool:
    """Whether any count of what was done is hidden."""
    return any(
        getattr(figures, name) is None
        for figures, names in (
            *[(getattr(report.engagement, deed), _MEASURES) for deed in _DEEDS],
            *[(link, ("clicks", *LABELS)) for link in report.links],
            *[(event, ("clicks", "registration_clicks", *LABELS)) for event in report.events],
            *[(moment, _PER_MOMENT) for moment in report.over_time.moments],
            (report.reach.pass_on, _MEASURES),
        )
        for name in names
    )


def _clicked(report: CampaignReport) -> dict[int, ClickedLink]:
    """All clicks by link; those on none of them as if on one more."""
    clicked = {link.number: ClickedLink(link.kind, _counts(link)) for link in report.links}
    of_links = _added(link.counts for link in clicked.values())
    all_clicks = _counts(report.engagement.clicks)
    left = tuple(whole - part for whole, part in zip(all_clicks, of_links, strict=True))
    return {0: ClickedLink(None, left), **clicked} if any(left) else clicked


def _told_over_time(report: CampaignReport, shown: Mapping[str, Engagement]) -> OverTime:
    """What was done when: of what is told of the whole letter, and where it adds up to that."""
    moments = report.over_time.moments
    counted = {
        name: [getattr(moment, name) or 0 for moment in moments]
        for name in _PER_MOMENT
        if shown[name].total == sum(getattr(moment, name) or 0 for moment in moments)
    }
    all_of_them = set(range(len(moments)))
    untold = dict.fromkeys(_PER_MOMENT, all_of_them)
    if "opens" in counted:
        untold["opens"] = untold_rows([(count,) for count in counted["opens"]])
    if "clicks" in counted and "registration_clicks" in counted:
        pairs = zip(counted["clicks"], counted["registration_clicks"], strict=True)
        both = untold_rows([(clicks - signing, signing) for clicks, signing in pairs])
        untold["clicks"] = untold["registration_clicks"] = both
    if "clicks" in counted and untold["clicks"] == all_of_them:
        untold["clicks"] = untold_rows([(count,) for count in counted["clicks"]])
    told = [
        _only(moment, [name for name in _PER_MOMENT if nth not in untold[name]], of=_PER_MOMENT)
        for nth, moment in enumerate(moments)
    ]
    return replace(report.over_time, moments=told)


def _only(figures: Any, told: Collection[str], *, of: Collection[str] = ("clicks", *LABELS)) -> Any:
    """Figures of which only these are told, and nobody is known to have done anything."""
    people = [field.name for field in fields(figures) if field.name in _OF_PEOPLE]
    untold = [name for name in of if name not in told]
    nothing: dict[str, Any] = dict.fromkeys((*people, *untold))
    return replace(figures, **nothing)


def _counts(figures: Any) -> Counts:
    return tuple(getattr(figures, label) or 0 for label in LABELS)


def _total(links: Mapping[int, Counts]) -> int:
    return sum(map(sum, links.values()))


def _added(rows: Iterable[Counts]) -> Counts:
    """The rows column by column; three noughts for none."""
    return tuple(map(sum, zip(*rows, strict=True))) or (0, 0, 0)
