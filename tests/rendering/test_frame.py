"""The frame that letters share: found, frozen with them, and honest about its own mistakes."""

from collections.abc import Mapping
from datetime import date, time
from pathlib import Path

import pytest

from mailer.rendering.errors import LetterError, LetterNotFound
from mailer.rendering.letter import Letter, RenderedLetter
from mailer.rendering.links import extract_literal_links
from mailer.rendering.source import LetterSource, list_letters, load_letter
from mailer.rendering.values import (
    Attributes,
    CampaignValues,
    EventValues,
    LetterValues,
    LinkValues,
    RecipientValues,
)

TEMPLATES = Path(__file__).parents[2] / "templates"
SHIPPED = (
    *("aendring", "aflysning", "afmelding", "invitation-igen", "paamindelse", "paamindelse-dagen-foer"),
    *("plads", "stadig-plads", "startpakke", "tilmelding", "venteliste", "vi-ses"),
)
"""Those that everybody may get."""
LINKS = LinkValues("u", "v", "p", "pack", "page", "principles", "events", ("https://t/0", "https://t/1"))
EVENT = EventValues(
    slug="sjaelland",
    title="Møde",
    date=date(2014, 6, 17),
    time=time(9, 30),
    place="Salen",
    address=None,
    region=None,
    own_region=False,
    programme="programme",
    programme_out=True,
    registration=None,
    remind="remind",
    calendar="calendar",
)
FRAME = "<html><body>{% block content %}{% endblock %}<p>{{ recipient.name }}</p></body></html>"
FRAMED = {
    "subject.txt": "S",
    "body.txt": '{% extends "frame/frame.txt" %}{% block content %}T{% endblock %}',
    "body.html": '{% extends "frame/frame.html" %}\n{% block content %}H{% endblock %}',
}


def values(language: str = "da", *, name: str = "Åse", links: LinkValues = LINKS) -> LetterValues:
    recipient = RecipientValues(
        name, "leder", "kommune", None, None, "ingen", None, language, Attributes()
    )
    return LetterValues(recipient, CampaignValues("c", ()), links, (), EVENT)


def put(base: Path, files: Mapping[str, str]) -> Path:
    """A template folder with files by their paths under ``letters/``."""
    for path, text in files.items():
        file = base / "letters" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return base


def framed(base: Path, frame: Mapping[str, str], **parts: str) -> LetterSource:
    """The letter ``brev`` on this frame, loaded from the disk."""
    letter = FRAMED | {name.replace("_", "."): text for name, text in parts.items()}
    frame = {"frame.html": FRAME, "frame.txt": "{% block content %}{% endblock %}", **frame}
    put(base, {f"brev/{path}": text for path, text in letter.items()})
    put(base, {f"frame/{path}": text for path, text in frame.items()})
    return load_letter("brev", [base])


def render(source: LetterSource, language: str = "da", *, name: str = "Åse") -> RenderedLetter:
    return Letter(source).render(values(language, name=name), pixel=None)


def test_a_letter_carries_the_files_of_the_frame_that_it_uses_and_no_others(tmp_path: Path) -> None:
    source = framed(
        tmp_path,
        {
            "frame.html": '{% include "frame/parts/strip.html" %}' + FRAME,
            "parts/strip.html": "<i></i>",
            "other.html": "{{ nobody.uses.me }}",
        },
    )
    assert set(source.files) == {
        *FRAMED,
        "frame/frame.html",
        "frame/frame.txt",
        "frame/parts/strip.html",
    }
    assert "<i></i>" in render(source).html


def test_a_letter_without_a_frame_carries_none(tmp_path: Path) -> None:
    framed(tmp_path, {}, body_txt="T", body_html="<p>H</p>")
    assert set(load_letter("brev", [tmp_path]).files) == set(FRAMED)


def test_an_offices_own_file_of_the_frame_comes_before_the_shipped_one(tmp_path: Path) -> None:
    office = put(tmp_path, {"frame/en/frame.txt": "{% block content %}{% endblock %}\nOur own office"})
    source = load_letter("paamindelse", [office, TEMPLATES])
    letter = Letter(source)
    assert letter.render(values("en"), pixel=None).text.endswith("Our own office")
    assert letter.render(values("da"), pixel=None).text.endswith("Afmeld flere breve:\nu\n")


def test_an_offices_own_letter_may_stand_in_the_shipped_frame(tmp_path: Path) -> None:
    own = {
        "subject.txt": "S",
        "body.txt": "T",
        "body.html": '{% extends "frame/frame.html" %}{% set title = "Vores & jeres" %}'
        "{% block content %}<tr><td>H</td></tr>{% endblock %}{% block reason %}R{% endblock %}",
    }
    office = put(tmp_path, {f"brev/{path}": text for path, text in own.items()})
    html = render(load_letter("brev", [office, TEMPLATES])).html
    assert html.count("Vores &amp; jeres") == 3
    assert "Afmeld flere breve" in html


def test_a_letter_may_bring_a_frame_of_its_own(tmp_path: Path) -> None:
    put(tmp_path, {"brev/frame/frame.html": "<p>own</p>"})
    assert "own" in render(framed(tmp_path, {})).html


def test_the_frame_is_no_letter(tmp_path: Path) -> None:
    framed(tmp_path, {"subject.txt": "", "body.txt": "", "body.html": ""})
    assert list_letters([tmp_path]) == ["brev"]
    assert set(list_letters([TEMPLATES])) == {*SHIPPED, "statusrapport"}
    with pytest.raises(LetterNotFound, match="there are: brev"):
        load_letter("frame", [tmp_path])


