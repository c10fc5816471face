"""The page, the workbook and the flat file, each read back the way its reader would."""

import csv
import io
import re
import zipfile
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, CampaignState, DeliveryState
from mailer.cli.report import report_json
from mailer.foundation.database import open_database
from mailer.reports.figures import count_campaign
from mailer.reports.flat import write_csv
from mailer.reports.page import render_page
from mailer.reports.report import CampaignReport, Dimension
from mailer.reports.spreadsheet import write_spreadsheet
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Role
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

TEMPLATES = Path(__file__).parents[2] / "templates"
HOSTILE = "<script>alert('æ')</script>\x0b&\"'"
FORMULA = '=HYPERLINK("https://ondt.example";"Klik")'
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Every tag with its attributes, the text, and tags left open or closed twice."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def db(sqlite_url: str) -> Session:
    """One database is enough here: what is counted is tested with the figures."""
    database = open_database(sqlite_url)
    with database.write() as session:
        yield session
    database.dispose()


@pytest.fixture
def campaign(db: Session) -> Campaign:
    campaign = make_campaign(db)
    event = make_event(db, "odense", f"Møde {HOSTILE}")
    links = [
        make_link(db, campaign, "pack", kind="download"),
        make_link(db, campaign, "events.registration/odense", kind="registration", event="odense"),
    ]
    for number, organisation in enumerate(["Odense Kommune", HOSTILE, FORMULA, None]):
        recipient = make_recipient(
            db, f"{number}@odense.example", organisation=organisation, role=list(Role)[number]
        )
        position = deliver(db, campaign, recipient)
        if number < 2:
            register(db, event, recipient)
        act(db, campaign, TrackingKind.OPEN, position, at=NOW + timedelta(hours=number))
        for link in links[: number % 3]:
            act(db, campaign, TrackingKind.CLICK, position, link=link)
    deliver(db, campaign, make_recipient(db, "b@odense.example"), DeliveryState.BOUNCED)
    act(db, campaign, TrackingKind.PASS_ON, label=Label.UNSURE)
    return campaign


def figures(db: Session, campaign: Campaign) -> CampaignReport:
    return count_campaign(db, campaign, now=NOW + timedelta(days=1))


def page(db: Session, campaign: Campaign) -> str:
    return render_page(figures(db, campaign), [TEMPLATES])


def test_the_page_says_in_words_how_it_went(db: Session, campaign: Campaign) -> None:
    text = Page(page(db, campaign)).text.replace("\u00a0", " ")

    assert "4 af 5 breve er modtaget af mailserveren; 100 % er åbnet mindst én gang." in text
    assert "2 modtagere har klikket på et link, 2 har hentet materialet og 1 har åbnet" in text
    assert "er tilmeldt" not in text
    assert "Andre tilmeldinger kender denne rapport ikke." in text
    assert "Et klik på tilmelding er ikke en tilmelding" in text


def test_the_page_loads_nothing_and_runs_nothing(db: Session, campaign: Campaign) -> None:
    html = page(db, campaign)
    parsed = Page(html)

    assert not parsed.open
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "use"}
    for _, attributes in parsed.tags:
        assert not {"src", "srcset", "href", "xlink:href", "action", "style"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
        told = [value for name, value in attributes.items() if name != "xmlns" and value]
        assert not [value for value in told if "://" in value]
    assert "url(" not in html
    assert "@import" not in html


def test_hostile_values_stay_text(db: Session, campaign: Campaign) -> None:
    campaign.name = HOSTILE
    html = page(db, campaign)

    assert "<script" not in html
    assert "\x0b" not in html
    assert "<script>alert('æ')</script>\ufffd&\"'" in Page(html).text


def test_every_drawing_is_well_formed_and_described(db: Session, campaign: Campaign) -> None:
    html = page(db, campaign)
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)

    assert len(drawings) >= 7
    for drawing in drawings:
        root = ET.fromstring(drawing)
        title, description, *_ = root
        assert (title.tag.rpartition("}")[2], description.tag.rpartition("}")[2]) == ("title", "desc")
        assert title.text
        assert description.text
        assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_page_is_danish_and_fits_small_screens_dark_rooms_and_paper(
    db: Session, campaign: Campaign
) -> None:
    html = page(db, campaign)

    assert '<html lang="da">' in html
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


@pytest.mark.parametrize("tracking", ["none", "anonymous", "consent", "personal"])
def test_every_tracking_mode_and_state_has_a_page(db: Session, tracking: str) -> None:
    for state in CampaignState:
        campaign = make_campaign(db, state.value, tracking=tracking)
        campaign.state = state
        if state is not CampaignState.DRAFT:
            make_link(db, campaign, "pack", kind="download")
            deliver(
                db,
                campaign,
                make_recipient(db, f"{state}@odense.example"),
                DeliveryState.SENT if state is CampaignState.FINISHED else DeliveryState.PENDING,
            )
            act(db, campaign, TrackingKind.OPEN)

        assert not Page(page(db, campaign)).open


