"""`mailer report campaign`, from the command line to the file."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from mailer.campaigns.errors import CampaignNotFound
from mailer.campaigns.models import Campaign
from mailer.cli.main import cli
from mailer.foundation.database import open_database
from mailer.tracking.models import TrackingKind
from tests.conftest import SECRET_KEY, SUPPRESSION_KEY
from tests.reports.factories import act, deliver, make_campaign, make_link, make_recipient


@pytest.fixture
def run(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Run":
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("MAILER_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("MAILER_SUPPRESSION_KEY", SUPPRESSION_KEY)
    database = open_database(sqlite_url)
    with database.write() as db:
        campaign = make_campaign(db)
        pack = make_link(db, campaign, "pack", kind="download")
        for number in range(20):
            recipient = make_recipient(db, f"{number}@{number}.example")
            act(db, campaign, TrackingKind.CLICK, deliver(db, campaign, recipient), link=pack)
    database.dispose()
    return Run()


class Run:
    """Calls the command line."""

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["report", "campaign", *arguments])


def test_json_has_the_fields_scripts_read(run: Run) -> None:
    result = run("startpakke-2014", "--json")
    told = json.loads(result.stdout)

    assert result.exit_code == 0
    assert (told["schema_version"], told["campaign"]) == (1, "startpakke-2014")
    assert (told["delivery"]["audience"], told["delivery"]["sent"]) == (20, 20)
    assert set(told["engagement"]) >= {
        "opens",
        "clicks",
        "downloads",
        "registration_clicks",
        "unsubscribes",
    }
    assert (
        told["engagement"]["downloads"].items()
        >= {
            "recipients": 20,
            "total": 20,
            "people": 20,
            "machines": 0,
            "unsure": 0,
        }.items()
    )
    assert list(told["by"]) == [
        "role",
        "sector",
        "region",
        "organisation",
        "event",
        "link",
        "domain",
    ]
    assert told["by"]["region"] == [
        {
            "value": "Midtjylland",
            "audience": 20,
            "sent": 20,
            "bounced": 0,
            "opened": 0,
            "clicked": 20,
            "downloaded": 20,
            "registration_clicked": 0,
            "clicks": 20,
            "registered": 0,
            "groups": 1,
        }
    ]
    assert told["over_time"]["moments"][0]["start"] == "2014-03-07T09:00:00+01:00"


def test_a_screen_shows_the_largest_groups_and_says_how_to_see_all(run: Run, sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    with database.write() as db:
        campaign = db.scalars(select(Campaign)).one()
        for number in range(19 * 5):  # five of each domain: fewer are put together
            deliver(db, campaign, make_recipient(db, f"more{number}@{number % 19 + 50}.example"))
    database.dispose()
    shown = run("startpakke-2014").stdout

    assert "By region" in shown
    assert "… and 5 more: --by domain" in shown
    assert "more" not in run("startpakke-2014", "--by", "domain").stdout


def test_only_the_dimensions_asked_for_are_reported(run: Run) -> None:
    told = json.loads(run("startpakke-2014", "--json", "--by", "sector, role").stdout)

    assert list(told["by"]) == ["sector", "role"]


@pytest.mark.parametrize("form", ["html", "csv", "json", "xlsx", "table"])
def test_a_file_holds_what_its_ending_says(run: Run, tmp_path: Path, form: str) -> None:
    name = "report.txt" if form == "table" else f"report.{form}"
    result = run("startpakke-2014", "-o", name)
    content = (tmp_path / name).read_bytes()

    assert (result.exit_code, result.stdout) == (0, "")
    begins = {"html": b"<!DOCTYPE html>", "csv": b"section,", "json": b"{", "xlsx": b"PK"}
    assert content.lstrip().startswith(begins.get(form, b"startpakke-2014: finished"))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_format_goes_to_a_pipe_as_it_is(run: Run) -> None:
    assert run("startpakke-2014", "--format", "xlsx").stdout_bytes.startswith(b"PK")
    assert run("startpakke-2014", "--format", "html").stdout.lstrip().startswith("<!DOCTYPE html>")


def test_a_file_that_cannot_be_written_fails_in_one_line(run: Run) -> None:
    result = run("startpakke-2014", "-o", "nowhere/report.html")

    assert result.exit_code == 1
    assert result.stderr.strip().splitlines() == [
        "Error: cannot write nowhere/report.html: No such file or directory"
    ]


@pytest.mark.parametrize(
    "arguments",
    [("--by", "confederation"), ("--by", "role,shoe size"), ("--format", "pdf")],
)
def test_what_does_not_exist_is_wrong_usage(run: Run, arguments: tuple[str, str]) -> None:
    assert run("startpakke-2014", *arguments).exit_code == 2


def test_two_formats_at_once_are_wrong_usage(run: Run) -> None:
    assert run("startpakke-2014", "--json", "--format", "csv").exit_code == 2


def test_an_unknown_campaign_is_named(run: Run) -> None:
    result = run("nowhere")

    assert isinstance(result.exception, CampaignNotFound)
    assert "nowhere" in str(result.exception)
