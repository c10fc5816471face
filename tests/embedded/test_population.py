import csv
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from mailer.embedded.population import (
    HEADINGS,
    Person,
    generate_population,
    mail_domain,
    write_population_csv,
)
from mailer.foundation.clock import Clock
from mailer.foundation.database import open_database
from recipients.importing import ImportOptions, import_files


def people() -> list[Person]:
    return list(generate_population(3000))


def test_the_same_seed_gives_the_same_population() -> None:
    assert list(generate_population(500, 7)) == list(generate_population(500, 7))
    assert list(generate_population(500, 7)) != list(generate_population(500, 8))


@pytest.mark.parametrize("size", [0, 1, 7, 40, 1000])
def test_a_population_has_the_size_asked_for(size: int) -> None:
    assert len(list(generate_population(size))) == size


def test_every_office_stands_in_it_once() -> None:
    offices = islice(generate_population(3000), 123)

    assert Counter(person.role for person in offices) == {
        "Borgmester": 98,
        "Regionsformand": 5,
        "Minister": 20,
    }


def test_it_has_the_shape_of_the_country() -> None:
    everybody = people()
    municipalities = Counter(person.municipality for person in everybody if person.municipality)

    assert len(municipalities) == 98
    assert {"København", "Aarhus", "Skanderborg", "Ærø", "Lyngby-Taarbæk"} <= set(municipalities)
    assert municipalities["København"] > 20 * municipalities["Læsø"]
    assert {person.region for person in everybody if person.municipality == "Skanderborg"} == {
        "Midtjylland"
    }
    assert len({person.region for person in everybody}) == 5
    assert any("afdeling" in person.workplace for person in everybody if person.sector == "Region")
    assert {"FTF", "OAO", "Akademikerne", ""} == {person.confederation for person in everybody}
    assert 0 < sum(person.name == "" for person in everybody) < 300
    assert 0 < sum(person.language == "en" for person in everybody) < 150
    assert any("æ" in person.name or "ø" in person.name for person in everybody)


def test_a_mail_domain_is_plain_ascii() -> None:
    assert mail_domain("Høje-Taastrup") == "hoeje-taastrup.example"
    assert mail_domain("Aarhus") == "aarhus.example"


def test_it_is_saved_as_a_danish_office_saves_it(tmp_path: Path) -> None:
    path = tmp_path / "liste.csv"
    write_population_csv(path, 300, 7)

    assert path.read_bytes().startswith(b"\xef\xbb\xbfE-mail;Navn;")
    with path.open(encoding="utf-8-sig", newline="") as file:
        heading, *rows = csv.reader(file, delimiter=";")
    assert tuple(heading) == HEADINGS
    assert [Person(*row) for row in rows] == list(generate_population(300, 7))


def test_nearly_all_of_it_can_be_imported(tmp_path: Path, sqlite_url: str) -> None:
    path = tmp_path / "liste.csv"
    write_population_csv(path, 2000)
    database = open_database(sqlite_url)

    result = import_files(
        database,
        [path],
        hash_key=b"key",
        clock=Clock(),
        options=ImportOptions(rejects_folder=tmp_path),
    )

    database.dispose()
    assert result.rows == 2000
    assert result.imported > 1950
    assert 0 < result.rejected < 20
    assert 0 < result.duplicates < 40
