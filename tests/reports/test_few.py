"""What fewer than five did with an anonymous letter is told nowhere, and cannot be worked out."""

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign
from mailer.reports.few import hide_few, hides_few
from mailer.reports.figures import link_clicks
from mailer.reports.flat import write_csv
from mailer.reports.hiding import FEWEST
from mailer.reports.page import render_page
from mailer.reports.progress import Period
from mailer.reports.progress_figures import progress_report
from mailer.reports.report import (
    About,
    CampaignReport,
    Dimension,
    Engagement,
    EngagementFigures,
    EventFigures,
    LinkFigures,
    Moment,
    OverTime,
    Reach,
)
from mailer.reports.solving import System
from mailer.reports.spreadsheet import write_spreadsheet
from mailer.reports.standings import event_standings
from mailer.tracking.models import Label, TrackingKind
from tests.conftest import NOW
from tests.events.making import ZONE
from tests.reports.factories import (
    act,
    campaign_report,
    deliver,
    make_campaign,
    make_event,
    make_link,
    make_recipient,
)

TEMPLATES = Path(__file__).parents[2] / "templates"
OPEN, CLICK = TrackingKind.OPEN, TrackingKind.CLICK
DEEDS = ("opens", "clicks", "downloads", "registration_clicks", "unsubscribes", "views")
LABELS = ("people", "machines", "unsure")
MEASURES = ("total", *LABELS)


def send(db: Session, size: int, *, tracking: str = "anonymous", name: str = "brev") -> Campaign:
    campaign = make_campaign(db, name, tracking=tracking)
    for number in range(size):
        deliver(db, campaign, make_recipient(db, f"{number}@{name}.example"))
    return campaign


def click(db: Session, campaign: Campaign, link: int, often: int, label: Label = Label.PERSON) -> None:
    for _ in range(often):
        act(db, campaign, CLICK, link=link, label=label)


def tell(db: Session, campaign: Campaign) -> CampaignReport:
    return campaign_report(db, campaign)


def measured(report: CampaignReport) -> Iterator[int | None]:
    """Everything that tracking counts."""
    for deed in DEEDS:
        yield from (getattr(getattr(report.engagement, deed), measure) for measure in MEASURES)
    for link in report.links:
        yield from (link.clicks, link.people, link.machines, link.unsure)
    for event in report.events:
        yield from (event.clicks, event.registration_clicks, event.people, event.machines, event.unsure)
    for moment in report.over_time.moments:
        yield from (moment.opens, moment.clicks, moment.registration_clicks)
    for dimension in (Dimension.LINK, Dimension.EVENT):
        yield from (group.clicks for group in report.by.get(dimension, ()))


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("often", [0, 1, 30])
def test_of_a_letter_to_fewer_than_five_nothing_is_told(db: Session, size: int, often: int) -> None:
    campaign = send(db, size)
    pack = make_link(db, campaign, "pack", kind="download")
    make_link(db, campaign, "events.registration/a", kind="registration", event="a")
    click(db, campaign, pack, often)

    report = tell(db, campaign)

    assert set(measured(report)) == {None}
    assert report.over_time.moments == []
    assert report.delivery["audience"] == size
    assert set(link_clicks(db, campaign).values()) == {None}


def test_one_to_four_are_not_told_and_nought_is(db: Session) -> None:
    campaign = send(db, 6)
    make_link(db, campaign, "pack", kind="download")
    for _ in range(4):
        act(db, campaign, OPEN)
    act(db, campaign, TrackingKind.UNSUBSCRIBE)

    done = tell(db, campaign).engagement

    assert (done.opens.total, done.opens.people, done.opens.machines) == (None, None, None)
    assert done.unsubscribes.total is None
    assert (done.clicks.total, done.downloads.total, done.clicks.machines) == (0, 0, 0)


def test_what_is_hidden_is_not_what_is_left_over(db: Session) -> None:
    campaign = send(db, 50)
    links = [make_link(db, campaign, f"side-{number}") for number in range(4)]
    for link, often in zip(links, (2, 9, 20, 0), strict=True):
        click(db, campaign, link, often)

    report = tell(db, campaign)

    assert [link.clicks for link in report.links] == [None, 9, None, None]
    assert report.engagement.clicks.total == 31
    assert [group.clicks for group in report.by[Dimension.LINK]] == [None, 9, None, None]
    assert link_clicks(db, campaign) == {1: None, 2: 9, 3: None, 4: None}


