"""Compiled letters decode to what plain Jinja2 and the standard library would have made."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from email import message_from_bytes, message_from_string
from email.header import decode_header, make_header
from email.message import Message as Parsed
from email.utils import getaddresses
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.campaigns.models import CampaignState, Link
from mailer.embedded.mailstore import RECORD
from mailer.events.importing import import_events
from mailer.foundation.clock import Clock
from mailer.foundation.database import open_database
from mailer.foundation.settings import TrackingMode, load_settings
from mailer.migrations.upgrading import upgrade_schema
from mailer.rendering import compiled as compiling
from mailer.rendering import headers
from mailer.rendering.enclosures import Enclosure
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.rendering.letter import Letter
from mailer.rendering.source import LetterSource
from mailer.rendering.values import Attributes, RecipientValues
from mailer.runtime import Runtime, template_folders
from mailer.sending.addressees import Addressee
from mailer.sending.frozen import CampaignLetter, FrozenChange, open_letter
from mailer.sending.letters import (
    Message,
    letter_values,
    render_letter,
    tracked_position,
    write_message,
)
from mailer.sending.preparing import prepare_letter
from mailer.sending.variants import variant_of
from mailer.sending.viewing import pass_on_letter
from mailer.sending.writer import LetterWriter
from mailer.smtp.envelope import Envelope, Mail, ascii_domain
from mailer.smtp.pool import RelayPool
from mailer.smtp.relays import parse_relay
from mailer.tracking.tokens import Grant, Purpose, Tokens
from recipients.models import TrackingChoice
from tests.conftest import NOW, SECRET_KEY, SUPPRESSION_KEY
from tests.embedded.talking import serving
from tests.making import make_campaign
from tests.sending.template_grammar import (
    ANY_USE,
    COMPILABLE,
    FILTERS,
    HOSTILE,
    MACROS,
    PARTS,
    PLAIN,
    addresses,
    hostile_text,
    recipients,
)
from tests.smtp.scripted import Account
from tests.smtp.scripted import Letter as Mailed
from tests.smtp.talking import QUICK

LETTERS = (
    *("aendring", "aflysning", "afmelding", "invitation-igen", "paamindelse", "paamindelse-dagen-foer"),
    *("plads", "stadig-plads", "startpakke", "tilmelding", "venteliste", "vi-ses"),
)
PLANNED = [
    *("From", "Date", "List-Id", "List-Unsubscribe-Post", "Feedback-ID", "MIME-Version", "Content-Type"),
    *("To", "Reply-To", "Subject", "Message-ID", "List-Unsubscribe"),
]
property_of_letters = settings(max_examples=40)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """One for all tests: none of them changes anything, and what is written depends on no database."""
    settings_of_tests = load_settings(
        state_dir=tmp_path_factory.mktemp("state"),
        secret_key=SECRET_KEY,
        suppression_key=SUPPRESSION_KEY,
        sender="Center for Offentlig Innovation <brev@coi.example>",
    )
    database = open_database(settings_of_tests.database)
    upgrade_schema(database)
    yield Runtime(settings_of_tests, database, Clock(), Tokens(settings_of_tests.signing_keys))
    database.dispose()


@pytest.fixture(scope="module")
def letters(runtime: Runtime) -> dict[str, CampaignLetter]:
    """The shipped letters, as a campaign freezes them."""
    events = Path(template_folders(runtime.settings)[-1]) / "letters/startpakke/events.toml"
    with runtime.database.write() as db:
        import_events(db, events, NOW)
    with runtime.database.read() as db:
        return {
            name: prepare_letter(
                runtime.letter_tools,
                db,
                make_campaign(db, letter=name),
                now=NOW,
                about=None if name == "startpakke" else "hovedstaden",
            )
            for name in LETTERS
        }


def somebody(
    values: RecipientValues = PLAIN, *, position: int = 5, email: str = "a@b.example", **more: object
) -> Addressee:
    told = {"tracking": None, "source": None, **more}
    return Addressee(position, email, "b.example", values, **told)  # type: ignore[arg-type]


def own_letter(
    like: CampaignLetter,
    text: str,
    *,
    subject: str = "Emne",
    enclosures: tuple[Enclosure, ...] = (),
    **files: str,
) -> CampaignLetter:
    """A letter with the same template as text and as HTML."""
    html = f"<!doctype html><html><head><title>t</title></head><body><div>{text}</div></body></html>"
    source = LetterSource(
        "egen",
        {
            "subject.txt": MACROS + subject,
            "body.txt": MACROS + text,
            "body.html": MACROS + html,
            **PARTS,
            **files,
        },
        {},
        enclosures,
    )
    return replace(like, letter=Letter(source))


class Reading(HTMLParser):
    """What a reader of the HTML meets: tags with their attributes, and words between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.met: list[str] = []
        self._data = ""
        self.feed(html)
        self.close()
        self._end_data()

    def handle_data(self, data: str) -> None:
        self._data += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._end_data()
        if tag != "img":  # the pixel is no part of the template
            self.met += [f"<{tag}>", *[f"{name}={value}" for name, value in attrs]]

    def handle_endtag(self, tag: str) -> None:
        self._end_data()
        self.met.append(f"</{tag}>")

    def _end_data(self) -> None:
        if self._data.strip():
            self.met.append(self._data)
        self._data = ""


