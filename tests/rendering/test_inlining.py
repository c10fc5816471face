"""Inlining once per structure gives what inlining every document gives."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.rendering.inlining import Inliner, inline_css
from mailer.rendering.marks import Marks

STYLES = "p { color: red } td > b, p + p { margin: 0 } p:first-child { color: blue } [title] { top: 0 }"
PIECES = (
    *("<p>", "</p>", "<b class='x'>", "</b>", "<br>", "<br/>", "<table>", "<tr>", "<td>", "</table>"),
    *(
        '<p title="a > b">',
        "<p title=a'b>",
        "<p title='</style>'>",
        '<a href=x"y>',
        '<a href="x',
        "<P\v>",
    ),
    *("<!-- <p>x</p> -->", "<!-->", "<!--->", "<!-- x --!>", "-->", "<![CDATA[x]]>", "<?x>", "</>"),
    *("<style>", "</style>", "<style a='</style>'>", "</style x>", "b { top: 1px }", "<ſtyle>"),
    *("<title>", "</title>", "<script>", "</script>", "<textarea>", "<svg>", "<select>", "<pre>\n"),
    *("word", " two words ", "\n", " ", "&", "&amp", "&amp;", "&lt;b&gt;", "lt;", "&#65;", "\u2028"),
    *(">", '"', "'", "=", "\r\n", "\f", "<", "< b", "å\xa0", "</head>", "<body>", "</body>"),
)
documents = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
frames = st.sampled_from([f"<html><head><style>{STYLES}</style></head><body>{{}}</body></html>", "{}"])


def no_slots(slot: str) -> str:
    raise AssertionError(slot)


@settings(max_examples=400)
@given(
    frame=frames, bodies=st.lists(documents, min_size=1, max_size=3), words=st.text("ab c", max_size=5)
)
def test_any_document_is_inlined_as_by_itself(frame: str, bodies: list[str], words: str) -> None:
    inliner = Inliner(Marks())
    for body in bodies:
        for said in ("word", words, "other words"):
            html = frame.replace("{}", body.replace("word", said))
            inlined = inliner.inline(html, no_slots)
            assert inlined is not None
            assert inline_css(inlined) == inline_css(inline_css(html))


def test_documents_of_one_structure_are_inlined_once() -> None:
    inliner = Inliner(Marks())
    for name in ("Anna", "Bo &amp; Co.", "  Åse"):
        html = f"<style>{STYLES}</style><p>Kære {name}</p><p>x</p>"
        assert inline_css(html) == inliner.inline(html, no_slots)
    assert len(inliner._structures) == 1


@pytest.mark.parametrize("html", ["<p style='color: {}'>x</p>", "<p {}>x</p>"])
def test_a_value_that_changes_more_than_its_place_is_found(html: str) -> None:
    slots = Marks()
    inliner = Inliner(slots)
    hostile = "x'> p { color: red; background: url(y) } <b"
    assert inliner.inline(html.format(slots.mark("name")), lambda _: hostile) is None


def test_a_value_in_words_and_in_quotes_is_filled_in_afterwards() -> None:
    slots = Marks()
    inlined = Inliner(slots).inline(
        f"<style>{STYLES}</style><p title='{slots.mark('a')}'>Hej {slots.mark('b')}!</p>",
        lambda _: "&lt;&#34;&#39;&gt;",
    )
    assert inlined is not None
    filled = slots.fill(inlined, str.upper)
    assert re.search(r"<p title=\"A\" style=\"[^\"]+\">Hej B!</p>", filled)


@pytest.mark.parametrize(
    "html",
    [
        "<style>.leder { color: red }</style><p class='{}'>x</p>",
        "<style>.r-leder { color: red }</style><p CLASS = r-{}>x</p>",
        "<style>#leder { color: red }</style><p id='x {}'>x</p>",
        "<style>p[title=leder] { color: red }</style><p title='{}'>x</p>",
        "<style>p:empty { color: red }</style><p>{}</p>",
    ],
)
def test_a_value_that_a_style_may_ask_for_is_no_place_to_fill(html: str) -> None:
    slots = Marks()
    assert Inliner(slots).inline(html.replace("{}", slots.mark("a")), escape_nothing) is None


def test_a_value_in_an_attribute_that_no_style_asks_for_is_filled_in_afterwards() -> None:
    slots = Marks()
    html = f"<style>p[lang=da] {{ top: 0 }}</style><p class='x' title='{slots.mark('a')}'>x</p>"
    assert Inliner(slots).inline(html, escape_nothing) is not None


def escape_nothing(slot: str) -> str:
    return "hostile"
