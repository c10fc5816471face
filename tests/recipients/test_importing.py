import csv
import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, text

from mailer.foundation.clock import Clock
from mailer.foundation.database import Database
from recipients.addresses import hash_address
from recipients.choices import choose_tracking
from recipients.columns import Column
from recipients.errors import ImportRunning, InputNotFound, UnreadableFile
from recipients.finding import find_recipient
from recipients.importing import ImportOptions, import_files, require_no_import_running
from recipients.lists import ImportResult
from recipients.models import (
    Confederation,
    Import,
    ImportState,
    Recipient,
    RecipientSource,
    Region,
    Role,
    Sector,
    SuppressionReason,
    TrackingChoice,
)
from recipients.suppression import suppress, unsuppress
from tests.conftest import NOW

CLOCK = Clock(real=lambda: NOW)
KEY = b"key"


class Importer:
    """Imports texts as files, and looks at what came of it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder

    def __call__(self, *texts: str, clock: Clock = CLOCK, **options: Any) -> ImportResult:
        paths = []
        for number, content in enumerate(texts, start=1):
            path = self.folder / f"liste{number}.csv"
            path.write_text(content, encoding="utf-8", newline="")
            paths.append(path)
        chosen = ImportOptions(rejects_folder=self.folder / "rejects", **options)
        return import_files(self.database, paths, hash_key=KEY, clock=clock, options=chosen)

    def find(self, email: str) -> Recipient:
        with self.database.read() as db:
            return find_recipient(db, email)

    def count(self) -> int:
        with self.database.read() as db:
            return db.scalar(select(func.count()).select_from(Recipient)) or 0

    def sources(self, email: str) -> set[str]:
        wanted = RecipientSource.recipient_id == self.find(email).id
        with self.database.read() as db:
            return set(db.scalars(select(RecipientSource.source).where(wanted)))

    def states(self) -> list[ImportState]:
        with self.database.read() as db:
            return list(db.scalars(select(Import.state).order_by(Import.id)))


@pytest.fixture
def importing(database: Database, tmp_path: Path) -> Importer:
    return Importer(database, tmp_path)


def test_a_row_becomes_a_recipient(importing: Importer) -> None:
    result = importing(
        "E-mail;Navn;Stilling;Kommune;Region;Hovedorganisation;Lokale\n"
        " TR@Aarhus.example ;Åse Holm;TR;Aarhus;Region Midtjylland;FTF;2\n",
        source="KL",
    )

    assert result.counts == {
        "rows": 1,
        "imported": 1,
        "updated": 0,
        "unchanged": 0,
        "duplicates": 0,
        "rejected": 0,
    }
    found = importing.find("tr@aarhus.example")
    assert found.email == "TR@Aarhus.example"
    assert found.address_hash == hash_address(KEY, "tr@aarhus.example")
    assert (found.domain, found.name) == ("aarhus.example", "Åse Holm")
    assert (found.role, found.sector) == (Role.UNION_REPRESENTATIVE, Sector.MUNICIPALITY)
    assert (found.organisation, found.region) == ("Aarhus Kommune", Region.MIDTJYLLAND)
    assert (found.confederation, found.language) == (Confederation.FTF, "da")
    assert found.attributes == {"Lokale": "2"}
    assert (found.created_at, found.updated_at) == (NOW, NOW)
    assert importing.sources("tr@aarhus.example") == {"KL"}


def test_the_same_file_again_changes_nothing(importing: Importer) -> None:
    content = "E-mail;Navn;Lokale\na@x.example;Åse;1\nb@x.example;;2\nb@x.example;Bo;\n"
    importing(content, source="KL")
    later = Clock(real=lambda: NOW + timedelta(days=1))

    again = importing(content, source="KL", clock=later)

    assert (again.unchanged, again.duplicates, again.rows) == (2, 1, 3)
    assert importing.find("a@x.example").updated_at == NOW


def test_a_newer_list_updates_what_it_says_and_erases_nothing(importing: Importer) -> None:
    importing("E-mail;Navn;Stilling;Arbejdsplads;Sprog;Lokale\na@x.example;Åse;TR;Skole;en;1\n")

    result = importing("E-mail;Navn;Arbejdsplads;Mobil\nA@x.example;Åse Holm;;2\n")

    assert (result.updated, result.imported) == (1, 0)
    found = importing.find("a@x.example")
    assert (found.email, found.name, found.workplace) == ("a@x.example", "Åse Holm", "Skole")
    assert (found.role, found.language) == (Role.UNION_REPRESENTATIVE, "en")
    assert found.attributes == {"Lokale": "1", "Mobil": "2"}


def test_a_lower_office_fills_gaps_and_changes_nothing_else(importing: Importer) -> None:
    importing("E-mail;Navn;Stilling;Lokale\na@x.example;Åse;Borgmester;1\n")

    result = importing(
        "E-mail;Navn;Stilling;Sektor;Region;Lokale;Mobil\na@x.example;Bo;Leder;kommune;Midt;7;8\n"
    )

    assert result.updated == 1
    found = importing.find("a@x.example")
    assert (found.name, found.role) == ("Åse", Role.MAYOR)
    assert (found.sector, found.region) == (Sector.MUNICIPALITY, Region.MIDTJYLLAND)
    assert found.attributes == {"Lokale": "1", "Mobil": "8"}


def test_a_higher_office_takes_the_address_over(importing: Importer) -> None:
    importing("E-mail;Navn;Stilling\na@x.example;Åse;Leder\n")

    importing("E-mail;Navn;Stilling\na@x.example;Bo;Minister\n")

    found = importing.find("a@x.example")
    assert (found.name, found.role) == ("Bo", Role.MINISTER)


def test_an_address_on_two_parties_lists_under_two_names_is_shared(importing: Importer) -> None:
    importing("E-mail;Navn\na@x.example;Åse\nb@x.example;Bo\n", source="KL")
    importing("E-mail;Navn\na@x.example;Åse Holm\n", source="KL")
    assert not importing.find("a@x.example").shared

    result = importing("E-mail;Navn\na@x.example;Ib\nb@x.example;BO\n", source="FTF")

    assert result.updated == 2
    assert importing.find("a@x.example").shared
    assert not importing.find("b@x.example").shared
    assert importing.sources("a@x.example") == {"KL", "FTF"}


def test_another_source_is_an_update_whoever_else_has_it(importing: Importer) -> None:
    importing("E-mail\na@x.example\n", source="KL")
    importing("E-mail\nb@x.example\n", source="FTF")

    assert importing("E-mail\na@x.example\n", source="FTF").updated == 1
    assert importing("E-mail\na@x.example\n", source="FTF").unchanged == 1


def test_a_rows_own_source_comes_before_the_files(importing: Importer) -> None:
    importing("E-mail;Kilde\na@x.example;OAO\na@x.example;FTF\nb@x.example;\n", source="KL")

    assert importing.sources("a@x.example") == {"OAO", "FTF"}
    assert importing.sources("b@x.example") == {"KL"}


def test_refused_rows_go_to_a_file_that_can_be_corrected_and_imported(
    importing: Importer, tmp_path: Path
) -> None:
    result = importing(
        'E-mail;Navn\na@x.example;Åse\n=cmd@x;"+45 1\nto"\nb@x.test;Bo\n',
        "Navn;Lokale;Mail\nIb;1;\n",
        rejects=tmp_path / "afvist.csv",
    )

    assert (result.rows, result.imported, result.rejected) == (4, 1, 3)
    assert result.rejects_file == tmp_path / "afvist.csv"
    assert result.rejects_file.stat().st_mode & 0o777 == 0o600
    content = result.rejects_file.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    with result.rejects_file.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter=";"))
    assert [row[:2] for row in rows[1:]] == [
        ["liste1.csv", "3"],
        ["liste1.csv", "5"],
        ["liste2.csv", "2"],
    ]
    assert rows[0][3:] == ["E-mail", "Navn", "Lokale", "Mail"]
    assert rows[1][3:] == ["'=cmd@x", "'+45 1\nto", "", ""]
    assert rows[3][3:] == ["", "Ib", "1", ""]

    corrected = content.decode("utf-8-sig").replace("b@x.test", "b@x.example")
    again = importing(corrected)
    assert (again.imported, again.rejected) == (1, 2)
    assert importing.find("b@x.example").attributes == {}


def test_without_refused_rows_there_is_no_rejects_file(importing: Importer) -> None:
    result = importing("E-mail\na@x.example\n")

    assert result.rejects_file is None
    assert list((importing.folder / "rejects").iterdir()) == []


def test_a_dry_run_counts_and_changes_nothing(importing: Importer) -> None:
    importing("E-mail;Navn\na@x.example;Åse\n")

    result = importing("E-mail;Navn\na@x.example;Bo\nb@x.example;\nrubbish;\n", dry_run=True)

    assert (result.updated, result.imported, result.rejected) == (1, 1, 1)
    assert result.rejects_file is not None
    assert (importing.count(), importing.find("a@x.example").name) == (1, "Åse")
    assert importing.states() == [ImportState.DONE]


def test_one_unreadable_file_of_several_imports_none(importing: Importer) -> None:
    with pytest.raises(UnreadableFile, match=r"no e-mail column.*the headings are: Navn, Mobil"):
        importing("E-mail\na@x.example\n", "Navn;Mobil\nÅse;1\n")
    with pytest.raises(UnreadableFile, match="holds an address, not headings"):
        importing("a@x.example;Åse\n")
    with pytest.raises(UnreadableFile, match=r"liste1\.csv: no heading 'Post'"):
        importing("E-mail\na@x.example\n", mapping={Column.EMAIL: "Post"})
    with pytest.raises(InputNotFound):
        import_files(
            importing.database,
            [importing.folder / "liste1.csv", importing.folder / "mangler.csv"],
            hash_key=KEY,
            clock=CLOCK,
            options=ImportOptions(),
        )

    assert importing.count() == 0
    assert importing.states() == []


def test_an_error_half_way_leaves_nothing(importing: Importer, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(rows: int) -> None:
        if rows > 2000:
            raise Interrupted

    path = tmp_path / "lang.csv"
    path.write_text("E-mail\n" + "".join(f"a{n}@x.example\n" for n in range(5000)))
    options = ImportOptions(rejects=tmp_path / "afvist.csv")

    with pytest.raises(Interrupted):
        import_files(
            importing.database, [path], hash_key=KEY, clock=CLOCK, options=options, report=interrupt
        )

    assert importing.count() == 0
    assert importing.states() == [ImportState.FAILED]
    assert sorted(each.name for each in tmp_path.glob("*.csv*")) == ["lang.csv"]
    assert importing("E-mail\na@x.example\n").imported == 1


def test_while_an_import_is_at_work_no_other_begins(importing: Importer, tmp_path: Path) -> None:
    seen: list[Exception] = []

    def look(_rows: int) -> None:
        try:
            with importing.database.read() as db:
                require_no_import_running(db, NOW + timedelta(seconds=59))
        except ImportRunning as error:
            seen.append(error)
        try:
            importing("E-mail\nb@x.example\n")
        except ImportRunning as error:
            seen.append(error)

    path = tmp_path / "første.csv"
    path.write_text("E-mail\na@x.example\n")
    import_files(
        importing.database,
        [path],
        hash_key=KEY,
        clock=CLOCK,
        options=ImportOptions(rejects_folder=tmp_path),
        report=look,
    )

    assert [str(error)[:28] for error in seen] == ["an import of første.csv is s"] * 2
    with importing.database.read() as db:
        require_no_import_running(db, NOW)


def test_an_import_silent_for_a_minute_is_dead(importing: Importer) -> None:
    with importing.database.write() as db:
        db.add(Import(file="x.csv", state=ImportState.RUNNING, started_at=NOW, beat_at=NOW))
    later = Clock(real=lambda: NOW + timedelta(seconds=61))

    assert importing("E-mail\na@x.example\n", clock=later).imported == 1
    assert importing.states() == [ImportState.FAILED, ImportState.DONE]


def test_an_import_taken_for_dead_writes_nothing(importing: Importer, tmp_path: Path) -> None:
    def take_over(_rows: int) -> None:
        with importing.database.write() as db:
            db.execute(delete(Import))

    path = tmp_path / "sen.csv"
    path.write_text("E-mail\na@x.example\n")
    with pytest.raises(ImportRunning, match="import again"):
        import_files(
            importing.database,
            [path],
            hash_key=KEY,
            clock=CLOCK,
            options=ImportOptions(rejects_folder=tmp_path),
            report=take_over,
        )

    assert importing.count() == 0


def test_others_may_write_while_rows_are_read(importing: Importer, tmp_path: Path) -> None:
    written: list[bool] = []

    def write_meanwhile(_rows: int) -> None:
        def write() -> None:
            with importing.database.write() as db:
                db.execute(text("DELETE FROM suppressions"))
            written.append(True)

        other = threading.Thread(target=write)
        other.start()
        other.join(timeout=5)

    path = tmp_path / "lang.csv"
    path.write_text("E-mail\n" + "".join(f"a{n}@x.example\n" for n in range(2500)))
    import_files(
        importing.database,
        [path],
        hash_key=KEY,
        clock=CLOCK,
        options=ImportOptions(rejects_folder=tmp_path),
        report=write_meanwhile,
    )

    assert len(written) == 2
    assert importing.count() == 2500


def test_text_cannot_become_sql_or_break_the_copy(importing: Importer) -> None:
    nasty = "Robert'); DROP TABLE recipients;--\\N\\t\\.\x01"
    result = importing(f'E-mail;Navn;"A ""b"" \\ c"\na@x.example;"{nasty}";\\.\n')

    assert result.imported == 1
    assert importing.find("a@x.example").name == nasty.rstrip("\x01")
    assert importing.find("a@x.example").attributes == {"A 'b' / c": "\\."}


_ADDRESSES = st.sampled_from(
    ["a@x.example", "A@X.example ", "b@ø.example", "Åse <c@x.example>", "d@x.test", "", "e"]
)
_ROWS = st.lists(
    st.tuples(
        _ADDRESSES,
        st.sampled_from(["", "Åse", "Bo"]),
        st.sampled_from(["", "TR", "Minister", "Kok"]),
    ),
    max_size=12,
)


@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=_ROWS, second=_ROWS)
def test_every_row_is_counted_exactly_once(
    importing: Importer, first: list[tuple[str, ...]], second: list[tuple[str, ...]]
) -> None:
    with importing.database.write() as db:
        db.execute(delete(RecipientSource))
        db.execute(delete(Recipient))
    known: set[str] = set()
    for rows in (first, second):
        lines = "".join(f"{';'.join(row)}\n" for row in rows)
        result = importing(f"E-mail;Navn;Stilling\n{lines}", source="KL")

        counts = result.counts
        assert counts.pop("rows") == sum(counts.values()) == sum(map(any, rows))
        good = [row[0].strip()[-11:].lower() for row in rows if ".example" in row[0]]
        assert result.imported == len(set(good) - known)
        assert result.duplicates == len(good) - len(set(good))
        known |= set(good)
        assert importing.count() == len(known)


def test_the_rejects_file_does_not_go_where_somebody_laid_a_link(
    importing: Importer, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / f".afvist.csv.{os.getpid()}").symlink_to(victim)

    importing("E-mail\nrubbish\n", rejects=tmp_path / "afvist.csv")

    assert victim.read_text() == "kept"
    assert "rubbish" in (tmp_path / "afvist.csv").read_text()


def test_refused_rows_go_into_a_pipe_and_leave_it_a_pipe(importing: Importer, tmp_path: Path) -> None:
    pipe = tmp_path / "afvist"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text("utf-8-sig")))
    reader.start()

    importing("E-mail\nrubbish\n", rejects=pipe)
    reader.join(5)

    assert "rubbish" in got[0]
    assert pipe.is_fifo()


def test_a_list_with_the_longest_of_names_has_a_rejects_file_too(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / f"{'å' * 125}.csv"
    path.write_text("E-mail\nrubbish\n", encoding="utf-8")
    options = ImportOptions(rejects_folder=tmp_path / "rejects")

    result = import_files(database, [path], hash_key=KEY, clock=CLOCK, options=options)

    assert result.rejects_file is not None
    assert result.rejects_file.exists()


CONSENT, OBJECTION, UNSAID = TrackingChoice.CONSENT, TrackingChoice.OBJECTION, TrackingChoice.UNSAID


@pytest.mark.parametrize(
    ("said", "listed", "holds"),
    [
        (None, "ja", CONSENT),
        (None, "nej", OBJECTION),
        (None, "", None),
        (CONSENT, "", CONSENT),
        (CONSENT, "ikke oplyst", CONSENT),
        (CONSENT, "nej", OBJECTION),
        (OBJECTION, "ja", OBJECTION),
        (OBJECTION, "", OBJECTION),
        (UNSAID, "ja", UNSAID),
        (UNSAID, "nej", OBJECTION),
        (UNSAID, "", UNSAID),
    ],
)
def test_no_list_lifts_an_objection_or_gives_a_consent_again(
    importing: Importer, said: TrackingChoice | None, listed: str, holds: TrackingChoice | None
) -> None:
    importing("E-mail;Stilling\na@x.example;leder\n")
    if said is not None:
        with importing.database.write() as db:
            choose_tracking(db, hash_address(KEY, "a@x.example"), said, now=NOW)

    result = importing(f"E-mail;Stilling;Sporing\na@x.example;minister;{listed}\n")

    assert result.updated == 1
    assert importing.find("a@x.example").tracking == holds
    assert importing.find("a@x.example").role is Role.MINISTER


def test_a_list_makes_no_row_older(importing: Importer) -> None:
    """A word may be newer than the import that was under way."""
    importing("E-mail;Navn\na@x.example;Bo\n")
    later = NOW + timedelta(days=9)
    with importing.database.write() as db:
        choose_tracking(db, hash_address(KEY, "a@x.example"), OBJECTION, now=later)

    importing("E-mail;Navn\na@x.example;Ib\n")

    found = importing.find("a@x.example")
    assert (found.name, found.updated_at) == ("Ib", later)


def test_a_word_about_tracking_alone_is_a_change_and_the_same_again_is_none(
    importing: Importer,
) -> None:
    importing("E-mail\na@x.example\n")

    first = importing("E-mail;Tracking\na@x.example;yes\n")
    again = importing("E-mail;Tracking\na@x.example;yes\n")

    assert (first.updated, again.unchanged) == (1, 1)


def test_a_word_about_tracking_that_is_not_clear_is_named_by_line_and_reason(
    importing: Importer,
) -> None:
    result = importing("E-mail;Sporing\na@x.example;ja\nb@x.example;måske\nc@x.example;nej\n")

    assert (result.imported, result.rejected) == (2, 1)
    assert result.rejects_file is not None
    with result.rejects_file.open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file, delimiter=";")
    assert row["rejected line"] == "3"
    assert row["rejected reason"] == "tracking: neither yes (consent) nor no (objection)"
    assert row["E-mail"] == "b@x.example"
    assert importing.find("a@x.example").tracking is CONSENT
    assert importing.find("c@x.example").tracking is OBJECTION


def test_who_objected_before_they_stood_on_a_list_is_not_tracked(importing: Importer) -> None:
    hashed = hash_address(KEY, "a@x.example")
    with importing.database.write() as db:
        suppress(db, hashed, SuppressionReason.OBJECTED, now=NOW)
        suppress(db, hash_address(KEY, "b@x.example"), SuppressionReason.BOUNCED, now=NOW)

    importing("E-mail;Sporing\na@x.example;ja\nb@x.example;ja\n")
    with importing.database.write() as db:
        unsuppress(db, hashed)
    importing("E-mail;Sporing\na@x.example;ja\n")

    assert importing.find("a@x.example").tracking is OBJECTION
    assert importing.find("b@x.example").tracking is CONSENT


def test_no_list_consents_for_all_who_read_at_an_address_several_lists_share(
    importing: Importer,
) -> None:
    importing("E-mail;Navn\na@x.example;Åse\nb@x.example;Bo\n", source="KL")
    importing("E-mail;Navn;Sporing\na@x.example;Ib;ja\nb@x.example;Bo;ja\n", source="FTF")

    assert importing.find("a@x.example").shared
    assert importing.find("a@x.example").tracking is None
    assert importing.find("b@x.example").tracking is CONSENT

    importing("E-mail;Navn;Sporing\na@x.example;Ib;nej\n", source="FTF")

    assert importing.find("a@x.example").tracking is OBJECTION
