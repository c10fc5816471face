"""Templates: strict about names, safe against values, and honest about where an error stands."""

from contextlib import suppress
from datetime import date, time
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from mailer.rendering.environment import clock_time, long_date, make_environment
from mailer.rendering.errors import LetterError, LetterNotFound, RecipientValueError
from mailer.rendering.letter import Letter
from mailer.rendering.links import extract_literal_links
from mailer.rendering.source import LetterSource, load_letter
from mailer.rendering.values import (
    Attributes,
    CampaignValues,
    LetterValues,
    LinkValues,
    RecipientValues,
)

LINKS = LinkValues("u", "v", "p", "pack", "page", "principles", "events", ("https://a/1", "https://a/2"))


def values(**recipient: object) -> LetterValues:
    known = {
        "name": "Åse",
        "role": "leder",
        "sector": "kommune",
        "organisation": None,
        "workplace": None,
        "confederation": "ingen",
        "region": None,
        "language": "da",
        "attributes": Attributes(),
        **recipient,
    }
    return LetterValues(RecipientValues(**known), CampaignValues("c", ()), LINKS, ())  # type: ignore[arg-type]


def source(**files: str) -> LetterSource:
    parts = {"subject.txt": "S", "body.txt": "T", "body.html": "<body>H</body>"}
    return LetterSource("brev", parts | {k.replace("_", "."): v for k, v in files.items()}, {})


def test_values_are_escaped_in_html_and_plain_in_text() -> None:
    letter = Letter(source(body_txt="{{ recipient.name }}", body_html="<p>{{ recipient.name }}</p>"))
    rendered = letter.render(values(name="<b>&"), pixel=None)
    assert rendered.text == "<b>&"
    assert "<p>&lt;b&gt;&amp;</p>" in rendered.html


def test_template_code_in_a_value_is_never_run() -> None:
    letter = Letter(source(body_txt="{{ recipient.name }}"))
    assert letter.render(values(name="{{ 7*7 }}"), pixel=None).text == "{{ 7*7 }}"


def test_an_unknown_name_is_an_error_of_the_letter_with_its_line() -> None:
    letter = Letter(source(body_txt="one\n{{ recipient.nmae }}\n"))
    with pytest.raises(LetterError, match=r"brev/body\.txt:2.*nmae"):
        letter.render(values(), pixel=None)


def test_a_syntax_error_names_file_and_line() -> None:
    with pytest.raises(LetterError, match=r"brev/body\.html:2"):
        Letter(source(body_html="<p>\n{% if %}"))


def test_a_missing_attribute_is_this_recipients_alone() -> None:
    letter = Letter(source(body_txt="{{ recipient.attributes.nummer }}"))
    with pytest.raises(RecipientValueError, match="nummer"):
        letter.render(values(), pixel=None)
    assert letter.render(values(attributes=Attributes(nummer=7)), pixel=None).text == "7"


def test_a_template_reaches_nothing_but_its_values() -> None:
    letter = Letter(source(body_txt="{{ recipient.__class__.__mro__ }}"))
    with pytest.raises(LetterError):
        letter.render(values(), pixel=None)


def test_the_letter_falls_back_to_danish() -> None:
    letter = Letter(LetterSource("b", {**source().files, "en/subject.txt": "English"}, {}))
    rendered = letter.render(values(language="en"), pixel=None)
    assert (rendered.subject, rendered.text) == ("English", "T")


def test_the_pixel_stands_at_the_end_of_the_body() -> None:
    rendered = Letter(source()).render(values(), pixel="https://x/o/t")
    assert '<img src="https://x/o/t"' in rendered.html
    assert rendered.html.index("<img") < rendered.html.index("</body>")


def test_written_out_addresses_become_links_of_their_own() -> None:
    tracked, urls = extract_literal_links(
        source(
            body_html='<body><a href="https://kl.example/a?b=1&amp;c=2">x</a></body>',
            body_txt="Se https://kl.example/a?b=1&c=2, eller https://dr.example.",
        )
    )
    assert urls == ("https://kl.example/a?b=1&c=2", "https://dr.example")
    rendered = Letter(tracked).render(values(), pixel=None)
    assert 'href="https://a/1"' in rendered.html
    assert rendered.text == "Se https://a/1, eller https://a/2."


def test_dates_and_times_are_written_as_people_write_them() -> None:
    assert long_date(date(2014, 3, 24), "da") == "mandag den 24. marts 2014"
    assert long_date(date(2014, 3, 24), "en") == "Monday 24 March 2014"
    assert clock_time(time(9, 30), "da") == "kl. 9.30"
    assert clock_time(time(13, 5), "en") == "1:05 pm"