def as_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def as_met(html: str) -> list[str]:
    """The HTML as read, whatever became of characters that HTML does not have (NUL)."""
    return Reading(re.sub("[\0\ufffd]", "", as_lines(html))).met


def unfolded(message: Parsed, name: str) -> str:
    return re.sub(r"\r?\n(?=[ \t])", "", message[name])


def decoded(value: str) -> str:
    return str(make_header(decode_header(value)))


def in_one_line(text: str) -> list[str]:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text).split()


def assert_reads_as_rendered(
    runtime: Runtime, letter: CampaignLetter, to: Addressee, data: bytes
) -> None:
    """The bytes decode to what plain Jinja2 writes, under exactly the planned headers."""
    tracked_as = tracked_position(letter.tracking, to)
    values = letter_values(runtime.letter_tools, letter, to, tracked_as)
    subject, text, html = letter.letter.render_parts(values)
    message = message_from_string(data.decode())  # an address may be in UTF-8 (RFC 6532 §3.2)
    plain, formatted = message.get_payload()  # type: ignore[misc]

    expected = list(PLANNED)
    if letter.auto_submitted:
        expected.insert(5, "Auto-Submitted")
    assert message.keys() == expected
    assert in_one_line(decoded(unfolded(message, "Subject"))) == in_one_line(subject)
    address = ascii_domain(to.email)
    header = unfolded(message, "To")
    if header != address:
        assert header.endswith(f" <{address}>")
        ((name, _),) = getaddresses([f"{header.removesuffix(f'<{address}>')}<a@b.example>"])
        assert in_one_line(decoded(name)) == in_one_line(to.values.name or "")
    else:
        assert not in_one_line(to.values.name or "")
    written = as_lines(plain.get_payload(decode=True).decode())
    assert written.removesuffix("\n") == as_lines(text).removesuffix("\n")
    assert as_met(formatted.get_payload(decode=True).decode()) == as_met(html)


def assert_clean_on_the_wire(data: bytes, envelope: Envelope) -> None:
    head, _, body = data.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 998
    if not envelope.recipient.isascii():
        data = data.replace(envelope.recipient.encode(), b"", 1)
    assert re.fullmatch(rb"[\t\r\n\x20-\x7e]*", data)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", data)
    assert max(map(len, body.split(b"\r\n"))) <= 76
    assert not any(line.startswith(b".") for line in data.split(b"\r\n"))
    assert data.endswith(b"\r\n")


def write_and_compare(
    runtime: Runtime, letter: CampaignLetter, audience: Sequence[Addressee]
) -> LetterWriter:
    """Write to all with one writer: each letter reads as rendered, or fails as rendering fails."""
    writer = LetterWriter(runtime.letter_tools, letter)
    for to in audience:
        try:
            rendered = render_letter(runtime.letter_tools, letter, to)
            plain = write_message(runtime.letter_tools, letter, to, rendered)
        except (RecipientValueError, LetterError, UnicodeError) as error:
            with pytest.raises(UnicodeError if isinstance(error, UnicodeError) else type(error)):
                writer.write(to)
            continue
        message = writer.write(to)
        assert (message.position, message.envelope, message.message_id) == (
            plain.position,
            plain.envelope,
            plain.message_id,
        )
        assert message_from_bytes(message.data).items() == message_from_bytes(plain.data).items()
        assert_reads_as_rendered(runtime, letter, to, message.data)
        assert_clean_on_the_wire(message.data, message.envelope)
    return writer


