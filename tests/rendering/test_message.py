"""The bytes decode to what was meant, whatever stands in a recipient's data."""

import quopri
import re
from dataclasses import replace
from datetime import datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.rendering import headers
from mailer.rendering.letter import RenderedLetter
from mailer.rendering.message import (
    CommonFields,
    PersonalFields,
    compose,
    quoted_printable,
    quoted_printable_piece,
)

COMMON = CommonFields(
    from_name="Center for Offentlig Innovation",
    from_address="brev@coi.example",
    date=datetime(2014, 3, 7, 9, 0, tzinfo=ZoneInfo("Europe/Copenhagen")),
    list_id="coi.example",
    feedback_id="1:letter:coi.example",
    auto_submitted=False,
)
PERSONAL = PersonalFields(
    to_name="Åse Bjørnsdóttir Sørensen",
    to_address="aase@kommune.example",
    reply_to="svar@kl.example",
    message_id="abc@coi.example",
    unsubscribe_url="https://post.coi.example/u/" + "t" * 40,
    unsubscribe_mailto="mailto:bounce+xyz@coi.example?subject=unsubscribe",
)
PLANNED = [
    "From",
    "Date",
    "List-Id",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "MIME-Version",
    "Content-Type",
    "To",
    "Reply-To",
    "Subject",
    "Message-ID",
    "List-Unsubscribe",
]
HOSTILE = [
    "a\r\nBcc: x@evil.example",
    "a\nBcc: x@evil.example",
    "a\rBcc: x@evil.example",
    "=?utf-8?q?=0ABcc:_x@evil.example?=",
    "nul\0byte",
    ".",
    "\u2028Bcc: x@evil.example",
    'quote " and \\ backslash',
    "x" * 300,
    "å" * 300,
    "emoji 🏛️ ok",
    "\u202eright to left",
    "{{ recipient.name }}",
    "<script>alert(1)</script>",
    "a, b; c: d <e@f.example>",
    "\ud800 lone surrogate",
]
text_values = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=120))


def letter(subject: str = "Emne", text: str = "Hej\n", html: str = "<p>Hej</p>") -> RenderedLetter:
    return RenderedLetter(subject, text, html)


def decoded(value: str) -> str:
    return str(make_header(decode_header(value)))


def unfolded(message: Message, name: str) -> str:
    return re.sub(r"\r?\n(?=[ \t])", "", message[name])


@settings(max_examples=150, deadline=None)
@given(name=text_values, subject=text_values)
def test_no_value_adds_a_header_or_breaks_one(name: str, subject: str) -> None:
    data = compose(letter(subject), COMMON, replace(PERSONAL, to_name=name))
    head = data.split(b"\r\n\r\n")[0].decode("ascii")
    message = message_from_bytes(data)

    assert message.keys() == PLANNED
    assert all(len(line) <= 78 or line.startswith("List-Unsub") for line in head.split("\r\n"))
    assert not re.search(r"[^\r\n\x20-\x7e]", head)
    assert decoded(unfolded(message, "Subject")).split() == headers.clean(subject).split()
    (address,) = getaddresses([unfolded(message, "To")])
    assert address[1] == PERSONAL.to_address
    assert decoded(address[0]).split() == headers.clean(name).split()


@settings(max_examples=150, deadline=None)
@given(text=text_values)
def test_bodies_decode_to_what_was_written(text: str) -> None:
    data = compose(letter(text=text, html=f"<p>{text}</p>"), COMMON, PERSONAL)
    plain, html = message_from_bytes(data).get_payload()  # type: ignore[misc]
    meant = re.sub(r"\r\n|\r", "\n", re.sub(r"[\ud800-\udfff]", "\ufffd", text))

    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", data)
    got = plain.get_payload(decode=True).decode().replace("\r\n", "\n")
    assert got.rstrip("\n") == meant.rstrip("\n")
    assert "charset" in plain["Content-Type"]
    got = html.get_payload(decode=True).decode().replace("\r\n", "\n")
    assert got.rstrip("\n") == f"<p>{meant}</p>".rstrip("\n")


def test_names_and_subjects_in_danish_are_encoded_words_of_at_most_75_characters() -> None:
    data = compose(
        letter("Startpakken er klar: vær med til at forny ældreplejen på Ærø"), COMMON, PERSONAL
    )
    words = re.findall(rb"=\?[^ ]*\?=", data)
    assert words
    assert max(len(word) for word in words) <= 75
    assert message_from_bytes(data)["From"] == "Center for Offentlig Innovation <brev@coi.example>"


def test_the_list_unsubscribe_header_stays_on_one_line() -> None:
    data = compose(letter(), COMMON, PERSONAL)
    (line,) = [line for line in data.split(b"\r\n") if line.startswith(b"List-Unsubscribe:")]
    assert line.decode() == (
        f"List-Unsubscribe: <{PERSONAL.unsubscribe_url}>, <{PERSONAL.unsubscribe_mailto}>"
    )


def test_a_copy_is_the_same_bytes() -> None:
    assert compose(letter(), COMMON, PERSONAL) == compose(letter(), COMMON, PERSONAL)


def test_a_reminder_says_that_nobody_pressed_a_button() -> None:
    message = message_from_bytes(compose(letter(), replace(COMMON, auto_submitted=True), PERSONAL))
    assert message["Auto-Submitted"] == "auto-generated"


def test_a_header_of_our_own_refuses_what_it_must_not_hold() -> None:
    with pytest.raises(ValueError, match="Message-ID"):
        headers.structured("Message-ID", "a\r\nBcc: b")


@pytest.mark.parametrize("blank", [" ", "\t"])
@pytest.mark.parametrize("after", ["", "\n", "\nmore"])
def test_a_blank_at_the_end_of_a_line_makes_it_no_longer(blank: str, after: str) -> None:
    for length in range(60, 160):
        text = "x" * length + blank + after
        encoded = quoted_printable_piece(text)
        assert max(map(len, encoded.split(b"\r\n"))) <= 76
        assert quopri.decodestring(encoded).decode().replace("\r\n", "\n") == text


def test_lines_are_short_in_quoted_printable() -> None:
    encoded = quoted_printable("æ" * 2000 + "\n" + "." * 500 + "\ntrailing \n")
    assert max(len(line) for line in encoded.split(b"\r\n")) <= 76
    assert b"trailing=20\r\n" in encoded
