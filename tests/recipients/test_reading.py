import csv
import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recipients.columns import count_known
from recipients.errors import InputNotFound, UnreadableFile
from recipients.reading import open_table
from recipients.tables import Row, Table

TEXT = "E-mail;Navn\nåse@skole.example;Åse Sørensen\n"


def known(headings: object) -> int:
    return count_known(headings, {})  # type: ignore[arg-type]


def read(path: Path, content: bytes | str, *, encoding: str | None = None) -> tuple[Table, list[Row]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    table = open_table(path, known, encoding=encoding)
    return table, list(table.rows)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]
)
@pytest.mark.parametrize("separator", [";", ",", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_dress_of_csv_is_the_same_table(
    tmp_path: Path, encoding: str, separator: str, line_end: str
) -> None:
    text = TEXT.replace(";", separator).replace("\n", line_end)

    table, rows = read(tmp_path / "liste.csv", text.encode(encoding))

    assert table.headings == ["E-mail", "Navn"]
    assert rows == [Row(2, ["åse@skole.example", "Åse Sørensen"])]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    text = 'Liste over TR\n\nE-mail;Noter\n\na@x.example;"to\r\nlinjer"\n;\nb@x.example;\n'

    table, rows = read(tmp_path / "liste.csv", text)

    assert table.headings == ["E-mail", "Noter"]
    assert [(row.line, row.cells[0]) for row in rows] == [(5, "a@x.example"), (8, "b@x.example")]


def test_a_stray_quotation_mark_costs_its_own_line_only(tmp_path: Path) -> None:
    text = 'E-mail;Navn\na@x.example;"Åse\nb@x.example;"Bo" Bo\nc@x.example;"Ib"\n'

    _, rows = read(tmp_path / "liste.csv", text)

    assert [(row.line, row.cells[0], bool(row.fault)) for row in rows] == [
        (2, "a@x.example", True),
        (3, "b@x.example", True),
        (4, "c@x.example", False),
    ]


def test_a_quotation_mark_never_closed_does_not_swallow_the_file(tmp_path: Path) -> None:
    rest = "".join(f"{number}@x.example;x\n" for number in range(200))

    _, rows = read(tmp_path / "liste.csv", f'E-mail;Navn\na@x.example;"Åse\n{rest}')

    assert [row.line for row in rows] == list(range(2, 203))
    assert [row.fault for row in rows].count(None) == 200


def test_the_separator_a_file_names_is_taken(tmp_path: Path) -> None:
    table, rows = read(tmp_path / "liste.csv", "sep=|\nE-mail|Navn\na@x.example|Å;s,e\n")

    assert table.headings == ["E-mail", "Navn"]
    assert rows == [Row(3, ["a@x.example", "Å;s,e"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"\x00\x01\x02\x7fELF\x00\x00", "no table"),
        (TEXT.encode() + "Søren".encode("cp1252"), "line 3: mixes UTF-8"),
        (b"E-mail\nk\x81ben\n", "line 2: not readable as cp1252"),
        (b"PK\x03\x04rubbish", "not a readable spreadsheet"),
        (b"\xd0\xcf\x11\xe0rubbish", "not a readable spreadsheet|password"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        read(tmp_path / "liste.csv", content)


def test_the_encoding_can_be_named(tmp_path: Path) -> None:
    _, rows = read(tmp_path / "liste.csv", TEXT.encode("latin-1"), encoding="latin-1")
    assert rows[0].cells[1] == "Åse Sørensen"

    with pytest.raises(UnreadableFile, match="line 2: not readable as ascii"):
        read(tmp_path / "liste.csv", TEXT, encoding="ascii")


def test_a_missing_file_is_not_an_unreadable_one(tmp_path: Path) -> None:
    with pytest.raises(InputNotFound):
        open_table(tmp_path / "nothing.csv", known)
    with pytest.raises(UnreadableFile):
        open_table(tmp_path, known)


def write_workbook(path: Path, sheets: dict[str, dict[tuple[int, int], object]]) -> Path:
    with xlsxwriter.Workbook(path) as book:
        for name, cells in sheets.items():
            sheet = book.add_worksheet(name)
            for (row, column), value in cells.items():
                sheet.write(row, column, value)
    return path


def test_a_workbook_is_read_from_the_first_sheet_with_an_e_mail_column(tmp_path: Path) -> None:
    path = write_workbook(
        tmp_path / "liste.xlsx",
        {
            "Vejledning": {(0, 0): "Læs mig"},
            "Liste": {
                (1, 0): "Medlemmer 2014",
                (3, 0): "Navn",
                (3, 1): "E-mail",
                (3, 2): "Nr.",
                (5, 0): "Åse",
                (5, 1): "åse@skole.example",
                (5, 2): 12,
            },
        },
    )

    table = open_table(path, known)

    assert table.headings == ["Navn", "E-mail", "Nr."]
    assert list(table.rows) == [Row(6, ["Åse", "åse@skole.example", "12"])]


def test_a_sheet_with_a_stray_far_cell_is_refused_before_it_fills_the_memory(
    tmp_path: Path,
) -> None:
    path = write_workbook(
        tmp_path / "liste.xlsx", {"Liste": {(0, 0): "E-mail", (1_048_575, 16_383): "x"}}
    )

    with pytest.raises(UnreadableFile, match="down to row 1048576 and out to column 16384"):
        open_table(path, known)


def test_a_workbook_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bombe.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"<x/>")
    content = path.read_bytes()
    size = (2 << 30).to_bytes(4, "little")
    at = content.rindex(b"PK\x01\x02") + 24
    path.write_bytes(content[:at] + size + content[at + 4 :])

    with pytest.raises(UnreadableFile, match="too large when unpacked"):
        open_table(path, known)


def test_an_ods_sheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "liste.ods"
    write_ods(path, [["E-mail", "Navn"], ["åse@skole.example", "Åse"]])

    table = open_table(path, known)

    assert table.headings[:2] == ["E-mail", "Navn"]
    assert [row.cells[:2] for row in table.rows] == [["åse@skole.example", "Åse"]]


def write_ods(path: Path, rows: list[list[str]]) -> None:
    """The least that is an OpenDocument spreadsheet (OASIS ODF 1.2)."""
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    body = "".join(
        f"<table:table-row>{''.join(cell.format(text) for text in row)}"
        '<table:table-cell table:number-columns-repeated="16382"/></table:table-row>'
        for row in rows
    )
    oasis = "urn:oasis:names:tc:opendocument:xmlns"
    mime = "application/vnd.oasis.opendocument.spreadsheet"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", mime)
        archive.writestr(
            "META-INF/manifest.xml",
            f'<manifest:manifest xmlns:manifest="{oasis}:manifest:1.0">'
            f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{mime}"/>'
            "</manifest:manifest>",
        )
        archive.writestr(
            "content.xml",
            f'<office:document-content xmlns:office="{oasis}:office:1.0"'
            f' xmlns:table="{oasis}:table:1.0" xmlns:text="{oasis}:text:1.0"><office:body>'
            f'<office:spreadsheet><table:table table:name="A">{body}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )


_CELL = st.text("aå;,\t\"\n '=", max_size=8)


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(_CELL, min_size=2, max_size=4), max_size=6),
    separator=st.sampled_from(";,\t"),
    encoding=st.sampled_from(["utf-8-sig", "cp1252", "utf-16"]),
)
def test_what_a_spreadsheet_program_writes_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    separator: str,
    encoding: str,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator)
    writer.writerows([["E-mail", "Navn", "Stilling", "Kommune"], *rows])

    path = tmp_path_factory.getbasetemp() / f"written-{os.getpid()}.csv"
    _, found = read(path, text.getvalue().encode(encoding))

    assert [row.cells for row in found] == [row for row in rows if any(map(str.strip, row))]
    assert not any(row.fault for row in found)


def rewrite_sheet(path: Path, old: bytes, new: bytes) -> Path:
    """The workbook with something else in its first sheet."""
    changed = path.with_stem(f"{path.stem}-changed")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            content = source.read(member)
            if member.filename == "xl/worksheets/sheet1.xml":
                assert old in content
                content = content.replace(old, new)
            target.writestr(member.filename, content)
    return changed


@pytest.mark.parametrize(
    "far", [b"<c r='XFD1048576'", b'<c r="xfd1048576"', b'<c\nr="XFD1048576"', b'<c r = "XFD1048576"']
)
def test_a_far_cell_is_refused_however_it_is_written(tmp_path: Path, far: bytes) -> None:
    path = write_workbook(tmp_path / "liste.xlsx", {"Liste": {(0, 0): "E-mail", (1, 0): 1}})

    with pytest.raises(UnreadableFile, match="stray cells"):
        open_table(rewrite_sheet(path, b'<c r="A2"', far), known)


def test_many_cells_that_name_no_place_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "liste.xlsx", {"Liste": {(0, 0): "E-mail"}})
    cell = b"<c><v>1</v></c>"
    rows = b"<row>" + cell * 16_000 + b"</row>" + (b"<row>" + cell + b"</row>") * 200_000

    with pytest.raises(UnreadableFile, match="needs more memory"):
        open_table(rewrite_sheet(path, b"</sheetData>", rows + b"</sheetData>"), known)


def test_a_line_without_end_costs_its_own_row_and_little_memory(tmp_path: Path) -> None:
    endless = "x" * 30_000_000
    path = tmp_path / "liste.csv"
    path.write_text(f"E-mail;Navn\n{endless}\nåse@skole.example;Åse\n", encoding="utf-8")
    tracemalloc.start()

    rows = list(open_table(path, known).rows)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(row.line, row.fault) for row in rows] == [(2, "a cell is too long"), (3, None)]
    assert peak < 25_000_000


@pytest.mark.parametrize("name", ["liste.xlsx", "liste.XLS", "liste.ods"])
@pytest.mark.parametrize("content", [b"PK\x03 \x01\x02\xe6\xf8", b"E-mail;Navn\n", b""])
def test_what_is_called_a_workbook_and_is_none_is_refused_without_its_bytes(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(UnreadableFile) as refused:
        open_table(path, known)

    assert str(refused.value) == (
        f"{path}: not a workbook, though its name says so; save it anew from the spreadsheet program"
    )
