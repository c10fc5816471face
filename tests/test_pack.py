"""The starter pack as a PDF: built from its text, tagged, and up to date."""

import tomllib
from pathlib import Path

import typst
from pypdf import PdfReader

PACK = Path(__file__).parents[1] / "templates" / "pack"


def text_of(pdf: Path) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(pdf).pages)


def test_the_committed_pdf_is_what_its_text_makes(tmp_path: Path) -> None:
    built = tmp_path / "pack.pdf"
    typst.compile(
        str(PACK / "startpakke.typ"),
        output=str(built),
        ignore_system_fonts=True,
        pdf_standards=["ua-1"],
    )
    assert text_of(PACK / "startpakke.pdf") == text_of(built)


def test_the_pdf_is_tagged_danish_and_whole() -> None:
    reader = PdfReader(PACK / "startpakke.pdf")
    catalogue = reader.trailer["/Root"]
    assert catalogue["/MarkInfo"]["/Marked"]
    assert str(catalogue["/Lang"]).startswith("da")
    assert reader.metadata is not None
    assert reader.metadata.title
    told = tomllib.loads((PACK / "startpakke.toml").read_text(encoding="utf-8"))
    principles = told["principle"]
    assert len(principles) == 7
    text = " ".join(text_of(PACK / "startpakke.pdf").split())
    for principle in principles:
        assert principle["title"] in text
        assert len(principle["example"]) == 2
        assert len(principle["questions"]) == 3