def test_counts_that_are_hidden_together_may_each_be_nought(db: Session) -> None:
    campaign = send(db, 90)
    links = [make_link(db, campaign, f"side-{number}") for number in range(8)]
    for link, often in zip(links, (1, 1, 1, 60, 1, 1, 0, 70), strict=True):
        click(db, campaign, link, often)
    for days, often in enumerate((20, 10, 1, 1, 0, 1, 1, 1)):
        for _ in range(often):
            act(db, campaign, OPEN, at=NOW + timedelta(days=days))

    report = tell(db, campaign)

    told = [None, None, None, 60, None, None, None, None]
    assert [link.clicks for link in report.links] == told
    assert [moment.opens for moment in report.over_time.moments] == [20] + [None] * 7


def test_a_sum_of_links_is_told_where_the_rest_is_no_few(db: Session) -> None:
    campaign = send(db, 90)
    for number, (kind, often) in enumerate(
        (("registration", 30), ("registration", 3), ("registration", 9), ("download", 2), ("link", 7))
    ):
        slug = f"moede-{number}"
        event = slug if kind == "registration" else None
        click(db, campaign, make_link(db, campaign, slug, kind=kind, event=event), often)

    report = tell(db, campaign)

    done = report.engagement
    assert [link.clicks for link in report.links] == [30, None, None, None, None]
    assert (done.clicks.total, done.registration_clicks.total, done.downloads.total) == (51, 42, None)
    assert [event.registration_clicks for event in report.events] == [30, None, None]


def test_hidden_moments_are_said_to_be_hidden(db: Session) -> None:
    campaign = send(db, 99)
    signing = make_link(db, campaign, "r", kind="registration", event="a")
    other = make_link(db, campaign, "l")
    for link, days, often in ((signing, 0, 40), (other, 0, 20), (signing, 1, 2), (other, 1, 10)):
        for _ in range(often):
            act(db, campaign, CLICK, link=link, at=NOW + timedelta(days=days))

    report = tell(db, campaign)

    assert [link.clicks for link in report.links] == [42, 30]
    assert [moment.registration_clicks for moment in report.over_time.moments] == [None, None]
    assert hides_few(report)


def test_a_label_of_a_few_takes_another_with_it(db: Session) -> None:
    campaign = send(db, 50)
    link = make_link(db, campaign, "side")
    click(db, campaign, link, 30)
    click(db, campaign, link, 8, Label.MACHINE)
    click(db, campaign, link, 3, Label.UNSURE)

    report = tell(db, campaign)

    (told,) = report.links
    assert (told.clicks, told.people, told.machines, told.unsure) == (41, 30, None, None)
    clicks = report.engagement.clicks
    assert (clicks.total, clicks.people, clicks.machines, clicks.unsure) == (41, 30, None, None)


def test_a_day_of_a_few_takes_another_with_it(db: Session) -> None:
    campaign = send(db, 50)
    for days, often in ((0, 40), (1, 12), (2, 1)):
        for _ in range(often):
            act(db, campaign, OPEN, at=NOW + timedelta(days=days))

    report = tell(db, campaign)

    assert [moment.opens for moment in report.over_time.moments] == [40, None, None]
    assert report.engagement.opens.total == 53


@pytest.mark.parametrize("tracking", ["consent", "personal"])
def test_where_people_may_be_known_whole_figures_stay(db: Session, tracking: str) -> None:
    campaign = send(db, 6, tracking=tracking)
    link = make_link(db, campaign, "side")
    click(db, campaign, link, 2)

    assert tell(db, campaign).links[0].clicks == 2
    assert link_clicks(db, campaign) == {link: 2}
    assert not hides_few(tell(db, campaign))


def test_what_is_hidden_does_not_depend_on_what_is_asked_for(db: Session) -> None:
    campaign = send(db, 30)
    for number, often in enumerate((1, 7, 7, 40)):
        click(db, campaign, make_link(db, campaign, f"side-{number}"), often)
    whole = tell(db, campaign)

    for dimension in Dimension:
        alone = campaign_report(db, campaign, [dimension])
        assert alone.links == whole.links
        assert alone.engagement == whole.engagement


