"""A letter proved by a copy of every kind, and the word of a preflight for one of too many kinds."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from mailer.campaigns.lifecycle import find_campaign
from mailer.runtime import Runtime
from mailer.sending.examining import Audience, Examiner, seal
from mailer.sending.findings import Finding, Gravity
from mailer.sending.preflight import Looking, Preflight, preflight
from mailer.sending.preparing import prepare_letter
from mailer.sending.proving import TooManyKinds, prove_letter
from mailer.sending.verdicts import Stamp, Verdict, keep_verdict, kept_verdict
from recipients.addresses import hash_address
from recipients.choices import choose_tracking
from recipients.models import Recipient, SuppressionReason, TrackingChoice
from recipients.suppression import suppress, unsuppress
from recipients.versions import keep_versions
from tests.conftest import NOW, SUPPRESSION_KEY
from tests.making import make_campaign, make_recipient

WriteLetter = Callable[..., None]
HELLO = "<p>Hej</p>"
FILTERED = "{{ recipient.name|upper }}"


@pytest.fixture
def runtime(runtime: Runtime, tmp_path: Path) -> Runtime:
    """A runtime with a template folder of its own, and the draft ``brev``."""
    with runtime.database.write() as db:
        make_campaign(db, name="brev", letter="egen")
    changed = runtime.settings.model_copy(update={"templates_dir": tmp_path / "own"})
    return replace(runtime, settings=changed)


@pytest.fixture
def write_letter(runtime: Runtime) -> WriteLetter:
    """Writes the draft's letter; what is not given is harmless."""

    def write(html: str = "", *, body: str = HELLO, text: str = "Hej\n", subject: str = "Emne") -> None:
        assert runtime.settings.templates_dir
        folder = runtime.settings.templates_dir / "letters" / "egen"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "subject.txt").write_text(subject)
        (folder / "body.txt").write_text(text)
        (folder / "body.html").write_text(f"<html><body>{body}{html}</body></html>")

    return write


def add(runtime: Runtime, *people: dict[str, Any]) -> None:
    with runtime.database.write() as db:
        for person in people:
            make_recipient(db, **person)


def prove(runtime: Runtime, **asked: int) -> Verdict:
    tools = runtime.launch_tools.letters
    with runtime.database.read() as db:
        campaign = find_campaign(db, "brev")
        letter = prepare_letter(tools, db, campaign, now=NOW)
        return prove_letter(tools, db, letter, Audience(campaign.id, None, frozen=False), **asked)


def look(runtime: Runtime) -> Preflight:
    tools, looking = runtime.launch_tools, Looking(processes=1)
    return preflight(tools.letters, (), runtime.database, "brev", now=NOW, looking=looking)


def checks(verdict: Verdict) -> list[str]:
    return [finding.check for finding in verdict.findings]


def test_a_good_letter_has_nothing_wrong(runtime: Runtime, write_letter: WriteLetter) -> None:
    write_letter("{{ recipient.name }} {{ recipient.attributes.nr }}")
    add(runtime, *[{"attributes": {"nr": str(number)}} for number in range(5)])
    assert prove(runtime) == Verdict((), 5)


@pytest.mark.parametrize(
    ("html", "one"),
    [
        ("{{ recipient.attributes.nr }}", {"attributes": {"nr": "x" * 150_000}}),
        ("{{ recipient.attributes.nr|upper }}", {"attributes": {"nr": "x" * 150_000}}),
        ("{{ recipient.attributes['a\"b'] }}", {"attributes": {'a"b': "x" * 150_000}}),
        ("{% for i in range(1000) %}{{ recipient.name }}{% endfor %}", {"name": "x" * 290}),
        ("{% if recipient.role == 'leder' %}{{ 'x' * 150000 }}{% endif %}", {"role": "leder"}),
    ],
)
def test_the_longest_of_every_kind_are_weighed(
    runtime: Runtime, write_letter: WriteLetter, html: str, one: dict[str, Any]
) -> None:
    write_letter(html)
    usual = {"attributes": {"nr": "1", 'a"b': "1"}, "name": "Bo"}
    add(runtime, *[usual] * 4, usual | one, usual)
    assert checks(prove(runtime, too_large_bytes=120_000)) == ["size"]


def test_whose_letter_cannot_be_written_is_counted(runtime: Runtime, write_letter: WriteLetter) -> None:
    write_letter("{{ recipient.attributes.nr }}{% if recipient.role == 'leder' %}{{ 1 / 0 }}{% endif %}")
    full = {"attributes": {"nr": "1"}}
    add(runtime, full, *[{}] * 3, *[{"attributes": {"nr": None}}] * 2, *[full | {"role": "leder"}] * 4)
    verdict = prove(runtime)
    assert {finding.check: finding.recipients for finding in verdict.findings} == {
        "lacking": 3,
        "letter": 4,
    }
    assert verdict.unwritable == verdict.findings
    assert verdict.writable == 3


