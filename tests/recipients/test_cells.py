"""No spreadsheet computes what somebody else wrote."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipients.cells import defuse, undo_defuse


@pytest.mark.parametrize("text", ["=1+1", "+45 1", "-1", "@SUM(A1)", "\t1", "\r1"])
def test_what_begins_like_a_formula_is_marked_as_text(text: str) -> None:
    assert defuse(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Åse", "a-b@c.example", "a; b", "a, -b", "1=1", "'=1"])
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert defuse(text) == text


@given(
    st.lists(st.text("a=+-@;,\t\"\n '", max_size=8), min_size=1, max_size=4),
    st.sampled_from(";,\t"),
    st.sampled_from(";,\t"),
)
def test_no_cell_is_a_formula_whichever_separator_a_spreadsheet_splits_at(
    cells: list[str], written: str, split: str
) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=written).writerow([defuse(cell) for cell in cells])

    read = csv.reader(io.StringIO(file.getvalue(), newline=""), delimiter=split)

    assert not [cell for row in read for cell in row if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    "text", ["=1+1", "a;=1", '"=1"', "\t=x", "-5, -6", "O'Hara", "'n", "@x\n+y", "a"]
)
def test_the_mark_can_be_taken_off_again(text: str) -> None:
    assert undo_defuse(defuse(text)) == text
