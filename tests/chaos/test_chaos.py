"""The short form of ``make chaos``: faults on real parts, counted by a script that knows no product."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"
LETTERS, KILLS = 1_500, 4
SEED = "2019"
"""Of its four kills one hits the Celery parent; each costs the start of a worker."""
LETTERS_OF_OTHERS = 1_200
HEADINGS = "received_at\trecipient\tmessage_id\tsender\tsize\tfile\n"


def run_chaos(tmp_path: Path, *options: str, within_seconds: float = 240) -> dict[str, Any]:
    """The result of one small run, which must have ended well."""
    result = tmp_path / "chaos.json"
    command = [
        sys.executable,
        str(BENCH / "chaos.py"),
        *options,
        "--limit",
        "150",
        "--json",
        str(result),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=within_seconds, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-6_000:]
    told: dict[str, Any] = json.loads(result.read_text())
    return told


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_no_letter_is_lost_or_sent_twice_by_kills(tmp_path: Path, database: str) -> None:
    told = run_chaos(
        tmp_path,
        *("--variant", "kill", "--database", database, "--seeds", SEED),
        *("--letters", str(LETTERS), "--kills", str(KILLS), "--delay", "0.02", "--batch-size", "100"),
    )

    (round_,) = told["rounds"]
    assert (round_["recipients"], round_["lost"], round_["twice"]) == (LETTERS, 0, 0)
    assert round_["faults"] == KILLS
    assert round_["faults_that_hit"] * 2 >= KILLS
    assert 0 < round_["uncertain"] == round_["in_flight"] <= KILLS * 8


@pytest.mark.postgres
def test_no_letter_is_lost_or_sent_twice_by_what_befalls_workers_and_tasks(tmp_path: Path) -> None:
    """Campaigns one after the other: what costs time is to set the stage, so they share it."""
    variants = ("term", "flush", "doubles", "impatient")
    told = run_chaos(
        tmp_path,
        *("--together", "--variant", *variants, "--database", "postgresql"),
        *("--letters", str(LETTERS_OF_OTHERS), "--terms", "1", "--others", "1"),
        *("--delay", "0.02", "--batch-size", "100"),
        within_seconds=540,
    )

    rounds = {each["variant"]: each for each in told["rounds"]}
    assert tuple(rounds) == variants
    for each in rounds.values():
        assert (each["recipients"], each["lost"], each["twice"]) == (LETTERS_OF_OTHERS, 0, 0)
        assert each["states"] == {"sent": LETTERS_OF_OTHERS}, "and nothing is uncertain"
        assert each["arrived"] == LETTERS_OF_OTHERS
    for variant in ("term", "flush"):
        assert (rounds[variant]["faults"], rounds[variant]["faults_that_hit"]) == (1, 1)
    assert rounds["term"]["worker_restarts"] == 1
    assert rounds["term"]["blows"][0]["seconds"] <= 10
    for variant in ("doubles", "impatient"):
        assert rounds[variant]["tasks_delivered_again"] > 0


@pytest.fixture(scope="module")
def account() -> ModuleType:
    """The script, which is no package."""
    spec = importlib.util.spec_from_file_location("account_under_test", BENCH / "account.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Books:
    """Three accounts that agree, to be falsified."""

    def __init__(self, folder: Path) -> None:
        self.letters = [
            (f"p{number}@xn--kbenhavn-54a.example", f"<{number}@x>") for number in range(1, 6)
        ]
        self.ledger = [
            {"recipient": f"p{number}@københavn.example", "state": "sent", "message_id": f"{number}@x"}
            for number in range(1, 6)
        ]
        self.journal = "d 1 1 4 relay:25\ns 1 1 4 relay:25 250 2.0.0\nd 1 1 5 relay:25\nd 1 1"
        self.ledger[4]["state"] = "uncertain"
        self._folder = folder

    def compare(self, account: ModuleType) -> Any:
        """What the script makes of them."""
        letters, ledger, journal = (
            self._folder / name for name in ("letters.tsv", "ledger.csv", "copy")
        )
        letters.write_text(HEADINGS + "".join(f"now\t{to}\t{by}\tx@y\t1\t\n" for to, by in self.letters))
        with ledger.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.ledger[0]))
            writer.writeheader()
            writer.writerows(self.ledger)
        journal.write_text(self.journal)
        return account.compare(
            account.read_ledger(ledger), account.read_letters(letters), [journal], most_uncertain=1
        )


@pytest.fixture
def books(tmp_path: Path) -> Books:
    """Accounts without a fault."""
    return Books(tmp_path)


def test_accounts_that_agree_raise_no_problem(account: ModuleType, books: Books) -> None:
    found = books.compare(account)

    assert found.problems == []
    assert (found.recipients, found.uncertain, found.in_flight, found.uncertain_arrived) == (5, 1, 1, 1)


def test_a_letter_sent_in_the_ledger_alone_is_lost(account: ModuleType, books: Books) -> None:
    del books.letters[0]
    assert books.compare(account).problems == ["1 lost"]


@pytest.mark.parametrize("state", ["pending", "claimed", "deferred"])
def test_a_letter_never_decided_is_lost(account: ModuleType, books: Books, state: str) -> None:
    books.ledger[0]["state"] = state
    del books.letters[0]
    assert books.compare(account).problems == ["1 lost"]


def test_a_letter_that_arrived_twice_is_found(account: ModuleType, books: Books) -> None:
    books.letters.append(books.letters[0])
    assert books.compare(account).problems == ["1 twice"]


def test_a_second_letter_under_another_message_id_is_found(account: ModuleType, books: Books) -> None:
    books.letters.append((books.letters[0][0], "<other@x>"))
    assert books.compare(account).problems == ["1 twice", "1 unexplained"]


def test_letters_of_earlier_campaigns_are_left_out(
    account: ModuleType, books: Books, tmp_path: Path
) -> None:
    books.letters += [("p1@aarhus.example", "<another@x>"), ("p2@aarhus.example", "<another@y>")]
    books.compare(account)
    record = tmp_path / "letters.tsv"
    assert account.read_letters(record, skip=6) == [("p2@aarhus.example", "another@y")]
    assert account.read_letters(record, skip=7) == []


def test_a_letter_that_went_to_somebody_else_is_found(account: ModuleType, books: Books) -> None:
    books.letters[0] = ("stranger@aarhus.example", "<1@x>")
    assert books.compare(account).problems == ["1 lost", "1 unexplained"]


def test_a_letter_that_arrived_though_it_failed_is_found(account: ModuleType, books: Books) -> None:
    books.ledger[0]["state"] = "failed"
    assert books.compare(account).problems == ["1 unexplained"]


def test_an_uncertain_letter_whose_reply_was_noted_is_found(account: ModuleType, books: Books) -> None:
    books.journal += " 5 relay:25\ns 1 1 5 relay:25 250 -\n"
    assert books.compare(account).problems == ["1 uncertain without dot"]


def test_an_uncertain_letter_of_which_no_journal_speaks_is_found(
    account: ModuleType, books: Books
) -> None:
    books.ledger[0]["state"] = "uncertain"
    assert books.compare(account).problems == [
        "1 uncertain without dot",
        "2 uncertain, where 1 could be explained",
    ]


def test_a_letter_in_flight_that_was_decided_without_a_reply_is_found(
    account: ModuleType, books: Books
) -> None:
    books.ledger[4]["state"] = "sent"
    assert books.compare(account).problems == ["1 in flight decided"]


def test_a_journal_line_of_an_unknown_kind_is_not_passed_over(account: ModuleType, books: Books) -> None:
    books.journal = "x 1 1 4 relay:25\n"
    with pytest.raises(ValueError, match="unknown kind"):
        books.compare(account)


def test_the_account_imports_nothing_of_the_product() -> None:
    told = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "-c"),
            f"import sys; sys.path.insert(0, {str(BENCH)!r}); import account; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    roots = {name.partition(".")[0] for name in told.stdout.split()}
    assert roots.isdisjoint({"mailer", "recipients", "worker", "stage", "sqlalchemy"})