def test_files_and_pages_leave_it_out_and_say_so(db: Session) -> None:
    campaign = send(db, 6)
    link = make_link(db, campaign, "pack", kind="download")
    click(db, campaign, link, 3)
    report = tell(db, campaign)
    lines, workbook = io.StringIO(newline=""), io.BytesIO()

    write_csv(report, lines)
    write_spreadsheet(report, workbook)
    page = render_page(report, [TEMPLATES])

    told = {
        (row["section"], row["value"], row["measure"]): row["figure"]
        for row in csv.DictReader(io.StringIO(lines.getvalue()))
    }
    assert told["engagement", "clicks", "total"] == ""
    assert told["links", "pack", "clicks"] == ""
    workbook.seek(0)
    sheets = CalamineWorkbook.from_filelike(workbook)
    assert "Left empty" in [row[0] for row in sheets.get_sheet_by_name("Summary").to_python()]
    assert sheets.get_sheet_by_name("Links").to_python()[1][3] == ""
    assert "Små tal er skjult" in page
    assert "Endnu ikke brugt" not in page


def test_the_parties_report_leaves_it_out_of_its_sums(db: Session) -> None:
    for size, often in ((3, 9), (8, 2), (30, 20)):
        campaign = send(db, size, name=f"brev-{size}")
        link = make_link(db, campaign, "e", kind="registration", event="a")
        click(db, campaign, link, often)

    period = Period(date(2014, 3, 1), date(2014, 4, 1), ZONE)
    report = progress_report(db, period, now=datetime(2014, 4, 2, tzinfo=ZONE))

    assert report.invitations.engagement["clicks"].total == 20
    told = {each.name: each.engagement["clicks"].total for each in report.letters}
    assert set(told.values()) == {None, 20}


def letters_told_apart(db: Session) -> list[Campaign]:
    """Letters of which something is hidden, each in a way of its own."""
    kinds = (
        *(("registration", "a"), ("registration", "b"), ("registration", "b"), ("download", None)),
        ("registration", "c"),
    )
    campaigns = []
    for nth, often in enumerate(
        (
            *((30, 0, 0, 2, 0), (30, 3, 6, 0, 0), (30, 0, 1, 40, 0), (30, 9, 0, 7, 0)),
            (2, 0, 0, 0, 0),
        )
    ):
        campaign = send(db, 30, name=f"brev-{nth}")
        for number, ((kind, event), count) in enumerate(zip(kinds, often, strict=True)):
            link = make_link(db, campaign, f"l{number}", kind=kind, event=event)
            click(db, campaign, link, count)
        campaigns.append(campaign)
    return campaigns


def test_the_parties_report_tells_of_whole_letters_what_their_reports_tell(db: Session) -> None:
    reports = {campaign.name: tell(db, campaign) for campaign in letters_told_apart(db)}
    period = Period(date(2014, 3, 1), date(2014, 4, 1), ZONE)
    progress = progress_report(db, period, now=datetime(2014, 4, 2, tzinfo=ZONE))

    for letter in progress.letters:
        for deed, done in letter.engagement.items():
            assert done == getattr(reports[letter.name].engagement, deed), (letter.name, deed)
    hidden = {name: report.engagement.registration_clicks.total for name, report in reports.items()}
    assert hidden == {"brev-0": None, "brev-1": 39, "brev-2": 31, "brev-3": 39, "brev-4": None}


def test_nowhere_is_more_told_of_an_event_than_by_the_letters(db: Session) -> None:
    """Of b, brev-3 tells all; brev-1 and brev-2 tell of none of b's links. Nobody clicked on c's."""
    for slug in "abc":
        make_event(db, slug, slug)
    reports = [tell(db, campaign) for campaign in letters_told_apart(db)]
    by_letter: dict[str, list[int | None]] = {"a": [], "b": [], "c": []}
    for event in (event for report in reports for event in report.events):
        by_letter[event.slug].append(event.registration_clicks)
    told = {slug: sum(filter(None, counts)) for slug, counts in by_letter.items()}
    untold = {slug for slug, counts in by_letter.items() if None in counts}

    clicks = {standing.event.slug: standing.clicks for standing in event_standings(db)}
    period = Period(date(2014, 3, 1), date(2014, 4, 1), ZONE)
    progress = progress_report(db, period, now=datetime(2014, 4, 2, tzinfo=ZONE))

    assert {slug: each.total for slug, each in clicks.items()} == told
    assert {slug for slug, each in clicks.items() if each.untold} == untold
    assert {event.slug: event.registration_clicks for event in progress.events} == {
        slug: None if slug in untold and not count else count for slug, count in told.items()
    }
    assert {event.slug for event in progress.events if event.clicks_untold} == untold
    assert (told, untold) == ({"a": 30, "b": 9, "c": 0}, {"a", "b", "c"})


