"""Nothing changes what a letter can show of somebody without keeping what it showed before."""

import ast
import random
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

import mailer
import recipients
from mailer.campaigns.audience import claims
from mailer.campaigns.models import Batch
from mailer.foundation.clock import Clock
from mailer.foundation.database import Database, open_database
from recipients.choices import choose_tracking
from recipients.finding import find_recipient
from recipients.importing import ImportOptions, import_files
from recipients.models import Recipient, RecipientVersion, TrackingChoice
from recipients.versions import PARTICULARS, forget_unshown, keep_versions, newest_version
from tests.conftest import NOW
from tests.making import make_campaign, make_recipient

PACKAGES = [Path(package.__path__[0]) for package in (mailer, recipients)]
WRITERS = {
    "recipients/choices.py": "keep_versions",
    "recipients/staging.py": "keep_versions",
}
"""The only modules that write recipients, and what they call first."""
_WRITING = {"update", "insert", "delete", "bulk_update_mappings", "bulk_save_objects", "merge"}
_WRITTEN_SQL = re.compile(r"\b(UPDATE|INTO|MERGE INTO|COPY)\s+\"?recipients\"?\b", re.IGNORECASE)


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    opened = open_database(postgres_url)
    yield opened
    opened.dispose()


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            if "migrations" not in path.parts:
                yield str(path.relative_to(package.parent)), ast.parse(path.read_text("utf-8"))


def names_of_the_table(module: ast.Module) -> set[str]:
    """What the module calls the recipients' model or its table."""
    names = {"Recipient", "Recipient.__table__"}
    for node in ast.walk(module):
        if isinstance(node, ast.Assign) and "Recipient.__table__" in ast.unparse(node.value):
            names |= {ast.unparse(target) for target in node.targets}
    return names