PRINTED = {
    "the subject": {"subject": "{{ recipient.organisation }}"},
    "a subject of two": {"subject": "{{ recipient.region }} {{ recipient.attributes.t }}"},
    "the text": {"text": "{{ recipient.attributes.t }}\n"},
    "the whole HTML": {"body": "", "html": "<p>&nbsp;{{ recipient.attributes.t }}</p>"},
    "a link": {"html": "<a href='{{ recipient.attributes.u }}'>klik</a>"},
    "part of a link": {"html": "<a href='https://{{ recipient.attributes.h }}/'>klik</a>"},
    "a link's words": {"html": "<a href='https://ond.example/'>{{ recipient.attributes.h }}</a>"},
    "what stands beside them": {"html": "<a href='https://ond.example/'>kl.dk {{ recipient.name }}</a>"},
    "a place to go to": {"html": "<a href='#top'>op</a><p id='{{ recipient.attributes.t }}'>x</p>"},
    "an image": {"html": "<img alt='' src='{{ recipient.attributes.u }}'>"},
    "an address in the text": {"text": "Se https://{{ recipient.attributes.h }}/ nu\n"},
    "an address as it is": {"text": "Se {{ recipient.attributes.u }} nu\n"},
    "a link asked for": {
        "html": "{% if recipient.attributes.u %}<a href='{{ recipient.attributes.u }}'>x</a>{% endif %}"
    },
    "a filtered link": {"html": "<a href='{{ recipient.attributes.u|lower }}'>klik</a>"},
    "a filtered text": {"text": "{{ recipient.attributes.t|upper }}\n"},
}
VALUES = (
    *[("Bo", "Kommunen", "t", "https://a.example/", "a.example")] * 3,
    (None, None, "", "", ""),
    ("Eva", " ", " ", "javascript:alert(1)", "www.kl.dk"),
    ("Ib", "Kommunen", "top", "http://www,kl.example/", "x,y"),
    (" ", "\u00a0", "\u2003", "/rel", "kl.dk"),
    ("Bo", "Kommunen", None, None, None),
    ("Bo", "Kommunen", 0, 5, False),
    ("Åse", "Staten", "x", "http://b.example/", "a b"),
)
PEOPLE = [
    {
        "name": name,
        "organisation": organisation,
        "region": "Sjælland" if name == "Bo" else None,
        "attributes": {"t": t, "u": u, "h": h},
    }
    for name, organisation, t, u, h in VALUES
]