@pytest.mark.parametrize("tracking", ["consent", "personal"])
def test_where_people_may_be_known_an_events_clicks_are_told(db: Session, tracking: str) -> None:
    make_event(db, "a", "a")
    campaign = send(db, 6, tracking=tracking)
    click(db, campaign, make_link(db, campaign, "r", kind="registration", event="a"), 1)

    (standing,) = event_standings(db)

    assert (standing.clicks.total, standing.clicks.untold) == (1, False)


# Nothing can be worked out, whatever the counts are.


def spread(most: int, cells: int) -> Iterator[tuple[int, ...]]:
    """Every way to have done something up to that often, in so many cells."""
    if cells == 1:
        yield from ((count,) for count in range(most + 1))
        return
    for count in range(most + 1):
        yield from ((count, *others) for others in spread(most - count, cells - 1))


def counted(
    kinds: tuple[str, ...], cells: list[tuple[int, ...]], days: list[tuple[int, int, int]]
) -> CampaignReport:
    """The report of a letter.

    Args:
        kinds: of the links, those to register by at one event.
        cells: by link, its clicks by label.
        days: opens, clicks and registration clicks.
    """
    links = [
        LinkFigures(
            n, f"l{n}", kind, "a" if kind == "registration" else None, "/", sum(cell), None, *cell
        )
        for n, (kind, cell) in enumerate(zip(kinds, cells, strict=True), start=1)
    ]

    def of(*wanted: str) -> tuple[int, ...]:
        return added([cell for cell, kind in zip(cells, kinds, strict=True) if kind in wanted])

    signing, empty = of("registration"), engagement((0, 0, 0))
    moments = [Moment(NOW + timedelta(days=n), *day) for n, day in enumerate(days)]
    opens = sum(day[0] for day in days)
    done = EngagementFigures(
        opens=engagement((opens, 0, 0)),
        clicks=engagement(of("link", "download", "registration")),
        downloads=engagement(of("download")),
        registration_clicks=engagement(signing),
        registrations=empty,
        unsubscribes=empty,
        views=empty,
    )
    event = EventFigures(
        "a",
        "a",
        None,
        None,
        None,
        None,
        sum(signing),
        None,
        sum(signing),
        None,
        0,
        0,
        0,
        0,
        [],
        *signing,
    )
    about = About("b", "b", None, "finished", "anonymous", False, None, None, None, NOW, "UTC")
    return CampaignReport(
        about, {"audience": 99}, done, [event], links, {}, OverTime("day", moments), Reach(empty, 0, [])
    )


def by_links(*kinds: str) -> Iterator[CampaignReport]:
    for often in spread(18 if len(kinds) < 4 else 14, len(kinds)):
        yield counted(kinds, [(count, 0, 0) for count in often], [])


def by_labels(*kinds: str) -> Iterator[CampaignReport]:
    for often in spread(8, 3 * len(kinds)):
        yield counted(kinds, [often[n : n + 3] for n in range(0, len(often), 3)], [])


def by_days(days: int) -> Iterator[CampaignReport]:
    for often in spread(18, days):
        yield counted(("link",), [(0, 0, 0)], [(count, 0, 0) for count in often])


def by_days_and_kinds(days: int) -> Iterator[CampaignReport]:
    for often in spread(14, 2 * days):
        signing, others = often[:days], often[days:]
        yield counted(
            ("registration", "link"),
            [(sum(signing), 0, 0), (sum(others), 0, 0)],
            [(0, one + other, one) for one, other in zip(signing, others, strict=True)],
        )


@pytest.mark.parametrize(
    "populations",
    [
        by_links("link", "link", "link"),
        by_links("registration", "download", "link"),
        by_links("registration", "registration", "download"),
        by_links("registration", "download", "link", "link"),
        by_labels("link", "link"),
        by_labels("registration", "download"),
        by_days(3),
        by_days_and_kinds(2),
    ],
)
def test_every_few_might_have_been_others(populations: Iterator[CampaignReport]) -> None:
    """Another population, by the same rules, is told the same, and has another number there."""
    told_alike: dict[tuple[int | None, ...], list[tuple[int | None, ...]]] = {}
    for population in populations:
        told = tuple(measured(hide_few(population)))
        told_alike.setdefault(told, []).append(tuple(measured(population)))

    assert len(told_alike) > 1
    for told, alike in told_alike.items():
        assert not [count for count in told if count is not None and 0 < count < FEWEST]
        for figure, might_be in zip(told, zip(*alike, strict=True), strict=True):
            if figure is None and any(0 < (count or 0) < FEWEST for count in might_be):
                assert len(set(might_be)) > 1
            elif figure is not None:
                assert set(might_be) == {figure}


