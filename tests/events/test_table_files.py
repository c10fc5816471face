from datetime import date, time
from pathlib import Path

import pytest
import xlsxwriter

from mailer.events.entries import EventEntry, RefusedEntry
from mailer.events.errors import BadEventFile
from mailer.events.files import EventFile, read_event_file

DANISH = """Møder i foråret 2014;;;
Slug;Titel;Dato;Tid;Sted;Adresse;Region;Program;Tilmelding;Pladser;Egen tilmelding;Kontakt
kolding;Møde i Kolding;12-05-2014;kl. 9.30;IBC;"Birkemosevej 1, 6000 Kolding";Region Syddanmark;\
https://program.example/k;;120;nej;Åse

aalborg;Møde i Aalborg;16.06.2014;;;;;;;;ja;
"""


def read(tmp_path: Path, text: str, *, encoding: str = "utf-8", name: str = "møder.csv") -> EventFile:
    path = tmp_path / name
    path.write_bytes(text.replace("\\\n", "").encode(encoding))
    return read_event_file(path)


def taken(file: EventFile) -> dict[str, dict[str, object]]:
    return {one.slug: dict(one.fields) for one in file.entries if isinstance(one, EventEntry)}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_a_table_that_a_danish_office_saved_goes_in(tmp_path: Path, encoding: str) -> None:
    file = read(tmp_path, DANISH, encoding=encoding)

    assert taken(file) == {
        "kolding": {
            "title": "Møde i Kolding",
            "date": date(2014, 5, 12),
            "time": time(9, 30),
            "place": "IBC",
            "address": "Birkemosevej 1, 6000 Kolding",
            "region": "Syddanmark",
            "programme_url": "https://program.example/k",
            "capacity": 120,
            "hosted": False,
        },
        "aalborg": {"title": "Møde i Aalborg", "date": date(2014, 6, 16), "hosted": True},
    }
    assert file.left_out == ("Kontakt",)


def test_the_names_of_the_fields_are_headings_too(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "slug,title,date,time,place,programme_url,registration_url,capacity,hosted,reminders\n"
        'vejle,Vejle,2014-05-12,09:30,Rådhuset,,https://t.example,,false,"14 days, 2 hours"\n',
    )
    assert taken(file)["vejle"] == {
        "title": "Vejle",
        "date": date(2014, 5, 12),
        "time": time(9, 30),
        "place": "Rådhuset",
        "registration_url": "https://t.example",
        "hosted": False,
        "reminders": "14 days, 2 hours",
    }
    assert file.left_out == ()


def test_a_bad_row_is_named_with_its_line_while_the_rest_goes_in(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "slug;titel;dato\n;Vejle;12-05-2014\nkolding;Kolding;4/7/2014\n"
        'ribe;"Ribe" by;12-05-2014\nesbjerg;Esbjerg;12-05-2014\nesbjerg;Igen;12-05-2014\n',
    )

    assert list(taken(file)) == ["esbjerg"]
    assert [str(bad) for bad in file.entries if isinstance(bad, RefusedEntry)] == [
        "entry 1 (line 2): slug is missing",
        "entry 2 (line 3, kolding): date must be a day such as 2014-03-24, not '4/7/2014'",
        "entry 3 (line 4, ribe): a quotation mark inside a quoted cell must be doubled",
        "entry 5 (line 6, esbjerg): slug stands already in entry 4",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("slug;titel\nkolding;Kolding\n", "no column is headed date"),
        ("Åse;ase@kommune.example\n", "no column is headed title and none date"),
    ],
)
def test_a_table_without_events_is_refused_whole(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadEventFile, match=reason):
        read(tmp_path, text)


def test_a_spreadsheet_goes_in_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "events.xlsx"
    with xlsxwriter.Workbook(path, {"default_date_format": "dd-mm-yyyy"}) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["Slug", "Titel", "Dato", "Pladser"])
        sheet.write_row(1, 0, ["kolding", "Møde i Kolding", date(2014, 5, 12), 120])

    assert taken(read_event_file(path))["kolding"] == {
        "title": "Møde i Kolding",
        "date": date(2014, 5, 12),
        "capacity": 120,
    }
