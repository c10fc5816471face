"""Attachments and images: out of the letter's own folder, rightly nested, the same bytes at the end."""

import base64
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.rendering import enclosures
from mailer.rendering.enclosures import Enclosure
from mailer.rendering.errors import LetterError
from mailer.rendering.letter import RenderedLetter
from mailer.rendering.message import compose
from mailer.rendering.source import LetterSource, load_letter
from tests.rendering.test_message import COMMON, PERSONAL, PLANNED

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LETTER = RenderedLetter("Emne", "Hej\n", '<p>Hej</p><img src="cid:logo@coi.example">')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A letter's folder, with a secret beside it."""
    made = tmp_path / "letters" / "brev"
    made.mkdir(parents=True)
    for part in ("subject.txt", "body.txt", "body.html"):
        (made / part).write_text("Hej")
    (made / "fil.pdf").write_bytes(b"%PDF-1.7\r\n.\r\n")
    (made / "logo.png").write_bytes(PNG)
    (tmp_path / "secret.pdf").write_bytes(b"secret")
    return made


def load(folder: Path, manifest: str) -> LetterSource:
    (folder / "letter.toml").write_text(manifest, encoding="utf-8")
    return load_letter("brev", [folder.parents[1]])


def parsed(*enclosed: Enclosure) -> EmailMessage:
    data = compose(LETTER, replace(COMMON, enclosures=enclosed), PERSONAL)
    assert all(len(line) <= 78 or line.startswith(b"List-Unsub") for line in data.split(b"\r\n"))
    assert not any(line.startswith(b".") for line in data.split(b"\r\n"))
    message = message_from_bytes(data, policy=SMTP)
    assert isinstance(message, EmailMessage)
    assert message.keys() == PLANNED
    assert not [defect for part in message.walk() for defect in part.defects]
    return message


def nesting(part: EmailMessage) -> object:
    if not part.is_multipart():
        return part.get_content_type()
    return (part.get_content_type(), *(nesting(inner) for inner in part.iter_parts()))  # type: ignore[arg-type]


def enclosure(name: str = "fil.pdf", data: bytes = b"x", inline_as: str | None = None) -> Enclosure:
    kind = "image/png" if inline_as else "application/pdf"
    return Enclosure(name, kind, base64.b64encode(data).decode(), inline_as)


ALTERNATIVE = ("multipart/alternative", "text/plain", "text/html")
WITH_IMAGE = (
    "multipart/alternative",
    "text/plain",
    ("multipart/related", "text/html", "image/png"),
)


def test_each_part_stands_beside_what_it_belongs_to() -> None:
    file, logo = enclosure(), enclosure("logo.png", PNG, "logo")
    assert nesting(parsed()) == ALTERNATIVE
    assert nesting(parsed(file)) == ("multipart/mixed", ALTERNATIVE, "application/pdf")
    assert nesting(parsed(logo)) == WITH_IMAGE
    assert nesting(parsed(file, logo, file)) == (
        *("multipart/mixed", WITH_IMAGE),
        *("application/pdf", "application/pdf"),
    )


@settings(max_examples=50)
@given(
    data=st.binary(max_size=400),
    name=st.text(
        st.characters(codec="utf-8", categories=["L", "P", "S", "Zs"]), min_size=1, max_size=120
    ),
)
def test_files_and_their_names_decode_to_what_they_were(data: bytes, name: str) -> None:
    (file,) = parsed(enclosure(name, data)).iter_attachments()
    assert file.get_content() == data
    assert file.get_filename() == name.strip()  # the standard library strips it
    assert file.get_content_disposition() == "attachment"


def test_an_image_is_found_by_the_address_the_letter_writes() -> None:
    message = parsed(enclosure("logo.png", PNG, "logo"))
    body = message.get_body(("related",))
    assert body is not None
    html, image = body.iter_parts()
    assert "cid:logo@coi.example" in html.get_content()
    assert image["Content-ID"] == "<logo@coi.example>"
    assert image.get_content_disposition() == "inline"
    assert image.get_content() == PNG


def test_a_letter_names_its_files_in_its_manifest(folder: Path) -> None:
    (folder / "referat.txt").write_text("{% this is no template", encoding="utf-8")
    (folder / "ukendt.xyz").write_bytes(b"x")
    loaded = load(
        folder,
        'attachments = ["fil.pdf", "referat.txt", "ukendt.xyz"]\n[inline]\nlogo = "logo.png"\n',
    )
    assert [(each.file_name, each.content_type, each.inline_as) for each in loaded.enclosures] == [
        ("fil.pdf", "application/pdf", None),
        ("referat.txt", "text/plain", None),
        ("ukendt.xyz", "application/octet-stream", None),
        ("logo.png", "image/png", "logo"),
    ]
    assert base64.b64decode(loaded.enclosures[0].content) == b"%PDF-1.7\r\n.\r\n"
    assert "referat.txt" not in loaded.files


@pytest.mark.parametrize(
    "name",
    ["../../secret.pdf", "/etc/passwd", "../brev/../../secret.pdf", "link.pdf", "into/secret.pdf"],
)
def test_a_file_outside_the_letters_folder_is_refused(folder: Path, name: str) -> None:
    (folder / "link.pdf").symlink_to(folder.parents[1] / "secret.pdf")
    (folder / "into").symlink_to(folder.parents[1])
    with pytest.raises(LetterError, match=r"letter brev: letter\.toml: attachments: .* lies outside"):
        load(folder, f'attachments = ["{name}"]')


@pytest.mark.parametrize(
    ("manifest", "because"),
    [
        ('attachments = ["nej.pdf"]', "there is no file 'nej.pdf'"),
        ('attachments = ["."]', "cannot be a file's name"),
        ('attachments = [""]', "cannot be a file's name"),
        ('attachments = ["a\\r\\nBcc: x@evil.example.pdf"]', "cannot be a file's name"),
        ('attachments = "fil.pdf"', "is a list of file names"),
        ("attachments = [1]", "is a list of file names"),
        ('inline = ["logo.png"]', "gives images names"),
        ('[inline]\n"lo go" = "logo.png"', "is no name for an image"),
        ('[inline]\nitems = "logo.png"', "is no name for an image"),
        ('[inline]\nlogo = "fil.pdf"', "is no PNG, JPEG, GIF or WebP image"),
    ],
)
def test_what_cannot_go_along_is_named(folder: Path, manifest: str, because: str) -> None:
    with pytest.raises(LetterError, match=because):
        load(folder, manifest)


def test_files_are_bounded_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enclosures, "MOST_BYTES", len(PNG) + 5)
    load(folder, '[inline]\nlogo = "logo.png"')
    with pytest.raises(LetterError, match=r"'fil\.pdf' the files are larger than"):
        load(folder, 'attachments = ["logo.png", "fil.pdf"]')