def engagement(counts: tuple[int, ...]) -> Engagement:
    return Engagement(None, sum(counts), *counts, None)


def added(rows: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*rows, strict=True))) if rows else (0, 0, 0)


@st.composite
def reports(draw: st.DrawFn) -> CampaignReport:
    counts = st.one_of(st.integers(0, 6), st.integers(0, 40))
    kinds = draw(st.lists(st.sampled_from(["link", "download", "registration"]), min_size=1, max_size=5))
    events = [draw(st.sampled_from(["a", "b", None])) for _ in kinds]
    cells = [tuple(draw(counts) for _ in LABELS) for _ in kinds]
    links = [
        LinkFigures(n, f"l{n}", kind, event, "/", sum(cell), None, *cell)
        for n, (kind, event, cell) in enumerate(zip(kinds, events, cells, strict=True), start=1)
    ]

    def of(kind: str) -> tuple[int, ...]:
        return added([cell for cell, each in zip(cells, kinds, strict=True) if each == kind])

    clicks, signing = added(cells), of("registration")
    days = draw(st.lists(counts, min_size=1, max_size=5))
    left, parts = sum(clicks), []
    for _ in days[1:]:
        parts.append(draw(st.integers(0, left)))
        left -= parts[-1]
    parts.append(left)
    moments = [
        Moment(NOW + timedelta(days=n), opens, part, 0)
        for n, (opens, part) in enumerate(zip(days, parts, strict=True))
    ]
    about = About("b", "b", None, "finished", "anonymous", False, None, None, None, NOW, "UTC")
    opened = draw(st.integers(0, sum(days)))
    empty = engagement((0, 0, 0))
    done = EngagementFigures(
        opens=engagement((opened, sum(days) - opened, 0)),
        clicks=engagement(clicks),
        downloads=engagement(of("download")),
        registration_clicks=engagement(signing),
        registrations=empty,
        unsubscribes=empty,
        views=empty,
    )
    told = []
    for slug in sorted({event for event in events if event}):
        own = [link for link in links if link.event == slug]
        cell = added([(link.people or 0, link.machines or 0, link.unsure or 0) for link in own])
        signed = sum(link.clicks or 0 for link in own if link.kind == "registration")
        told.append(
            EventFigures(
                slug, slug, None, None, None, None, sum(cell), None, signed, None, 0, 0, 0, 0, [], *cell
            )
        )
    return CampaignReport(
        about, {"audience": 99}, done, told, links, {}, OverTime("day", moments), Reach(empty, 0, [])
    )


@settings(max_examples=300, deadline=None)
@given(reports())
def test_nothing_hidden_follows_from_what_is_told(counted: CampaignReport) -> None:
    shown = hide_few(counted)
    assert not [count for count in measured(shown) if count is not None and 0 < count < FEWEST]

    cell = {
        (link.number, label): n
        for n, (link, label) in enumerate((link, label) for link in counted.links for label in LABELS)
    }
    most = [int(getattr(link, label)) + 40 for link in counted.links for label in LABELS]

    def of(links: list[LinkFigures], measure: str) -> list[int]:
        labels = LABELS if measure in {"total", "clicks"} else (measure,)
        return [cell[link.number, label] for link in links for label in labels]

    figures: list[tuple[list[int], int | None, int]] = []
    for before, after in zip(counted.links, shown.links, strict=True):
        for name in ("clicks", *LABELS):
            figures.append((of([before], name), getattr(after, name), getattr(before, name)))
    for deed, kind in (
        ("clicks", None),
        ("downloads", "download"),
        ("registration_clicks", "registration"),
    ):
        own = [link for link in counted.links if kind in {None, link.kind}]
        for name in MEASURES:
            after, before = (getattr(getattr(r.engagement, deed), name) for r in (shown, counted))
            figures.append((of(own, name), after, before))
    for event, was in zip(shown.events, counted.events, strict=True):
        own = [link for link in counted.links if link.event == event.slug]
        signing = [link for link in own if link.kind == "registration"]
        for name in ("clicks", *LABELS):
            figures.append((of(own, name), getattr(event, name), getattr(was, name)))
        figures.append((of(signing, "total"), event.registration_clicks, was.registration_clicks or 0))

    system = System(most, [(cells, told) for cells, told, _ in figures if told is not None])
    for cells, told, truth in figures:
        if told is None and 0 < truth < FEWEST:
            assert not system.tells(cells)