def test_the_frame_is_no_language(tmp_path: Path) -> None:
    source = framed(
        tmp_path, {"body.html": FRAME}, body_html=FRAMED["body.html"].replace("/frame.", "/body.")
    )
    assert "frame/body.html" in source.files
    assert source.languages == ("da",)
    assert FRAME in source.texts("da")


def test_a_letter_reads_nothing_outside_the_frame(tmp_path: Path) -> None:
    put(tmp_path, {"secret.html": "secret"})
    source = framed(tmp_path, {}, body_html='\n{% include "frame/../secret.html" %}')
    with pytest.raises(LetterError, match=r"^letter brev/body\.html:2: there is no frame/\.\./secret"):
        render(source)


def test_a_missing_frame_is_an_error_of_the_file_that_names_it(tmp_path: Path) -> None:
    source = framed(tmp_path, {}, body_html='\n{% extends "frame/nowhere.html" %}')
    with pytest.raises(LetterError, match=r"^letter brev/body\.html:2: there is no frame/nowhere\.html"):
        render(source)


def test_a_syntax_error_in_the_frame_names_the_frame_and_its_line(tmp_path: Path) -> None:
    source = framed(tmp_path, {"frame.html": FRAME + "\n\n{% if %}"})
    with pytest.raises(LetterError, match=r"^letter brev/frame/frame\.html:3: "):
        Letter(source)


def test_an_unknown_name_in_the_frame_names_the_frame_and_its_line(tmp_path: Path) -> None:
    source = framed(tmp_path, {"frame.html": FRAME + "\n\n\n{{ recipient.nmae }}"})
    with pytest.raises(LetterError, match=r"^letter brev/frame/frame\.html:4: .*nmae"):
        render(source)


def test_an_unknown_name_in_a_block_names_the_letters_own_file(tmp_path: Path) -> None:
    block = '{% extends "frame/frame.html" %}\n{% block content %}\n{{ recipient.nmae }}{% endblock %}'
    with pytest.raises(LetterError, match=r"^letter brev/body\.html:3: .*nmae"):
        render(framed(tmp_path, {}, body_html=block))


def test_a_block_the_letter_must_fill_is_told(tmp_path: Path) -> None:
    frame = "<p>\n{% block content %}{% endblock %}\n{% block reason required %}{% endblock %}"
    with pytest.raises(LetterError, match=r"^letter brev/frame/frame\.html:3: .*'reason'"):
        render(framed(tmp_path, {"frame.html": frame}))


def test_what_the_frame_asks_for_the_letter_uses(tmp_path: Path) -> None:
    assert not Letter(framed(tmp_path, {})).uses("events")
    assert Letter(framed(tmp_path, {"frame.txt": "{{ events|length }}"})).uses("events")


def test_values_in_the_frame_are_escaped_in_html_and_plain_in_text(tmp_path: Path) -> None:
    rendered = render(framed(tmp_path, {"frame.txt": "{{ recipient.name }}"}), name="<b>")
    assert rendered.text == "<b>"
    assert "<p>&lt;b&gt;</p>" in rendered.html


def test_an_address_written_out_in_the_frame_is_one_tracked_link(tmp_path: Path) -> None:
    source, urls = extract_literal_links(
        framed(
            tmp_path,
            {
                "frame.html": '<a href="https://kl.example/">KL</a>{% block content %}{% endblock %}',
                "frame.txt": "Se https://kl.example/ {% block content %}{% endblock %}",
            },
            body_txt=FRAMED["body.txt"].replace("T", "https://dr.example"),
        )
    )
    assert sorted(urls) == ["https://dr.example", "https://kl.example/"]
    rendered = render(source)
    kl, dr = (LINKS.literal[urls.index(url)] for url in ("https://kl.example/", "https://dr.example"))
    assert f'href="{kl}"' in rendered.html
    assert rendered.text == f"Se {kl} {dr}"


@pytest.mark.parametrize("name", SHIPPED)
def test_what_the_shipped_letters_share_stands_in_the_frame_alone(name: str) -> None:
    source = load_letter(name, [TEMPLATES])
    for path in ("body.html", "en/body.html"):
        assert not [
            tag
            for tag in ("<head", "<style", "<body", "mso", "unsubscribe")
            if tag in source.files[path]
        ]


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(("language", "leave"), [("da", "Afmeld flere breve"), ("en", "Unsubscribe")])
def test_the_frame_speaks_the_letters_language(name: str, language: str, leave: str) -> None:
    rendered = render(load_letter(name, [TEMPLATES]), language=language)
    assert f'<html lang="{language}"' in rendered.html
    assert f'lang="{language}"' in rendered.html.partition('role="article"')[2].partition(">")[0]
    assert '<a href="u"' in rendered.html
    assert f">{leave}</a>" in rendered.html
    assert rendered.text.endswith(f"\n\n{leave}:\nu\n")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_copy_to_pass_on_leaves_out_links_that_act_for_a_person(name: str) -> None:
    links = LinkValues(None, None, None, "pack", "page", "principles", "events", ())
    rendered = Letter(load_letter(name, [TEMPLATES])).render(values(links=links), pixel=None)
    for left_out in ("Afmeld", "browser", "None"):
        assert left_out not in rendered.text + rendered.html
