"""Compiled letters decode to what plain Jinja2 and the standard library would have made."""

import re
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.events.catalogue import import_events
from mailer.foundation.settings import TrackingMode
from mailer.rendering.letter import Letter
from mailer.rendering.source import LetterSource
from mailer.rendering.values import Attributes, RecipientValues
from mailer.runtime import Runtime, template_folders
from mailer.sending.addressees import Addressee
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import render_letter, write_message
from mailer.sending.preparing import prepare_letter
from mailer.sending.writer import LetterWriter
from recipients.models import Region, Role, Sector
from tests.conftest import NOW
from tests.making import make_campaign
from tests.rendering.test_message import HOSTILE as HOSTILE_TEXT

PLAIN = RecipientValues(
    name="Åse Sørensen",
    role="tillidsrepræsentant",
    sector="kommune",
    organisation="Aarhus Kommune",
    workplace="Skødstrup Skole",
    confederation="FTF",
    region="Midtjylland",
    language="da",
    attributes=Attributes(nr="7"),
)
HOSTILE = [text for text in HOSTILE_TEXT if "\ud800" not in text]
"""No database stores a lone surrogate, so no recipient has one."""
LETTERS = ("startpakke", "paamindelse", "paamindelse-dagen-foer")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What is written does not depend on the kind of database."""
    return sqlite_url


@pytest.fixture
def letters(runtime: Runtime) -> Iterator[dict[str, CampaignLetter]]:
    """The shipped letters, as a campaign freezes them."""
    events = Path(template_folders(runtime.settings)[-1]) / "letters/startpakke/events.toml"
    with runtime.database.write() as db:
        import_events(db, events, NOW)
    with runtime.database.read() as db:
        yield {
            name: prepare_letter(
                runtime.letter_tools,
                db,
                make_campaign(db, letter=name),
                now=NOW,
                about=None if name == "startpakke" else "hovedstaden",
            )
            for name in LETTERS
        }


class Text(HTMLParser):
    """What a reader of the HTML meets: words and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_data(self, data: str) -> None:
        self.seen.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen += [tag, *[value or "" for _, value in attrs]]


def reads(message: Message) -> tuple[list[tuple[str, str]], str, list[str]]:
    """Headers, text, and words and addresses of the HTML."""
    plain, html = message.get_payload()  # type: ignore[misc]
    parser = Text()
    parser.feed(html.get_payload(decode=True).decode())
    parser.close()
    words = "".join(parser.seen)
    return message.items(), plain.get_payload(decode=True).decode(), words.split()  # type: ignore[return-value]


def both_ways(
    runtime: Runtime, letter: CampaignLetter, to: Addressee
) -> tuple[LetterWriter, bytes, bytes]:
    writer = LetterWriter(runtime.letter_tools, letter)
    compiled = writer.write(to)
    plain = write_message(
        runtime.letter_tools, letter, to, render_letter(runtime.letter_tools, letter, to)
    )
    assert compiled.envelope == plain.envelope
    assert compiled.message_id == plain.message_id
    return writer, compiled.data, plain.data


values = st.builds(
    replace,
    st.just(PLAIN),
    name=st.one_of(st.none(), st.sampled_from(HOSTILE), st.text(max_size=60)),
    role=st.sampled_from([role.value for role in Role]),
    sector=st.sampled_from([sector.value for sector in Sector]),
    region=st.sampled_from([None, *[region.value for region in Region]]),
    organisation=st.one_of(st.none(), st.sampled_from(HOSTILE)),
    workplace=st.one_of(st.none(), st.sampled_from(HOSTILE)),
    language=st.sampled_from(["da", "en"]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipient=values, name=st.sampled_from(LETTERS), mode=st.sampled_from(TrackingMode))
def test_the_shipped_letters_read_the_same_compiled(
    runtime: Runtime,
    letters: dict[str, CampaignLetter],
    recipient: RecipientValues,
    name: str,
    mode: TrackingMode,
) -> None:
    letter = replace(letters[name], tracking=mode)
    if letter.event_slug and not letter.events[0].time:
        letter = replace(letter, events=(replace(letter.events[0], time=NOW.time()),))
    writer, compiled, plain = both_ways(
        runtime, letter, Addressee(5, "a@b.example", recipient, None, "KL")
    )

    assert writer.per_recipient_because is None
    ours, theirs = reads(message_from_bytes(compiled)), reads(message_from_bytes(plain))
    assert ours[0] == theirs[0]
    assert ours[1].rstrip() == theirs[1].rstrip()
    if not any("\0" in str(value) for value in (recipient.name, recipient.organisation)):
        assert ours[2] == theirs[2]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipient=values)
