"""Of a letter that breaks at somebody's values nothing of theirs is told, but what is wrong with it."""

import re
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import structlog

from mailer.campaigns.errors import LaunchRefused
from mailer.campaigns.lifecycle import find_campaign
from mailer.events.importing import import_events
from mailer.events.requests import request_reminder
from mailer.launch import launch_campaign
from mailer.notices.reminders import launch_due_reminders
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.rendering.letter import Letter
from mailer.rendering.source import LetterSource
from mailer.rendering.values import (
    Attributes,
    CampaignValues,
    LetterValues,
    LinkValues,
    RecipientValues,
)
from mailer.runtime import Runtime, template_folders
from mailer.sending.examining import Tally
from mailer.sending.findings import Gravity, error
from mailer.sending.preflight import Looking, preflight
from mailer.sending.redaction import logged, told
from tests.conftest import NOW
from tests.events.making import make_campaign as make_sent_campaign
from tests.making import make_campaign, make_recipient, with_relay

NAME, OFFICE = "Karoline O'Amalie", 'Ankestyrelsen "Øst"'
SECRETS = ("karoline", "amalie", "enilorak", "kar", "anke", "øst", "hemmelig", "4711")
HIS = RecipientValues(
    NAME,
    "leder",
    "stat",
    OFFICE,
    None,
    "FTF",
    None,
    "da",
    Attributes({"liste": ["hemmelig"], "kort": {"hemmelig": "hemmelig"}, "nr": "4711"}),
)
NOWHERE = LinkValues(None, None, None, "", "", "", "", ())


def source_of(text: str, *, html: str = "x") -> LetterSource:
    return LetterSource("egen", {"subject.txt": "e", "body.txt": text, "body.html": html}, {})


def break_at(source: LetterSource) -> str:
    """What is told of the letter that breaks."""
    values = LetterValues(HIS, CampaignValues("brev", ()), NOWHERE, ())
    with pytest.raises((LetterError, RecipientValueError)) as broken:
        Letter(source).render(values, pixel=None)
    return told(broken.value, source)


@pytest.mark.parametrize(
    "code",
    [
        "[][recipient.name]",
        "{}[recipient.name|reverse].x",
        "{}[recipient.name[:4]].x",
        "{}[recipient.name|upper].x",
        "{}[recipient.name|list|string].x",
        "{}[recipient.attributes.liste|string].x",
        "{}[recipient.attributes.kort|string].x",
        "{}[recipient.attributes.nr].x",
        "{}[recipient.organisation ~ recipient.name].x",
        "{}[recipient.confederation].x",
        "recipient|attr(recipient.name)",
        "recipient.attributes[recipient.name]",
        "recipient.attributes[recipient.organisation|lower]",
        "recipient.attributes.liste + recipient.attributes.nr",
        "recipient.attributes[recipient.name|replace(' ', '\n')]",
    ],
)
def test_no_value_is_told_in_whatever_form_the_error_has_it(code: str) -> None:
    said = break_at(source_of(f"{{{{ {code} }}}}"))
    assert not [secret for secret in (*SECRETS, "ftf") if secret in said.lower()]
    assert re.search(r"(egen/body.txt:1: .*Error\)|has no attribute)", said)


@pytest.mark.parametrize("html", ["<p style='{{ recipient.name }} {'>x</p>", "<p style='{4711'>x</p>"])
def test_no_value_is_told_of_a_style_that_cannot_be_read(html: str) -> None:
    said = break_at(source_of("x", html=f"<style>p{{top:0}}</style>{html}"))
    assert said.startswith("a style in the HTML part cannot be read: ")
    assert not [secret for secret in SECRETS if secret in said.lower()]


def test_no_name_of_a_part_that_is_a_value_is_told() -> None:
    said = break_at(source_of("{% include recipient.name %}"))
    assert said == "letter egen/body.txt:1: there is no … (TemplateNotFound)"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("{{ recipient.nmae }}", "RecipientValues object' has no attribute 'nmae' (UndefinedError)"),
        ("{{ navn }}", "egen/body.txt:1: 'navn' is undefined (UndefinedError)"),
        ("{{ links.home }}", "LinkValues object' has no attribute 'home' (UndefinedError)"),
        ("{{ recipient.attributes.æble }}", "the recipient has no attribute 'æble'"),
        ("{{ recipient.attributes['Nr. på kort'] }}", "the recipient has no attribute 'Nr. på kort'"),
        ("{{ recipient.workplace|wordwrap(4) }}", "no attribute 'splitlines' (AttributeError)"),
        ("{{ recipient.workplace|long_date }}", "a date or time to be written out is missing"),
        ("\n{{ 1 / 0 }}", "egen/body.txt:2: division by zero (ZeroDivisionError)"),
        ("{{ recipient.name + 1 }}", 'can only concatenate str (not "int") to str (TypeError)'),
        ("{% include 'frame/fod.html' %}", "there is no frame/fod.html (TemplateNotFound)"),
    ],
)
def test_who_writes_letters_is_told_what_to_mend(code: str, reason: str) -> None:
    assert reason in break_at(source_of(code))


