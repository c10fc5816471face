"""`mailer campaign queue` refuses what preflight calls an error, whoever of the audience it is about."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import select

from mailer.events.importing import import_events
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from mailer.rendering.values import PLAIN_FIELDS, RecipientValues
from mailer.runtime import template_folders
from recipients.choices import choose_tracking
from recipients.models import Recipient, TrackingChoice
from tests.cli.calling import Answer, Caller
from tests.conftest import NOW
from tests.making import make_campaign, make_recipient

REFUSED = "see  mailer campaign preflight brev"
ELSEWHERE = "<a href='https://ond.example/'>www.kl.dk</a>"

WriteLetter = Callable[..., None]


@pytest.fixture
def mailer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    caller = Caller(settings, monkeypatch, capsys)
    caller.set("SMTP_RELAYS", "smtp://127.0.0.1:2525?starttls=never")
    return caller


@pytest.fixture
def write_letter(database: Database, mailer: Caller, tmp_path: Path) -> WriteLetter:
    """Writes the letter of the draft ``brev``; what is not given is harmless."""
    letter = tmp_path / "own" / "letters" / "egen"
    letter.mkdir(parents=True)
    mailer.set("TEMPLATES_DIR", str(tmp_path / "own"))
    with database.write() as db:
        make_campaign(db, name="brev", letter="egen")

    def write(html: str = "", *, text: str = "Hej\n", subject: str = "Emne") -> None:
        (letter / "subject.txt").write_text(subject)
        (letter / "body.txt").write_text(text)
        (letter / "body.html").write_text(f"<html><body><p>Hej</p>{html}</body></html>")

    return write


def add(database: Database, *people: dict[str, object]) -> None:
    with database.write() as db:
        for person in people:
            make_recipient(db, **person)  # type: ignore[arg-type]


def queue(mailer: Caller, *options: str) -> Answer:
    return mailer("campaign", "queue", "brev", "--yes", *options)


def assert_refused(mailer: Caller, said: str) -> None:
    """Preflight says so, the queue says so, and the campaign is a draft as before."""
    looked = mailer("campaign", "preflight", "brev")
    assert looked.code == 1
    assert said in looked.stdout
    answer = queue(mailer)
    assert answer.code == 1
    assert said in answer.stderr
    assert answer.stderr.rstrip().endswith(REFUSED)
    assert "Traceback" not in answer.stderr
    assert mailer("campaign", "list", "--json").data["campaigns"][0]["state"] == "draft"


ASKED_OF_ONE = {
    "a region": ("recipient.region == 'Sjælland'", {"region": "Sjælland"}),
    "an organisation": ("recipient.organisation == 'Ankestyrelsen'", {"organisation": "Ankestyrelsen"}),
    "an attribute": ("recipient.attributes.nr == '7'", {"attributes": {"nr": "7", 'a"b': "1"}}),
    "a number": ("recipient.attributes.nr == 7", {"attributes": {"nr": 7}}),
    "an odd attribute": ("recipient.attributes['a\"b'] == '7'", {"attributes": {"nr": "1", 'a"b': "7"}}),
    "something being there": ("not recipient.workplace", {"workplace": ""}),
    "what is false": ("not recipient.attributes.nr", {"attributes": {"nr": 0}}),
    "a shared address": ("not recipient.name", {"shared": True}),
    "the language": ("recipient.language == 'en'", {"language": "en"}),
    "the confederation": ("recipient.confederation == 'FTF'", {"confederation": "FTF"}),
    "a filter": ("recipient.organisation|upper == 'ANKESTYRELSEN'", {"organisation": "Ankestyrelsen"}),
    "the length of a name": ("recipient.name|length == 3", {"name": "Bob"}),
    "the whole recipient": ("(recipient|string|length) and recipient.name == 'Bob'", {"name": "Bob"}),
}


@pytest.mark.parametrize(("asks", "one"), ASKED_OF_ONE.values(), ids=ASKED_OF_ONE.keys())
def test_a_link_elsewhere_that_one_of_many_gets(
    mailer: Caller, write_letter: WriteLetter, database: Database, asks: str, one: dict[str, object]
) -> None:
    write_letter(f"{{% if {asks} %}}{ELSEWHERE}{{% endif %}}")
    usual = {
        "attributes": {"nr": "1", 'a"b': "1"},
        "workplace": "Skolen",
        "organisation": "Aarhus Kommune",
    }
    add(database, *[usual] * 20, usual | one, *[usual] * 2)
    assert_refused(mailer, "a link says kl.dk and leads to ond.example")


@pytest.mark.parametrize("field", sorted(PLAIN_FIELDS[RecipientValues]))
def test_a_letter_may_print_any_field(
    mailer: Caller, write_letter: WriteLetter, database: Database, field: str
) -> None:
    write_letter(f"{{{{ recipient.{field} }}}}{{{{ links.pass_on }}}}")
    add(database, {}, {"sector": "stat", "region": "Sjælland", "role": "leder", "confederation": "FTF"})
    add(database, {"language": "en", "workplace": "Skolen", "organisation": "Aarhus", "region": None})
    looked = mailer("campaign", "preflight", "brev")
    assert looked.code == 0, looked.stderr
    answer = queue(mailer, "--json")
    assert answer.code == 0, answer.stderr
    assert answer.data["audience"] == 3


def test_a_letter_too_large_for_one_of_many(
    mailer: Caller, write_letter: WriteLetter, database: Database
) -> None:
    write_letter("{% if recipient.region == 'Sjælland' %}{{ 'x' * 10000000 }}{% endif %}")
    add(database, *[{}] * 4, {"region": "Sjælland"}, {})
    assert_refused(mailer, "the letter is larger than 10 MB")


def test_what_most_of_them_lack(mailer: Caller, write_letter: WriteLetter, database: Database) -> None:
    write_letter(text="Nr. {{ recipient.attributes.nr }}\n")
    add(database, {"attributes": {"nr": "1"}}, *[{}] * 63, {"attributes": {"nr": "2"}})
    assert_refused(mailer, "the recipient has no attribute 'nr'")
    assert "(63 letters)" in queue(mailer).stderr


def test_a_minority_that_gets_no_letter_holds_up_nobody_else(
    mailer: Caller, write_letter: WriteLetter, database: Database
) -> None:
    write_letter(text="Nr. {{ recipient.attributes.nr }}\n")
    add(database, {"attributes": {"nr": "1"}}, {})
    assert mailer("campaign", "preflight", "brev").code == 1
    answer = queue(mailer, "--json")
    assert answer.code == 0
    assert answer.data["audience"] == 2
    (note,) = answer.data["notes"]
    assert note == "the recipient has no attribute 'nr' (1 letter): failed when their turn comes"


@pytest.mark.parametrize("bad", [0, 4])
def test_one_whose_value_breaks_the_style_it_is_printed_in_holds_up_nobody_else(
    mailer: Caller, write_letter: WriteLetter, database: Database, bad: int
) -> None:
    write_letter("<style>p{top:0}</style><p style='{{ recipient.attributes.s }}'>x</p>")
    values = ["{" if number == bad else f"top: {number}px" for number in range(5)]
    add(database, *[{"attributes": {"s": value}} for value in values])
    answer = queue(mailer, "--json")
    assert answer.code == 0, answer.stderr
    (note,) = answer.data["notes"]
    assert note.startswith("a style in the HTML part cannot be read")
    assert note.endswith("(1 letter): failed when their turn comes")


@pytest.mark.parametrize("html", [ELSEWHERE, "{{ recipient.attributes.nr }}"])
def test_what_readers_would_find_and_a_letter_for_nobody_are_refused(
    mailer: Caller, write_letter: WriteLetter, database: Database, html: str
) -> None:
    write_letter(html)
    add(database, {}, {})
    assert queue(mailer).code == 1


def test_a_letter_of_too_many_kinds_is_looked_at_whole(
    mailer: Caller, write_letter: WriteLetter, database: Database, settings: Settings
) -> None:
    asks = "recipient.name|upper == 'PERSON 1200'"
    write_letter(f"{{% if {asks} %}}{ELSEWHERE}{{% endif %}}")
    people = [{"name": f"Person {number}"} for number in range(1, 1202)]
    add(database, *people)
    answer = queue(mailer)
    assert answer.code == 1
    assert "looking at every one first" in answer.stderr
    assert "a link says kl.dk and leads to ond.example" in answer.stderr
    (kept,) = (settings.state_dir / "preflight").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700

    again = queue(mailer)
    assert again.code == 1
    assert "looking at every one first" not in again.stderr, "its verdict was kept"

    kept.write_text(kept.read_text().replace("ond.example", "kl.dk").replace('"error"', '"warning"'))
    write_letter("{{ recipient.name|upper }}")
    mended = queue(mailer)
    assert mended.code == 0
    assert "looking at every one first" in mended.stderr, "that was another letter"


def test_recipients_that_change_while_all_are_looked_at_are_not_taken_for_seen(
    mailer: Caller, write_letter: WriteLetter, database: Database
) -> None:
    write_letter("{{ recipient.name|upper }}")
    add(database, *[{"name": f"Person {number}"} for number in range(1, 1202)])
    with database.read() as db:
        key = db.scalar(select(Recipient.address_hash).order_by(Recipient.id.desc()).limit(1))
    assert key is not None
    ended = Event()

    def change_on_and_on() -> None:
        choices = cycle((TrackingChoice.CONSENT, TrackingChoice.OBJECTION))
        while not ended.wait(0.02):
            with database.write() as db:
                choose_tracking(db, key, next(choices), now=NOW)

    somebody = Thread(target=change_on_and_on)
    somebody.start()
    try:
        answer = queue(mailer)
    finally:
        ended.set()
        somebody.join()
    assert answer.code == 1
    assert "recipients changed while their letters were looked at" in answer.stderr
    assert "mailer campaign queue brev" in answer.stderr
    assert queue(mailer).code == 0


EMPTY_FOR_SOME = {
    "the subject is empty": {"subject": "{{ recipient.organisation }}"},
    "the text part is empty": {"text": "{{ recipient.organisation }}\n"},
    "href is empty": {"html": "<a href='{{ recipient.organisation }}'>klik</a>"},
}


@pytest.mark.parametrize(("said", "parts"), EMPTY_FOR_SOME.items(), ids=EMPTY_FOR_SOME.keys())
def test_what_is_empty_for_one_of_many(
    mailer: Caller, write_letter: WriteLetter, database: Database, said: str, parts: dict[str, str]
) -> None:
    write_letter(**parts)
    full: dict[str, object] = {"organisation": "https://www.kl.example/"}
    add(database, *[full] * 4, {"organisation": None}, full)
    assert_refused(mailer, said)


def test_all_that_is_missing_is_told_at_once(
    mailer: Caller, database: Database, settings: Settings
) -> None:
    with database.write() as db:
        make_recipient(db)
        make_campaign(db, name="brev", letter="startpakke", legal_basis=None)
        import_events(db, Path(template_folders(settings)[-1]) / "letters/startpakke/events.toml", NOW)
    for name, value in {
        "SENDER": "",
        "SMTP_RELAYS": "",
        "PUBLIC_URL": "http://post.coi.example",
    }.items():
        mailer.set(name, value)
    answer = queue(mailer)
    assert answer.code == 78
    for said in ("sender", "no relay is set", "links in letters need https", "all of them are over"):
        assert said in answer.stderr
    assert "no legal basis" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