def test_the_wire_is_clean_whatever_the_values(
    runtime: Runtime, letters: dict[str, CampaignLetter], recipient: RecipientValues
) -> None:
    to = Addressee(5, "a@b.example", recipient, None, None)
    _, compiled, _ = both_ways(runtime, letters["startpakke"], to)
    lines = compiled.split(b"\r\n")
    body = lines[lines.index(b"") :]
    assert max(len(line) for line in body) <= 78
    assert not any(line.startswith(b".") for line in lines)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", compiled)


def own_letter(letters: dict[str, CampaignLetter], text: str) -> CampaignLetter:
    source = LetterSource(
        "egen", {"subject.txt": "Emne", "body.txt": text, "body.html": f"<body>{text}</body>"}, {}
    )
    return replace(letters["startpakke"], letter=Letter(source))


@pytest.mark.parametrize(
    ("template", "because"),
    [
        ("{{ recipient.name|upper }}", "it does more with recipient.name than print it"),
        ("{{ recipient }}", "it uses the recipient as a whole"),
    ],
)
def test_what_cannot_be_compiled_is_rendered_per_recipient_and_says_why(
    runtime: Runtime, letters: dict[str, CampaignLetter], template: str, because: str
) -> None:
    to = Addressee(5, "a@b.example", PLAIN, None, None)
    writer, compiled, plain = both_ways(runtime, own_letter(letters, template), to)
    assert writer.per_recipient_because == because
    assert compiled == plain


@pytest.mark.parametrize(
    "template",
    [
        "{% filter upper %}{% block b %}{% endblock %}{% endfilter %}{{ recipient.name }}",
        "{% if recipient.name %}A {{ recipient.name }}{% else %}B{% endif %} {{ recipient.workplace }}",
        "{{ recipient.attributes.nr }}{{ recipient.name }}{{ recipient.name }}\n.{{ recipient.name }}",
        "{{ recipient.name or recipient.organisation }}{% for e in events %}{{ e.place }}{% endfor %}",
        "{% macro m(x) %}<i>{{ x }}</i>{% endmacro %}{{ m(recipient.role) }}{{ recipient.name }}",
        "{{ recipient.sector|upper }} {{ links.pack }} {{ recipient.name }}",
    ],
)
@pytest.mark.parametrize("name", [*HOSTILE, None, ""])
def test_any_template_reads_the_same_compiled(
    runtime: Runtime, letters: dict[str, CampaignLetter], template: str, name: str | None
) -> None:
    to = Addressee(5, "a@b.example", replace(PLAIN, name=name), None, None)
    writer, compiled, plain = both_ways(runtime, own_letter(letters, template), to)
    assert writer.per_recipient_because is None
    ours, theirs = reads(message_from_bytes(compiled)), reads(message_from_bytes(plain))
    assert ours[:2] == theirs[:2]
    if "\0" not in (name or ""):
        assert ours[2] == theirs[2]


def test_variants_are_few(runtime: Runtime, letters: dict[str, CampaignLetter]) -> None:
    writer = LetterWriter(runtime.letter_tools, letters["startpakke"])
    for number in range(200):
        recipient = replace(PLAIN, name=f"Navn {number}", workplace=f"Skole {number}")
        writer.write(Addressee(number + 1, f"p{number}@b.example", recipient, None, None))
    (compiled,) = writer._compiled.values()
    assert len(compiled.variants) == 1
