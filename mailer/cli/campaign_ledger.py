"""`mailer campaign ledger | reconcile`: every letter accounted for."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

import click
from sqlalchemy.orm import Session

from mailer.campaigns.account import COUNTED, Reconciliation, ledger_rows
from mailer.campaigns.account import reconcile as prove
from mailer.campaigns.lifecycle import find_campaign, list_campaigns
from mailer.cli.output import (
    SCHEMA_VERSION,
    count_of,
    json_option,
    print_json,
    print_table,
    runtime_of,
    say,
    whole_file,
)
from mailer.runtime import Runtime
from mailer.sending.journals import look_at_journals
from mailer.sending.letters import message_id_of
from recipients.cells import defuse

_COLUMNS = (
    "recipient",
    "state",
    "reason",
    "relay",
    "code",
    "enhanced_code",
    "attempts",
    "message_id",
    "at",
)


@click.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Every campaign.")
@json_option
@click.pass_context
def reconcile(ctx: click.Context, name: str | None, everything: bool, as_json: bool) -> None:
    """Prove that every recipient is in exactly one state.

    Exit 1 if anything contradicts anything. It says what is still to come, too: letters, and this
    machine's unread journals.
    """
    if (name is None) is not everything:
        raise click.UsageError("name one campaign, or say --all")
    runtime = runtime_of(ctx)
    unread = look_at_journals(runtime.settings.state_dir).unread
    with runtime.database.read() as db:
        campaigns = [find_campaign(db, name)] if name is not None else list_campaigns(db)
        proofs = {each.name: prove(db, each, unread_journals=unread) for each in campaigns}
    ok = all(proof.ok for proof in proofs.values())
    told = [{"campaign": each, **asdict(proof)} for each, proof in proofs.items()]
    if as_json and everything:
        complete = all(proof.complete for proof in proofs.values())
        print_json({"ok": ok, "complete": complete, "campaigns": told})
    elif as_json:
        print_json(told[0])
    elif everything:
        _print_proofs(proofs)
    else:
        _print_proof(*proofs.values())
    if unread and not as_json:
        say(f"{count_of(unread, 'unread journal')} on this machine: the next sweep writes them down")
    ctx.exit(0 if ok else 1)


def _print_proof(proof: Reconciliation) -> None:
    print_table(
        ["state", "letters"],
        [
            *[(state, count) for state, count in proof.deliveries.items() if count],
            ("audience", proof.audience),
        ],
    )
    for problem in proof.problems:
        say(f"problem: {problem}")
    say(f"ok: {_yes_no(proof.ok)}, complete: {_yes_no(proof.complete)}")


def _print_proofs(proofs: Mapping[str, Reconciliation]) -> None:
    print_table(
        ["campaign", "audience", "ok", "complete"],
        [
            (name, proof.audience, _yes_no(proof.ok), _yes_no(proof.complete))
            for name, proof in proofs.items()
        ],
    )
    for name, proof in proofs.items():
        for problem in proof.problems:
            say(f"problem: {name}: {problem}")


@click.command()
@click.argument("name")
@click.option("--state", type=click.Choice(COUNTED), help="Only deliveries in this state.")
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@json_option
@click.pass_context
def ledger(ctx: click.Context, name: str, state: str | None, output: Path | None, as_json: bool) -> None:
    """Write one row per delivery, as CSV."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db, _output(output) as file:
        rows = _ledger_rows(runtime, db, find_campaign(db, name).id, state)
        if as_json:
            _write_json_rows(file, name, rows)
            return
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for row in rows:
            writer.writerow(
                [defuse(value) if isinstance(value, str) else value for value in row.values()]
            )


def _ledger_rows(
    runtime: Runtime, db: Session, campaign_id: int, state: str | None
) -> Iterator[dict[str, object]]:
    for row in ledger_rows(db, campaign_id, state=state):
        yield {
            "recipient": row.recipient,
            "state": row.state,
            "reason": row.reason,
            "relay": row.relay,
            "code": row.code,
            "enhanced_code": row.enhanced_code,
            "attempts": row.attempts,
            "message_id": message_id_of(runtime.letter_tools, campaign_id, row.position),
            "at": row.at.isoformat() if row.at else None,
        }


def _write_json_rows(file: IO[str], name: str, rows: Iterator[dict[str, object]]) -> None:
    head = json.dumps({"schema_version": SCHEMA_VERSION, "campaign": name}, ensure_ascii=False)
    file.write(head[:-1] + ', "deliveries": [')
    for index, row in enumerate(rows):
        file.write((",\n" if index else "\n") + json.dumps(row, ensure_ascii=False))
    file.write("\n]}\n")


@contextmanager
def _output(path: Path | None) -> Iterator[IO[str]]:
    """Stdout, or a file for its owner's eyes that appears whole or not at all."""
    if path is None:
        yield sys.stdout
        return
    with whole_file(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
        yield file


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