audiences = st.lists(st.tuples(recipients, addresses), min_size=1, max_size=3).map(
    lambda people: [
        somebody(values, position=number, email=f"p{number}@b.example" if email is None else email)
        for number, (values, email) in enumerate(people, start=5)
    ]
)


@property_of_letters
@given(template=ANY_USE.templates(), subject=ANY_USE.templates(), audience=audiences)
def test_any_letter_reads_as_rendered(
    runtime: Runtime,
    letters: dict[str, CampaignLetter],
    template: str,
    subject: str,
    audience: list[Addressee],
) -> None:
    write_and_compare(runtime, own_letter(letters["startpakke"], template, subject=subject), audience)


@property_of_letters
@given(template=COMPILABLE.templates(), audience=audiences)
def test_a_letter_that_only_prints_what_is_free_is_compiled_and_reads_as_rendered(
    runtime: Runtime, letters: dict[str, CampaignLetter], template: str, audience: list[Addressee]
) -> None:
    writer = write_and_compare(runtime, own_letter(letters["startpakke"], template), audience)
    assert writer.per_recipient_because is None


@pytest.mark.parametrize("name", FILTERS)
def test_a_filtered_value_reads_as_rendered_or_fails_that_recipient_alone(
    runtime: Runtime, letters: dict[str, CampaignLetter], name: str
) -> None:
    letter = own_letter(
        letters["startpakke"],
        f"{{{{ recipient.name|{name} }}}} {{{{ recipient.role|default('')|{name} }}}}",
    )
    odd = [None, "", *HOSTILE[::4]]
    write_and_compare(runtime, letter, [somebody(replace(PLAIN, name=value)) for value in odd])


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A strict mail server with its record, and its port."""
    folder = tmp_path_factory.mktemp("sink")
    with serving(folder, keep=10_000) as port:
        yield folder, port


async def hand_over(mails: Sequence[Mail], port: int, options: str) -> Account:
    relay = parse_relay(f"smtp://127.0.0.1:{port}?starttls=never&connections=2&{options}")
    account = Account(mails)  # type: ignore[arg-type]
    pool = RelayPool([relay], greet_as="brev.example", patience=QUICK)
    await pool.send(account)
    await pool.close()
    return account


@settings(max_examples=50)
@given(
    letter=st.one_of(
        st.sampled_from(LETTERS),
        st.tuples(COMPILABLE.templates(), st.sampled_from(["Til {{ recipient.name }}", "x"])),
        st.tuples(ANY_USE.templates(), ANY_USE.templates()),
    ),
    audience=audiences,
    options=st.sampled_from(["chunking=1", "chunking=4"]),
)
def test_each_letter_that_leaves_is_one_message_at_the_relay_and_reads_as_rendered(
    runtime: Runtime,
    letters: dict[str, CampaignLetter],
    sink: tuple[Path, int],
    letter: str | tuple[str, str],
    audience: list[Addressee],
    options: str,
) -> None:
    """Whatever stands in values and addresses: nobody else gets a letter, and nobody gets two."""
    if isinstance(letter, str):
        sent = with_all_there_is(letters[letter], hosted=True)
    else:
        sent = own_letter(letters["startpakke"], letter[0], subject=letter[1])
    writer = LetterWriter(runtime.letter_tools, sent)
    written: dict[str, tuple[Addressee, Message]] = {}
    for to in audience:
        with suppress(RecipientValueError, LetterError, UnicodeError):
            message = writer.write(to)
            written[message.envelope.recipient] = to, message
    folder, port = sink
    record = folder / RECORD
    before = len(record.read_text().splitlines())

    mails = [Mailed(message.envelope, message.data) for _, message in written.values()]
    account = asyncio.run(hand_over(mails, port, options))

    assert not account.out
    assert len(account.told) == len(written), "each came back, and once"
    rows = [line.split("\t") for line in record.read_text().splitlines()[before:]]
    taken = [to for to, code in account.codes.items() if code == 250]
    assert sorted(row[1] for row in rows) == sorted(taken)
    assert {to for to in written if is_usual(to)} <= {*taken}
    for _, recipient, message_id, sender, _, file in rows:
        to, message = written[recipient]
        assert (sender, message_id) == (message.envelope.sender, f"<{message.message_id}>")
        data = (folder / file).read_bytes()
        assert data == message.data
        if isinstance(letter, tuple):
            assert_reads_as_rendered(runtime, sent, to, data)


def is_usual(address: str) -> bool:
    """Whether any relay knows such addresses."""
    return re.fullmatch(r"[\w.+'-]{1,64}@[a-z0-9.-]+\.example", address, re.ASCII) is not None


def assert_compiled_as_rendered(
    runtime: Runtime, letter: CampaignLetter, audience: Sequence[Addressee]
) -> None:
    """Every copy is filled into a compiled variant, and reads as rendering and composing it would."""
    writer = LetterWriter(runtime.letter_tools, letter)
    for to in audience:
        rendered = render_letter(runtime.letter_tools, letter, to)
        try:
            message = writer.write(to)
        except UnicodeError:
            with pytest.raises(UnicodeError):
                write_message(runtime.letter_tools, letter, to, rendered)
            continue
        data = message.data
        plain = message_from_bytes(write_message(runtime.letter_tools, letter, to, rendered).data)
        ours = message_from_bytes(data)
        assert ours.items() == plain.items()
        for mine, theirs in zip(ours.walk(), plain.walk(), strict=True):
            assert mine.items() == theirs.items()
            if not mine.is_multipart():
                read = [as_lines(part.get_payload(decode=True).decode()) for part in (mine, theirs)]
                assert as_met(read[0]) == as_met(read[1])
        assert_clean_on_the_wire(data, message.envelope)
    assert writer.per_recipient_because is None


def with_all_there_is(letter: CampaignLetter, *, hosted: bool) -> CampaignLetter:
    """A letter about one event that has a time, a page of ours or not, and changes to tell of."""
    if letter.event_slug is None:
        return letter
    event = replace(letter.events[0], time=NOW.time(), hosted=hosted)
    changes = (
        FrozenChange("date", "2014-03-31", event.date.isoformat()),
        FrozenChange("place", None, event.place),
        FrozenChange("state", "open", "moved"),
    )
    return replace(letter, events=(event,), changes=changes)


@property_of_letters
@given(
    name=st.sampled_from(LETTERS),
    mode=st.sampled_from(TrackingMode),
    hosted=st.booleans(),
    audience=audiences,
)
def test_the_shipped_letters_are_compiled_and_read_as_rendered(
    runtime: Runtime,
    letters: dict[str, CampaignLetter],
    name: str,
    mode: TrackingMode,
    hosted: bool,
    audience: list[Addressee],
) -> None:
    letter = replace(with_all_there_is(letters[name], hosted=hosted), tracking=mode)
    assert_compiled_as_rendered(runtime, letter, audience)


@pytest.mark.parametrize("name", LETTERS)
def test_every_shipped_letter_is_compiled_for_every_kind_of_reader(
    runtime: Runtime, letters: dict[str, CampaignLetter], name: str
) -> None:
    audience = [
        somebody(replace(PLAIN, name=person, role=role, organisation=office, language=language))
        for language in ("da", "en")
        for person, role, office in (
            ("Åse <Ærø>", "borgmester", None),
            (None, "regionsformand", None),
            (None, "fagforening", "FTF & OAO"),
            ("Ib Holm", "leder", "Aarhus"),
        )
    ]
    assert_compiled_as_rendered(runtime, with_all_there_is(letters[name], hosted=True), audience)


@pytest.mark.parametrize(
    "template",
    [
        "{{ recipient.name }}",
        "{{ recipient.name }}\n.{{ recipient.name }}{{ recipient.name }}",
        ".{{ recipient.name }}.\n{{ recipient.name }} \n",
        "=\n{{ recipient.name }}=",
        '<a title="{{ recipient.name }}" href="/?n={{ recipient.name }}">{{ recipient.name }}</a>',
    ],
)
@pytest.mark.parametrize("name", [*HOSTILE, None, ""])
def test_a_hostile_value_reads_as_rendered_wherever_it_is_printed(
    runtime: Runtime, letters: dict[str, CampaignLetter], template: str, name: str | None
) -> None:
    letter = own_letter(letters["startpakke"], template, subject="Til {{ recipient.name }}!")
    writer = write_and_compare(runtime, letter, [somebody(replace(PLAIN, name=name))])
    assert writer.per_recipient_because is None


@pytest.mark.parametrize(
    ("template", "because"),
    [
        ("{{ recipient.name|upper }}", "the letter filters `recipient.name`"),
        (
            "{% filter upper %}{{ recipient.workplace }}{% endfilter %}",
            "the letter prints `recipient.workplace` in a filter block",
        ),
        (
            "{% macro m() %}{{ recipient.name }}{% endmacro %}{{ m() }}",
            "the letter prints `recipient.name` in a macro",
        ),
        (
            "{% filter upper %}{% include 'part.html' %}{% endfilter %}",
            "the letter includes a part inside a filter block",
        ),
        ("{% for c in recipient.name %}{{ c }}{% endfor %}", "the letter loops over `recipient.name`"),
        (
            "{{ recipient.attributes.nr ~ '' }}",
            "the letter joins `recipient.attributes.nr` with something",
        ),
        ("{{ recipient }}", "the letter uses the recipient as a whole"),
    ],
)
def test_what_cannot_be_compiled_is_rendered_per_recipient_and_says_why(
    runtime: Runtime, letters: dict[str, CampaignLetter], template: str, because: str
) -> None:
    letter = own_letter(letters["startpakke"], template)
    writer = write_and_compare(runtime, letter, [somebody()])
    assert writer.per_recipient_because == because
    assert LetterWriter(runtime.letter_tools, letter).why_per_recipient(somebody()) == because


@pytest.mark.parametrize(
    "html",
    [
        "<p style='color: {{ recipient.name }}'>x</p>",
        "<p title={{ recipient.name }}>x</p>",
        "<{{ recipient.name }}>x",
        "<p {{ recipient.name }}>x</p>",
        "<p>&{{ recipient.name }};</p>",
        "<p>&#3{{ recipient.name }};</p>",
    ],
)
@pytest.mark.parametrize("name", ["amp", "red; background: url(x)", "p onclick=x"])
def test_a_value_where_html_would_read_more_into_it_is_never_filled_in(
    runtime: Runtime, letters: dict[str, CampaignLetter], html: str, name: str
) -> None:
    letter = own_letter(letters["startpakke"], html)
    to = somebody(replace(PLAIN, name=name))
    rendered = render_letter(runtime.letter_tools, letter, to)
    message = message_from_bytes(LetterWriter(runtime.letter_tools, letter).write(to).data)
    written = message.get_payload(1).get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert Reading(written).met == Reading(rendered.html).met


@pytest.mark.parametrize(
    "link", ["links.pack|upper", "links.unsubscribe|replace('1', '2')", "links.pass_on|truncate(30)"]
)
def test_a_letter_that_changes_a_link_is_rendered_per_recipient(
    runtime: Runtime, letters: dict[str, CampaignLetter], link: str
) -> None:
    letter = own_letter(letters["startpakke"], f"{{{{ {link} }}}}")
    writer = write_and_compare(runtime, letter, [somebody()])
    assert writer.per_recipient_because == "the letter does not read the same when compiled"


def test_a_link_in_the_subject_is_rendered_per_recipient(
    runtime: Runtime, letters: dict[str, CampaignLetter]
) -> None:
    letter = own_letter(letters["startpakke"], "x", subject="{{ links.browser }}")
    writer = write_and_compare(runtime, letter, [somebody()])
    assert writer.per_recipient_because == "the letter has a link in its subject"


def test_an_attribute_is_missed_only_where_it_is_asked_for(
    runtime: Runtime, letters: dict[str, CampaignLetter]
) -> None:
    text = "{% if recipient.role == 'leder' %}{{ recipient.attributes.nr }}{% endif %}."
    letter = own_letter(letters["startpakke"], text)
    people = [
        replace(PLAIN, role=role, attributes=Attributes(attributes))
        for role in ("leder", "andet")
        for attributes in ({"nr": 1}, {}, {"nr": True}, {"nr": None}, {})
    ]
    writer = write_and_compare(runtime, letter, [somebody(values) for values in people])
    assert writer.per_recipient_because is None
    assert writer.needs.attributes
    with pytest.raises(RecipientValueError, match="nr"):
        writer.write(somebody(people[1]))


def test_a_letter_that_prints_the_language_is_still_written_in_it(
    runtime: Runtime, letters: dict[str, CampaignLetter]
) -> None:
    letter = own_letter(
        letters["startpakke"],
        "Hej {{ recipient.language }}",
        **{"en/body.txt": "Hi {{ recipient.language }}"},
    )
    writer = LetterWriter(runtime.letter_tools, letter)
    texts = [
        message_from_bytes(writer.write(somebody(replace(PLAIN, language=language))).data)
        .get_payload(0)
        .get_payload(decode=True)  # type: ignore[union-attr]
        for language in ("da", "en", "da")
    ]
    assert texts == [b"Hej da", b"Hi en", b"Hej da"]


@pytest.mark.parametrize("choice", [None, *TrackingChoice])
@pytest.mark.parametrize("mode", TrackingMode)
def test_every_token_names_whom_it_may_and_no_more(
    runtime: Runtime,
    letters: dict[str, CampaignLetter],
    mode: TrackingMode,
    choice: TrackingChoice | None,
) -> None:
    letter = replace(letters["startpakke"], tracking=mode)
    to = somebody(position=800_000, tracking=choice)
    writer = LetterWriter(runtime.letter_tools, letter)
    message = writer.write(to)
    assert writer.per_recipient_because is None
    parsed = message_from_bytes(message.data)
    text = "".join(part.get_payload(decode=True).decode() for part in parsed.get_payload())  # type: ignore[union-attr]
    tokens, campaign = runtime.tokens, letter.campaign_id

    delivery, nobody = Grant(campaign, 800_000), Grant(campaign, 0)
    tracked = tracked_position(mode, to)
    for door, purpose in (("o", Purpose.OPEN), ("c", Purpose.CLICK)):
        found = set(re.findall(rf"/{door}/([0-9a-z-]+)", text))
        assert bool(found) == (mode is not TrackingMode.NONE)
        assert all(tokens.verify(purpose, token) == (delivery if tracked else nobody) for token in found)
    for door, purpose in (("v", Purpose.VIEW), ("u", Purpose.UNSUBSCRIBE), ("r", Purpose.REMIND)):
        (token,) = set(re.findall(rf"/{door}/([0-9a-z-]+)", text))
        assert tokens.verify(purpose, token) == delivery
    (token,) = set(re.findall(r"/p/([0-9a-z-]+)", text))
    assert tokens.verify(Purpose.PASS_ON, token) == Grant(campaign, variant_of(PLAIN))
    (token,) = set(re.findall(r"/u/([0-9a-z-]+)", text))
    assert parsed["List-Unsubscribe"] == (
        f"<{runtime.settings.public_url}/u/{token}>,"
        f" <mailto:bounce+{token}@coi.example?subject=unsubscribe>"
    )
    (returned,) = re.findall(r"\+(.*)@", message.envelope.sender)
    assert tokens.verify_from_address(Purpose.BOUNCE, returned.upper()) == delivery
    token, _, _ = message.message_id.partition("@")
    assert tokens.verify_from_address(Purpose.MESSAGE_ID, token) == delivery
    assert parsed["Message-ID"] == f"<{message.message_id}>"


def test_answers_go_to_the_party_whose_list_it_was(
    runtime: Runtime, letters: dict[str, CampaignLetter]
) -> None:
    plain = LetterWriter(runtime.letter_tools, letters["startpakke"])
    assert not plain.needs.source
    parties = {"KL": "svar@kl.example", "default": "svar@coi.example"}
    tools = replace(
        runtime.letter_tools, settings=runtime.settings.model_copy(update={"reply_to": parties})
    )
    writer = LetterWriter(tools, letters["startpakke"])
    assert writer.needs.source
    answers = [
        message_from_bytes(writer.write(somebody(source=source)).data)["Reply-To"]
        for source in ("KL", "FTF", None)
    ]
    assert answers == ["svar@kl.example", "svar@coi.example", "svar@coi.example"]


def test_files_go_along_compiled_and_rendered_alike(
    runtime: Runtime, letters: dict[str, CampaignLetter]
) -> None:
    logo = Enclosure("logo.png", "image/png", "iVBORw0KGgo=", "logo")
    file = Enclosure("Bilag på dansk.pdf", "application/pdf", "JVBERi0xLjc=")
    image = '<img src="{{ links.inline.logo }}">'
    for text in ("{{ recipient.name }}", "{{ recipient.name|upper }}"):
        letter = own_letter(letters["startpakke"], text + image, enclosures=(logo, file))
        to = somebody()
        plain = write_message(
            runtime.letter_tools, letter, to, render_letter(runtime.letter_tools, letter, to)
        )
        message = message_from_bytes(LetterWriter(runtime.letter_tools, letter).write(to).data)
        oracle = message_from_bytes(plain.data)
        parts = [part.get_payload(decode=True) for part in message.walk()]
        assert [part.get_content_type() for part in message.walk()] == [
            *("multipart/mixed", "multipart/alternative", "text/plain"),
            *("multipart/related", "text/html", "image/png", "application/pdf"),
        ]
        assert b"cid:logo@coi.example" in parts[4]  # type: ignore[operator]
        assert parts[5:] == [b"\x89PNG\r\n\x1a\n", b"%PDF-1.7"]
        assert parts == [part.get_payload(decode=True) for part in oracle.walk()]


def test_files_are_frozen_with_the_campaign_and_images_shown_in_a_browser(
    runtime: Runtime, letters: dict[str, CampaignLetter]
) -> None:
    logo = Enclosure("logo.png", "image/png", "iVBORw0KGgo=", "logo")
    letter = own_letter(letters["startpakke"], '<img src="{{ links.inline.logo }}">', enclosures=(logo,))
    with runtime.database.write() as db:
        campaign = make_campaign(db)
        campaign.state = CampaignState.FINISHED
        campaign.frozen_letter = json.loads(json.dumps(letter.frozen))
        campaign.dated_at = NOW
        db.add_all(Link(campaign_id=campaign.id, **asdict(link)) for link in letter.links.values())
        db.flush()
        assert open_letter(db, campaign).letter.source.enclosures == (logo,)
        shown = pass_on_letter(runtime.letter_tools, db, campaign.id, 0)
    assert shown is not None
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in shown.rendered.html


def test_variants_are_few(runtime: Runtime, letters: dict[str, CampaignLetter]) -> None:
    writer = LetterWriter(runtime.letter_tools, letters["startpakke"])
    for number in range(200):
        recipient = replace(PLAIN, name=f"Navn {number}", workplace=f"Skole {number}")
        writer.write(somebody(recipient, position=number + 1))
    (compiled,) = writer._compiled.values()
    assert len(compiled.variants) == 1
    assert not writer.needs.attributes


def test_what_a_writer_keeps_is_bounded(
    runtime: Runtime, letters: dict[str, CampaignLetter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_KEPT", 5)
    letter = own_letter(
        letters["startpakke"], "{% if recipient.organisation == 'KL' %}Hej Eva{% else %}Hej{% endif %}"
    )
    writer = LetterWriter(runtime.letter_tools, letter)
    for number in range(50):
        writer.write(somebody(replace(PLAIN, organisation=f"By {number}")))
    (compiled,) = writer._compiled.values()
    assert len(compiled._seen) <= 5
    assert len(compiled.variants) == 1
    for cache in (compiling.encode_text, compiling.encode_html, headers._begin_mailbox):
        assert cache.cache_parameters()["maxsize"] <= 8_192


def test_a_letter_with_too_many_variants_is_rendered_per_recipient(
    runtime: Runtime, letters: dict[str, CampaignLetter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_MOST_VARIANTS", 3)
    letter = own_letter(letters["startpakke"], "{{ recipient.organisation|upper }}")
    people = [somebody(replace(PLAIN, organisation=f"Kommune {number}")) for number in range(4)]
    writer = write_and_compare(runtime, letter, people)
    assert writer.per_recipient_because == "the letter has more than 3 variants"


@property_of_letters
@given(name=hostile_text, subject=hostile_text)
def test_the_same_value_reads_the_same_the_second_time(
    runtime: Runtime, letters: dict[str, CampaignLetter], name: str, subject: str
) -> None:
    letter = own_letter(letters["startpakke"], "{{ recipient.name }}{{ recipient.workplace }}")
    writer = LetterWriter(runtime.letter_tools, letter)
    to = somebody(replace(PLAIN, name=name, workplace=subject))
    assert writer.write(to).data == writer.write(to).data


@property_of_letters
@given(audience=audiences, position=st.integers(0, 2_000_000))
def test_a_letter_weighs_what_is_written(
    runtime: Runtime,
    letters: dict[str, CampaignLetter],
    audience: list[Addressee],
    position: int,
) -> None:
    writer = LetterWriter(runtime.letter_tools, letters["startpakke"])
    for to in [*audience, *(replace(to, position=position) for to in audience)]:
        try:
            size = len(writer.write(to).data)
        except (RecipientValueError, LetterError, UnicodeError) as failed:
            with pytest.raises(UnicodeError if isinstance(failed, UnicodeError) else type(failed)):
                writer.weigh(to)
        else:
            assert writer.weigh(to)[1] == size