def test_the_workbook_has_a_sheet_per_part_and_numbers_as_numbers(
    db: Session, campaign: Campaign, tmp_path: Path
) -> None:
    path = tmp_path / "report.xlsx"
    write_spreadsheet(figures(db, campaign), path)
    book = CalamineWorkbook.from_path(path)

    assert book.sheet_names[:6] == [
        "Summary",
        "Delivery",
        "Engagement",
        "Over time",
        "Events",
        "Links",
    ]
    assert {"By role", "By region", "By organisation", "By domain"} <= set(book.sheet_names)
    delivery = dict(row[:2] for row in book.get_sheet_by_name("Delivery").to_python()[1:])
    assert (delivery["sent"], delivery["bounced"]) == (4, 1)
    engagement = {row[0]: row[1:] for row in book.get_sheet_by_name("Engagement").to_python()}
    assert engagement["Opens"] == [4, 4, 4, 0, 0]
    assert engagement["Registrations"] == [2, 2, 2, 0, 0]
    (event,) = rows_of(book, "Events")
    assert (event["Registered"], event["Clicks by people"], event["Clicks unsure"]) == (2, 1, 0)
    pack = next(row for row in rows_of(book, "Links") if row["Link"] == "pack")
    assert (pack["Clicks"], pack["By people"], pack["By machines"], pack["Unsure"]) == (2, 2, 0, 0)
    assert [row["Registered"] for row in rows_of(book, "By role")][:2] == [1, 1]


def rows_of(book: CalamineWorkbook, sheet: str) -> list[dict[str, Any]]:
    headings, *rows = book.get_sheet_by_name(sheet).to_python()
    return [dict(zip(headings, row, strict=True)) for row in rows]


def test_the_workbook_computes_no_value(db: Session, campaign: Campaign, tmp_path: Path) -> None:
    path = tmp_path / "report.xlsx"
    write_spreadsheet(figures(db, campaign), path)
    sheet = CalamineWorkbook.from_path(path).get_sheet_by_name("By organisation")

    assert FORMULA in [row[0] for row in sheet.to_python()]


def test_the_flat_file_has_a_line_per_figure_and_no_formula(db: Session, campaign: Campaign) -> None:
    stream = io.StringIO(newline="")
    write_csv(figures(db, campaign), stream)
    rows = list(csv.reader(io.StringIO(stream.getvalue(), newline="")))

    assert rows[0] == ["section", "dimension", "value", "measure", "figure"]
    assert ["delivery", "", "", "bounced", "1"] in rows
    assert ["engagement", "", "opens", "recipients", "4"] in rows
    assert ["engagement", "", "registrations", "recipients", "2"] in rows
    assert ["events", "event", "odense", "registered", "2"] in rows
    assert ["events", "event", "odense", "machines", "0"] in rows
    assert ["links", "link", "pack", "people", "2"] in rows
    assert ["reach", "", "pass_on", "unsure", "1"] in rows
    assert ["by", "role", "minister", "audience", "1"] in rows
    assert ["by", "role", "minister", "registered", "1"] in rows
    assert ["by", "organisation", "", "audience", "1"] in rows
    assert ["by", "organisation", f"'{FORMULA}", "sent", "1"] in rows
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_a_letter_that_went_by_itself_has_no_groups_in_any_output(db: Session) -> None:
    reminder = make_campaign(db, "paamindelse-x")
    reminder.auto_submitted = True
    for number in range(12):
        deliver(db, reminder, make_recipient(db, f"{number}@x.example"))
    counted = campaign_report(db, reminder)

    people = set(Dimension) - {Dimension.EVENT, Dimension.LINK}
    assert not any(counted.by[dimension] for dimension in people)
    assert counted.delivery["audience"] == 12
    told = report_json(counted)
    assert (told["automatic"], told["by"]["organisation"]) == (True, [])
    html = render_page(counted, [TEMPLATES])
    assert "ikke delt op i grupper" in html.replace("\u00a0", " ")
    lines, book = io.StringIO(), io.BytesIO()
    write_csv(counted, lines)
    write_spreadsheet(counted, book)
    with zipfile.ZipFile(book) as parts:
        words = "".join(parts.read(name).decode() for name in parts.namelist())
    assert "went by itself" in words
    for text in (html, lines.getvalue(), words):
        assert "Aarhus Kommune" not in text
        assert "x.example" not in text