def test_a_constant_is_no_name() -> None:
    code = "{{ {}[recipient.confederation].x if recipient.confederation in ['FTF', 'OAO'] }}"
    assert "FTF" not in break_at(source_of(code))


def test_the_log_has_an_error_s_type_and_place() -> None:
    broken = LetterError(f"letter egen/body.txt:2: 'list object' has no attribute {NAME!r}")
    assert logged(broken) == "LetterError: letter egen/body.txt:2"
    assert logged(RecipientValueError(NAME)) == "RecipientValueError"


def own_letter(runtime: Runtime, folder: Path, text: str, name: str = "egen") -> Runtime:
    """The runtime with a letter of that text part; a shipped one keeps the others."""
    own, shipped = folder / "letters" / name, template_folders(runtime.settings)[-1] / "letters" / name
    if shipped.exists():
        shutil.copytree(shipped, own)
    else:
        own.mkdir(parents=True)
        (own / "subject.txt").write_text("Emne")
        (own / "body.html").write_text("<html><body><p>Hej</p></body></html>")
    (own / "body.txt").write_text(text, "utf-8")
    return with_relay(runtime, 2525, templates_dir=folder)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("{{ [][recipient.name] }}", "LetterError: letter .*/body.txt:1"),
        ("{{ recipient.attributes[recipient.name] }}", "the recipient has no attribute '…'"),
    ],
)
def test_a_reminder_that_breaks_is_logged_without_values(
    runtime: Runtime,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    code: str,
    said: str,
) -> None:
    runtime = own_letter(runtime, tmp_path / "own", code, "paamindelse")
    events = template_folders(runtime.settings)[-1] / "letters/startpakke/events.toml"
    with runtime.database.write() as db:
        import_events(db, events, NOW)
        person = make_recipient(db, name=NAME)
        make_sent_campaign(db, [person], event_slug="hovedstaden")
        request_reminder(db, "hovedstaden", person.id, now=NOW)

    due = datetime.fromisoformat("2014-03-10T09:00+01:00")
    with structlog.testing.capture_logs() as kept:
        launched = launch_due_reminders(runtime.launch_tools, runtime.database, now=due)

    assert [one for one in launched if one.audience] == []
    logs = f"{[one.get('error') for one in kept]} {caplog.text} {capsys.readouterr()}"
    assert re.search(said, logs)
    assert not [secret for secret in SECRETS if secret in logs.lower()]


@pytest.mark.parametrize(
    "code", ["{{ [][recipient.name] }}", "{{ recipient.attributes[recipient.name] }}"]
)
def test_preflight_and_launch_tell_no_value(runtime: Runtime, tmp_path: Path, code: str) -> None:
    runtime = own_letter(runtime, tmp_path / "own", code)
    with runtime.database.write() as db:
        make_recipient(db, name=NAME, address="karoline@kommune.example")
        make_campaign(db, name="brev", letter="egen")
    tools, looking = runtime.launch_tools, Looking(processes=1)
    seen = preflight(tools.letters, tools.relays, runtime.database, "brev", now=NOW, looking=looking)
    with pytest.raises((LaunchRefused, LetterError)) as refused, runtime.database.write() as db:
        launch_campaign(tools, db, find_campaign(db, "brev"), now=NOW)
    (*kept,) = (path.read_text() for path in (runtime.settings.state_dir / "preflight").glob("*"))

    said = " ".join([str(refused.value), *kept, *(found.detail for found in seen.findings)]).lower()
    assert not seen.ok
    assert "attribute" in said
    assert not [secret for secret in SECRETS if secret in said]


def test_errors_at_different_values_are_one_finding(runtime: Runtime, tmp_path: Path) -> None:
    code = "{% if recipient.role == 'leder' %}{{ recipient.attributes[recipient.name] }}{% endif %}x"
    runtime = own_letter(runtime, tmp_path / "own", code)
    names = ("Bo", "Eva Maria Holm", "Jens-Peter", "Øjvind (Odense)", "Ib 2", "O'Neil", "str x int")
    with runtime.database.write() as db:
        for name in names:
            make_recipient(db, name=name, role="leder")
        make_recipient(db)
        make_campaign(db, name="brev", letter="egen")
    tools, looking = runtime.launch_tools, Looking(processes=1)
    seen = preflight(tools.letters, tools.relays, runtime.database, "brev", now=NOW, looking=looking)
    (lacking,) = [found for found in seen.findings if found.check == "lacking"]
    assert lacking.detail == "the recipient has no attribute '…'"
    assert lacking.recipients == len(names)


def test_no_more_findings_are_told_apart_than_anybody_reads() -> None:
    tally, other = Tally(), Tally()
    for number in range(1_500):
        each = tally if number % 2 else other
        each.count(("lacking", Gravity.ERROR, f"x{number}"), 2, ((number, "a@b.example"),))
        each.find(error("link-target", f"x{number}"))
    tally.add(other)
    assert len(tally.counts) == len(tally.examples) == len(tally.findings) == 1_001
    assert sum(tally.counts.values()) == 3_000
    assert {replace(found, detail="") for found in tally.findings} == {error("link-target", "")}