def said(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    """What is wrong with the letter or its copies, and not with what stands around it."""
    return {
        (found.check, found.detail)
        for found in findings
        if found.gravity is Gravity.ERROR and found.check not in {"sender", "relay"}
    }


def alone(runtime: Runtime) -> set[tuple[str, str]]:
    """What is found in each copy by an examiner that has seen no other."""
    tools, found = runtime.launch_tools.letters, set[tuple[str, str]]()
    with runtime.database.read() as db:
        campaign = find_campaign(db, "brev")
        letter = prepare_letter(tools, db, campaign, now=NOW)
        ids = db.scalars(select(Recipient.id)).all()
    audience = Audience(campaign.id, None, frozen=False)
    task = seal(tools, letter, audience, overhead=0, list_flaws=False)
    for each in ids:
        tally = Examiner(task).examine_range(runtime.database, each, each)
        found |= said((*tally.findings, *tally.errors()))
    return found


@pytest.mark.parametrize("parts", PRINTED.values(), ids=PRINTED.keys())
def test_a_copy_of_every_kind_tells_what_all_copies_tell(
    runtime: Runtime, write_letter: WriteLetter, parts: dict[str, str]
) -> None:
    write_letter(**parts)
    add(runtime, *PEOPLE)
    wrong = alone(runtime)
    assert wrong
    assert said(look(runtime).findings) == wrong
    assert said(prove(runtime).findings) == wrong


def test_many_values_in_a_link_are_left_to_a_preflight(
    runtime: Runtime, write_letter: WriteLetter
) -> None:
    write_letter("<a href='{{ recipient.attributes.u }}'>klik</a>")
    links = [f"https://a.example/{number}" for number in range(20)]
    add(runtime, *[{"attributes": {"u": link}} for link in [*links, "javascript:alert(1)", links[0]]])
    with pytest.raises(TooManyKinds):
        prove(runtime, most=20)
    assert {check for check, _ in said(prove(runtime, most=21).findings)} == {"link-target"}
    look(runtime)
    assert {check for check, _ in said(prove(runtime, most=20).findings)} == {"link-target"}


ALL_ATTRIBUTES = {
    "one by its name": "{{ recipient.attributes.get('nr').upper() }}",
    "one by a method looked up": "{{ recipient.attributes['get']('nr').upper() }}",
    "one by a method renamed": "{% set g = recipient.attributes['get'] %}{{ g('nr').upper() }}",
    "all of them": "{% for k, v in recipient.attributes.items() %}{{ v.upper() }}{% endfor %}",
    "their values": "{{ 1 / (recipient['attributes'].values()|first|string|length - 4) }}",
}


@pytest.mark.parametrize("html", ALL_ATTRIBUTES.values(), ids=ALL_ATTRIBUTES.keys())
@pytest.mark.parametrize("bad", [0, 9])
def test_whoever_a_method_of_the_attributes_fails_for_is_counted(
    runtime: Runtime, write_letter: WriteLetter, html: str, bad: int
) -> None:
    write_letter(html)
    people: list[dict[str, Any]] = [{"attributes": {"nr": "a"}}] * 10
    people[bad] = {"attributes": {"nr": None}}
    add(runtime, *people)
    verdict = prove(runtime)
    assert [(finding.check, finding.recipients) for finding in verdict.findings] == [("letter", 1)]
    assert verdict.writable == 9


@pytest.mark.parametrize("bad", [0, 9])
@pytest.mark.parametrize("also", ["", "{{ recipient.workplace|upper }}"])
def test_where_printed_values_may_break_the_letter_all_are_looked_at(
    runtime: Runtime, write_letter: WriteLetter, also: str, bad: int
) -> None:
    style = "<style>p{top:0}</style><p style='{{ recipient.attributes.s }}'>x</p>"
    write_letter(style + also)
    values = ["{" if number == bad else "top: 1px" for number in range(10)]
    add(runtime, *[{"workplace": "Skolen", "attributes": {"s": value}} for value in values])
    with pytest.raises(TooManyKinds):
        prove(runtime)
    look(runtime)
    verdict = prove(runtime)
    assert [(finding.check, finding.recipients) for finding in verdict.unwritable] == [("letter", 1)]
    assert verdict.writable == 9


def test_a_letter_that_is_not_compiled_is_proved_where_its_kinds_tell_all(
    runtime: Runtime, write_letter: WriteLetter
) -> None:
    values = ["{" if number == 3 else "top: 1px" for number in range(10)]
    write_letter("<style>p{top:0}</style><p style='{{ recipient.attributes.s|lower }}'>x</p>")
    add(runtime, *[{"attributes": {"s": value}} for value in values])
    verdict = prove(runtime)
    assert [(finding.check, finding.recipients) for finding in verdict.unwritable] == [("letter", 1)]


def test_a_letter_of_too_many_kinds_waits_for_a_preflight_of_it_as_it_is(
    runtime: Runtime, write_letter: WriteLetter
) -> None:
    write_letter(FILTERED)
    add(
        runtime,
        *[{"name": f"Person {number}", "address": f"p{number}@a.example"} for number in range(4)],
    )
    assert prove(runtime, most=4) == Verdict((), 4)
    with pytest.raises(TooManyKinds):
        prove(runtime, most=3)
    look(runtime)
    assert prove(runtime, most=3) == Verdict((), 4)

    write_letter(f"{FILTERED}!")
    with pytest.raises(TooManyKinds):
        prove(runtime, most=3)


def _correct(runtime: Runtime) -> None:
    later = NOW.replace(minute=1)
    with runtime.database.write() as db:
        db.execute(update(Recipient).where(Recipient.id == 1).values(name="Eva", updated_at=later))


def _suppress(runtime: Runtime, address: str = "p1@a.example") -> None:
    key = hash_address(SUPPRESSION_KEY.encode(), address)
    with runtime.database.write() as db:
        suppress(db, key, SuppressionReason.UNSUBSCRIBED, now=NOW)


def _unsuppress(runtime: Runtime, address: str = "p4@a.example") -> None:
    with runtime.database.write() as db:
        assert unsuppress(db, hash_address(SUPPRESSION_KEY.encode(), address))


def _import(runtime: Runtime) -> None:
    add(runtime, {"name": "Eva"})


def _correct_at_once(runtime: Runtime) -> None:
    """The clock people see stands still, as in a demo."""
    with runtime.database.write() as db:
        keep_versions(db, select(Recipient.id).where(Recipient.id == 1), now=NOW)
        db.execute(update(Recipient).where(Recipient.id == 1).values(name="Eva", updated_at=NOW))


def _choose(choice: TrackingChoice) -> Callable[[Runtime], None]:
    key = hash_address(SUPPRESSION_KEY.encode(), "p1@a.example")

    def choose(runtime: Runtime) -> None:
        with runtime.database.write() as db:
            assert choose_tracking(db, key, choice, now=NOW)

    return choose


@pytest.mark.parametrize(
    "change",
    [
        _correct,
        _correct_at_once,
        _unsuppress,
        _import,
        _choose(TrackingChoice.OBJECTION),
        _choose(TrackingChoice.CONSENT),
    ],
    ids=["correct", "correct at once", "unsuppress", "import", "object", "consent"],
)
def test_a_verdict_is_of_the_audience_it_looked_at(
    runtime: Runtime, write_letter: WriteLetter, change: Callable[[Runtime], None]
) -> None:
    write_letter(FILTERED)
    add(
        runtime,
        *[{"name": f"Person {number}", "address": f"p{number}@a.example"} for number in range(5)],
    )
    _suppress(runtime, "p4@a.example")
    look(runtime)
    prove(runtime, most=2)
    change(runtime)
    with pytest.raises(TooManyKinds):
        prove(runtime, most=2)


def test_a_verdict_holds_for_fewer(runtime: Runtime, write_letter: WriteLetter) -> None:
    write_letter(FILTERED)
    add(
        runtime,
        *[{"name": f"Person {number}", "address": f"p{number}@a.example"} for number in range(5)],
    )
    _suppress(runtime, "p4@a.example")
    look(runtime)
    _suppress(runtime)
    assert prove(runtime, most=2) == Verdict((), 4)
    _unsuppress(runtime, "p1@a.example")
    assert prove(runtime, most=2) == Verdict((), 4), "they were looked at"
    _unsuppress(runtime)
    with pytest.raises(TooManyKinds):
        prove(runtime, most=2)


def test_who_is_suppressed_while_a_preflight_runs_was_not_looked_at(
    runtime: Runtime, write_letter: WriteLetter
) -> None:
    write_letter(FILTERED)
    add(
        runtime,
        *[{"name": f"Person {number}", "address": f"p{number}@a.example"} for number in range(4)],
    )

    def progress(done: int, _: int) -> None:
        if done == 1:
            _suppress(runtime, "p3@a.example")

    looking = Looking(processes=1, range_size=1, progress=progress)
    tools = runtime.launch_tools
    preflight(tools.letters, (), runtime.database, "brev", now=NOW, looking=looking)
    assert prove(runtime, most=2) == Verdict((), 3)
    _unsuppress(runtime, "p3@a.example")
    with pytest.raises(TooManyKinds):
        prove(runtime, most=2)


def test_a_verdict_is_of_its_owner_and_names_nobody(runtime: Runtime, write_letter: WriteLetter) -> None:
    write_letter(f"{FILTERED}{{{{ recipient.attributes.nr }}}}<a href='{FILTERED}'>x</a>")
    add(runtime, {"name": "Karoline", "address": "karoline@a.example"}, {"name": "Amalie"})
    look(runtime)
    (kept,) = (runtime.settings.state_dir / "preflight").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "lacking" in kept.read_text()
    assert "karoline" not in kept.read_text().lower()
    assert "amalie" not in kept.read_text().lower()


STAMP = Stamp("stamp", frozenset({3, 4}))
FOUND = Finding("lacking", Gravity.ERROR, "the recipient has no attribute 'æ'", 3)


def test_a_verdict_is_kept_for_its_stamp_alone(tmp_path: Path) -> None:
    keep_verdict(tmp_path, 7, STAMP, Verdict((FOUND,), 2))
    assert kept_verdict(tmp_path, 7, STAMP) == Verdict((FOUND,), 2)
    assert kept_verdict(tmp_path, 7, Stamp("stamp", frozenset({3, 4, 5}))) == Verdict((FOUND,), 2)
    assert kept_verdict(tmp_path, 7, Stamp("stamp", frozenset({4, 5}))) is None
    assert kept_verdict(tmp_path, 7, Stamp("other", frozenset({3, 4}))) is None
    assert kept_verdict(tmp_path, 8, STAMP) is None


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"stamp": "stamp"}', b"\xff", b'"stamp"'])
def test_a_verdict_that_cannot_be_read_is_none(tmp_path: Path, torn: bytes) -> None:
    keep_verdict(tmp_path, 7, STAMP, Verdict((), 2))
    (kept,) = (tmp_path / "preflight").iterdir()
    kept.write_bytes(torn)
    assert kept_verdict(tmp_path, 7, STAMP) is None


def test_a_verdict_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    (tmp_path / "preflight").write_text("in the way")
    keep_verdict(tmp_path, 7, STAMP, Verdict((), 2))
    assert kept_verdict(tmp_path, 7, STAMP) is None