def test_an_unknown_letter_names_those_that_exist(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / "letters" / name
        folder.mkdir(parents=True)
        (folder / "subject.txt").write_text("S")
    with pytest.raises(LetterNotFound, match="a, b"):
        load_letter("../a", [tmp_path])
    with pytest.raises(LetterError, match=r"body\.txt, body\.html is missing"):
        load_letter("a", [tmp_path])


def test_a_missing_value_prints_nothing() -> None:
    letter = Letter(source(body_txt="Hej {{ recipient.name }}!"))
    assert letter.render(values(name=None), pixel=None).text == "Hej !"


def test_an_address_made_by_the_template_stays_as_it_is() -> None:
    text = "Se https://x.example/{{ recipient.role }} og https://y.example/a."
    tracked, urls = extract_literal_links(source(body_txt=text))
    assert urls == ("https://y.example/a",)
    assert Letter(tracked).render(values(), pixel=None).text.startswith("Se https://x.example/leder og")


@pytest.mark.parametrize("template", ["{{ 1/0 }}", "{% for x in range(10**12) %}{% endfor %}"])
def test_what_cannot_be_reckoned_is_an_error_of_the_letter(template: str) -> None:
    with pytest.raises(LetterError, match=r"brev/body\.txt"):
        Letter(source(body_txt=template)).render(values(), pixel=None)


FILTERS = sorted(make_environment({}, "da", autoescape=True).filters)
ARGUMENTS = ("", "(2)", "(-1)", "('x')", "('x', 'y')", "(none)", "(recipient.name)")
ODD = (None, "", "Åse", "a b", "a\r\nb", "-1", True, 3, ["<"], ["b", ["a"]], {"a": None}, [None])


@pytest.mark.parametrize("name", FILTERS)
def test_whatever_a_filter_raises_at_an_odd_value_is_an_error_of_the_letter(name: str) -> None:
    for arguments in ARGUMENTS:
        asked = f"{{{{ recipient.attributes.nr|{name}{arguments} }}}}"
        letter = Letter(source(body_txt=asked, body_html=f"<body>{asked}</body>"))
        for value in ODD:
            for given in (values(attributes=Attributes(nr=value)), values(name=None)):
                with suppress(LetterError, RecipientValueError):
                    letter.render(given, pixel=None)


@pytest.mark.parametrize(
    "template",
    [
        "{{ recipient.name.x.y }}",
        "{{ recipient.name() }}",
        "{{ recipient.name.foo() }}",
        "{{ cycler().next() }}",
        "{{ caller() }}",
        "{{ loop.index }}",
        "{{ -recipient.attributes }}",
        "{{ recipient.name.format_map() }}",
        "{{ '%d'|format(recipient.name) }}",
        "{{ '{0.x}'.format(recipient.name) }}",
        "{{ joiner(1, 2) }}",
        "{{ range(10**9) }}",
        "{% import 'nix' as kit %}",
        "{% include recipient %}",
        "{% extends recipient.attributes %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set x = namespace(1) %}",
        "{% for a, b in [1] %}{% endfor %}",
        "{% filter truncate(2) %}abc{% endfilter %}",
        "{{ lipsum(recipient.name) }}",
        "{{ dict(1) }}",
    ],
)
def test_whatever_a_template_does_wrong_is_an_error_of_the_letter(template: str) -> None:
    with pytest.raises(LetterError, match=r"letter brev/.*: ."):
        Letter(source(body_txt=template)).render(values(), pixel=None)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in b %}" * 30 + "{% endfor %}" * 30,
        "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
        "{{ " + "-" * 9_000 + "1 }}",
    ],
)
def test_what_is_too_deep_for_a_program_is_an_error_of_the_letter(template: str) -> None:
    with pytest.raises(LetterError, match="letter brev"):
        Letter(source(body_txt=template)).render(values(), pixel=None)


@pytest.mark.parametrize("template", ["{{ 'x' * 10**13 }}", "{{ recipient.name|center(10**15) }}"])
def test_want_of_memory_is_told_of_no_letter_and_no_recipient(template: str) -> None:
    """Of a program that runs short of it nobody can say whose fault it is."""
    letter = Letter(source(body_txt=template))
    with pytest.raises(MemoryError):
        letter.render(values(), pixel=None)


@pytest.mark.parametrize("value", ["x", "{", "b c{d", "Åse"])
def test_a_value_that_is_no_style_where_one_stands_is_an_error_of_the_letter(value: str) -> None:
    html = "<style>p { color: red }</style><p style='{{ recipient.name }}'>x</p>"
    letter = Letter(source(body_html=html))
    with pytest.raises(LetterError, match="style in the HTML part"):
        letter.render(values(name=value), pixel=None)
    assert "top: 0" in letter.render(values(name="top: 0"), pixel=None).html


@pytest.mark.parametrize(
    "template",
    [
        "{% set recipient.name = 'x' %}",
        "{{ recipient.__setattr__('name', 'x') }}",
        "{% set ns = namespace(r=recipient) %}{% set ns.r.name = 'x' %}",
        "{{ recipient.attributes.update(nr='x') }}",
        "{{ recipient.attributes.__setitem__('nr', 'x') }}",
        "{{ links.inline.update(logo='x') }}",
    ],
)
def test_a_template_changes_nothing_it_is_given(template: str) -> None:
    given = values(name="Åse", attributes=Attributes(nr="7"))
    with pytest.raises((LetterError, RecipientValueError)):
        Letter(source(body_txt=template)).render(given, pixel=None)
    assert (given.recipient.name, given.recipient.attributes) == ("Åse", {"nr": "7"})
    assert LINKS.inline == {}


def test_an_image_nobody_declared_is_an_error_of_the_letter() -> None:
    with pytest.raises(LetterError, match=r"body\.html.*logo"):
        Letter(source(body_html='<img src="{{ links.inline.logo }}">')).render(values(), pixel=None)


@pytest.mark.parametrize("written", ["{{ none|long_date }}", "{{ none|clock_time }}"])
def test_a_date_that_is_missing_is_the_letters_error(written: str) -> None:
    environment = make_environment({}, "da", autoescape=True)
    with pytest.raises(UndefinedError, match="missing"):
        environment.from_string(written).render()


@pytest.mark.parametrize("name", ["long_date", "clock_time"])
def test_what_is_no_date_is_the_letters_error_and_is_not_told(name: str) -> None:
    letter = Letter(source(body_txt=f"{{{{ recipient.attributes.nr|{name} }}}}"))
    with pytest.raises(LetterError, match="is none") as told:
        letter.render(values(attributes=Attributes(nr="hemmelig")), pixel=None)
    assert "hemmelig" not in str(told.value)
    with pytest.raises(RecipientValueError, match="nr"):
        letter.render(values(), pixel=None)