def writes_recipients(module: ast.Module) -> bool:
    names = names_of_the_table(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _WRITTEN_SQL.search(node.value):
                return True
        elif isinstance(node, ast.Call):
            owner, _, function = ast.unparse(node.func).rpartition(".")
            given = {owner, *map(ast.unparse, node.args)}
            builds = function in _WRITING or function.endswith("_insert")
            if (builds and given & names) or function == "Recipient":
                return True
    return False


def test_only_two_modules_write_recipients_and_both_keep_versions() -> None:
    found = {name: module for name, module in sources() if writes_recipients(module)}
    assert found.keys() == WRITERS.keys()
    for name, module in found.items():
        called = {ast.unparse(node.func) for node in ast.walk(module) if isinstance(node, ast.Call)}
        assert WRITERS[name] in called


def test_no_code_sets_a_particular_of_a_row() -> None:
    """``campaign.tracking = …`` is no recipient's; any other name may hold one."""
    assigned = {
        f"{name}: {ast.unparse(target)}"
        for name, module in sources()
        for node in ast.walk(module)
        if isinstance(node, ast.Assign | ast.AugAssign)
        for each in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for target in (each.elts if isinstance(each, ast.Tuple) else [each])
        if isinstance(target, ast.Attribute) and target.attr in PARTICULARS
    }
    assert {each.partition(": ")[2] for each in assigned} <= {"to.tracking", "campaign.tracking"}


@pytest.mark.parametrize(
    "code",
    [
        "update(Recipient).values(name='x')",
        "sa.update(Recipient.__table__)",
        "_OLD = cast('Table', Recipient.__table__)\nupdate(_OLD)",
        "_OLD = cast('Table', Recipient.__table__)\n_OLD.update().values(name='x')",
        "Recipient.__table__.update()",
        "db.execute(text('UPDATE recipients SET name = NULL'))",
        "db.execute(text('MERGE INTO recipients USING x'))",
        "db.add(Recipient(name='x'))",
        "postgresql.insert(Recipient)",
    ],
)
def test_whatever_writes_recipients_is_found(code: str) -> None:
    assert writes_recipients(ast.parse(code))


@pytest.mark.parametrize("code", ["select(Recipient)", "update(Delivery)", "update(_OLD)"])
def test_whatever_only_reads_recipients_is_left_alone(code: str) -> None:
    assert not writes_recipients(ast.parse(code))


@pytest.mark.parametrize("word", list(TrackingChoice))
def test_a_word_on_tracking_keeps_the_row_before_it_unless_it_is_an_objection(
    database: Database, word: TrackingChoice
) -> None:
    """An objection holds for the pages of all letters anyway."""
    with database.write() as db:
        said = make_recipient(db, attributes={"Lokale": "7"})
        make_recipient(db)
        for _ in range(2):
            choose_tracking(db, said.address_hash, word, now=NOW)
    with database.read() as db:
        kept = db.scalars(select(RecipientVersion)).all()
    if word is TrackingChoice.OBJECTION:
        assert kept == []
        return
    (version,) = kept
    assert (version.recipient_id, version.replaced_at, version.tracking) == (said.id, NOW, None)
    for name in PARTICULARS:
        if name != "tracking":
            assert getattr(version, name) == getattr(said, name)


def first_after(versions: list[tuple[int, int]], claim: int, recipient_id: int) -> int | None:
    """The version that a view takes of a recipient, for a batch that noted ``claim``."""
    return min((v for v, whose in versions if whose == recipient_id and v > claim), default=None)


@pytest.mark.parametrize("seed", range(8))
def test_versions_no_letter_showed_are_forgotten_and_no_others(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    with database.write() as db:
        people = [make_recipient(db).id for _ in range(4)]
        campaign = make_campaign(db)
        noted: list[int | None] = [None]
        for _ in range(40):
            if chance.random() < 0.6:
                some = chance.sample(people, chance.randint(1, 3))
                keep_versions(db, select(Recipient.id).where(Recipient.id.in_(some)), now=NOW)
            elif chance.random() < 0.6:
                noted.append(db.scalar(newest_version()))
        db.add_all(Batch(campaign_id=campaign.id, versions_seen=claim) for claim in noted)
        every = select(RecipientVersion.id, RecipientVersion.recipient_id)
        before = [(number, whose) for number, whose in db.execute(every)]
        shown = {
            first_after(before, claim, whose) for claim in noted if claim is not None for whose in people
        }

        for _ in range(2):
            db.flush()
            forget_unshown(db.connection(), claims())
            assert set(db.scalars(select(RecipientVersion.id))) == shown - {None}

        keep_versions(db, select(Recipient.id), now=NOW)
        newest = select(RecipientVersion.id).order_by(RecipientVersion.id.desc()).limit(len(people))
        assert min(db.scalars(newest)) > max(number for number, _ in before), "none is given again"


@pytest.mark.postgres
def test_versions_are_numbered_in_the_order_in_which_they_come_to_be_seen(
    postgres: Database,
) -> None:
    """A batch that sees the second has seen the first."""
    with postgres.write() as db:
        slow, quick = make_recipient(db).id, make_recipient(db).id
    begun, numbers = threading.Event(), []

    def keep_quickly() -> None:
        with postgres.write() as db:
            begun.set()
            keep_versions(db, select(Recipient.id).where(Recipient.id == quick), now=NOW)
            numbers.append(db.scalar(newest_version()))

    thread = threading.Thread(target=keep_quickly)
    with postgres.write() as db:
        keep_versions(db, select(Recipient.id).where(Recipient.id == slow), now=NOW)
        first = db.scalar(newest_version())
        thread.start()
        assert begun.wait(10)
        thread.join(0.5)
        assert thread.is_alive()
        with postgres.read() as looking:
            assert looking.scalar(newest_version()) == 0
    thread.join(10)

    assert first is not None
    assert numbers == [first + 1]


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("said", "on_the_list", "word"),
    [
        (TrackingChoice.OBJECTION, "ja", TrackingChoice.OBJECTION),
        (TrackingChoice.UNSAID, "ja", TrackingChoice.UNSAID),
        (TrackingChoice.CONSENT, "nej", TrackingChoice.OBJECTION),
        (TrackingChoice.CONSENT, "", TrackingChoice.CONSENT),
    ],
)
def test_what_is_said_while_a_list_is_merged_stands(
    postgres: Database,
    tmp_path: Path,
    said: TrackingChoice,
    on_the_list: str,
    word: TrackingChoice,
) -> None:
    """SQLite has one writer: there it is said before or after."""
    with postgres.write() as db:
        hashed = make_recipient(db, address="a@x.example").address_hash
    path = tmp_path / "liste.csv"
    path.write_text(f"E-mail;Navn;Sporing\na@x.example;Bo Nielsen;{on_the_list}\n")
    merging = threading.Event()

    def say(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("INSERT INTO recipients ") and not merging.is_set():
            merging.set()
            with postgres.write() as db:
                db.execute(
                    Recipient.__table__.update()  # type: ignore[attr-defined]
                    .where(Recipient.address_hash == hashed)
                    .values(tracking=said)
                )

    event.listen(postgres.engine, "before_cursor_execute", say)
    try:
        clock = Clock(real=lambda: NOW + timedelta(days=1))
        options = ImportOptions(rejects_folder=tmp_path)
        import_files(postgres, [path], hash_key=b"key", clock=clock, options=options)
    finally:
        event.remove(postgres.engine, "before_cursor_execute", say)

    assert merging.is_set()
    with postgres.read() as db:
        found = find_recipient(db, "a@x.example")
    assert (found.name, found.tracking) == ("Bo Nielsen", word)
