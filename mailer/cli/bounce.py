"""`mailer bounce`: what comes back by mail, from files and from mailboxes."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from mailer.cli.errors import DONE_IN_PART, UNAVAILABLE
from mailer.cli.output import (
    count_of,
    json_option,
    print_json,
    print_table,
    progress,
    runtime_of,
    say,
)
from mailer.feedback.applying import Result
from mailer.feedback.findings import MailKind
from mailer.feedback.inbox import Unread, printable, read_paths
from mailer.feedback.mailboxes import mailboxes_of
from mailer.feedback.processing import Processed
from mailer.feedback.processing import poll as poll_mailboxes
from mailer.feedback.processing import process as process_messages
from mailer.foundation.settings import SettingsError

_MEANINGS = {
    Result.APPLIED: "changed something",
    Result.KNOWN: "changed nothing: known already",
    Result.WAITING: "wait until their letters' batch has ended; give them again then",
    Result.UNVERIFIED: "changed nothing: no valid token or Message-ID of ours is in them",
}


@click.group()
def bounce() -> None:
    """What comes back by mail: bounces, complaints, unsubscriptions."""


@bounce.command()
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH...",
    type=click.Path(path_type=Path, allow_dash=True),
)
@click.option("--dry-run", is_flag=True, help="Read and say what would follow; change nothing.")
@json_option
@click.pass_context
def process(ctx: click.Context, paths: tuple[Path, ...], dry_run: bool, as_json: bool) -> None:
    """Act on messages in files: one alone, an mbox, a Maildir, a folder of .eml files, - for stdin.

    The files stay as they are; the same message again changes nothing. Exit code 3 if some could not be
    read, or must be given again later.
    """
    runtime = runtime_of(ctx)
    tools = runtime.feedback_tools
    done: list[Processed | Unread] = []
    messages = read_paths(paths, stdin=sys.stdin.buffer)
    with progress("messages") as report:
        for each in process_messages(tools, messages, dry_run=dry_run):
            done.append(each)
            report(len(done))
    if as_json:
        print_json({**_as_data(done), "dry_run": dry_run})
    else:
        _show(done)
    _tell(done, dry_run=dry_run)
    ctx.exit(_code(done))


@bounce.command()
@json_option
@click.pass_context
def poll(ctx: click.Context, as_json: bool) -> None:
    """Act on what waits in the mailboxes that the setting bounce_mailboxes names.

    The scheduler does the same every minute. Exit code 69 if a mailbox cannot be reached; the others are
    read all the same.
    """
    runtime = runtime_of(ctx)
    places = mailboxes_of(runtime.settings)
    if not places:
        raise SettingsError(
            'no mailbox is set: write  bounce_mailboxes = "imaps://user:password@host/INBOX"  in'
            " mailer.toml, or set MAILER_BOUNCE_MAILBOXES"
        )
    with progress("messages") as report:
        looked = poll_mailboxes(runtime.feedback_tools, places, report=report)
    if as_json:
        mailboxes = [
            {
                "mailbox": place.name,
                "ok": place not in looked.troubles,
                "detail": looked.troubles.get(place),
            }
            for place in places
        ]
        print_json({**_as_data(looked.messages), "mailboxes": mailboxes})
    else:
        _show(looked.messages)
    _tell(looked.messages, dry_run=False)
    for trouble in looked.troubles.values():
        say(trouble)
    ctx.exit(UNAVAILABLE if looked.troubles else _code(looked.messages))


def _code(done: Iterable[Processed | Unread]) -> int:
    left = any(isinstance(each, Unread) or each.applied.result is Result.WAITING for each in done)
    return DONE_IN_PART if left else 0


def _as_data(done: Iterable[Processed | Unread]) -> dict[str, Any]:
    done = list(done)
    return {
        "messages": [_message_as_data(each) for each in done if isinstance(each, Processed)],
        "unread": [
            {"path": each.path, "reason": each.reason} for each in done if isinstance(each, Unread)
        ],
    }


def _message_as_data(each: Processed) -> dict[str, Any]:
    applied = each.applied
    return {
        "path": each.path,
        "kind": each.finding.kind,
        "recipients": [
            {
                "address": printable(one.address),
                "hard": one.hard,
                "reason": printable(one.reason),
                "status": one.status and printable(one.status),
            }
            for one in each.finding.recipients
        ],
        "delivery": applied.campaign
        and {"campaign": applied.campaign, "position": applied.position, "state": applied.state},
        "result": applied.result,
        "delayed": each.finding.delayed,
    }


def _show(done: Sequence[Processed | Unread]) -> None:
    rows = [row for each in done if isinstance(each, Processed) for row in _rows(each)]
    if rows:
        print_table(
            ["message", "kind", "address", "status", "reason", "campaign", "letter", "result"], rows
        )


def _rows(each: Processed) -> list[list[object]]:
    data = _message_as_data(each)
    about = data["delivery"] or {"campaign": None, "position": None}
    end = [about["campaign"], about["position"], data["result"]]
    return [
        [data["path"], data["kind"], one["address"], one["status"], one["reason"], *end]
        for one in data["recipients"] or [{"address": None, "status": None, "reason": None}]
    ]


def _tell(done: Sequence[Processed | Unread], *, dry_run: bool) -> None:
    """Say in a few lines how it went; names no address."""
    read = [each for each in done if isinstance(each, Processed)]
    kinds = Counter(each.finding.kind for each in read)
    what = ", ".join(f"{kind} {kinds[kind]:,}" for kind in MailKind if kinds[kind])
    say(f"{count_of(len(done), 'message')}{': ' + what if what else ''}")
    results = Counter(each.applied.result for each in read)
    for result, meaning in _MEANINGS.items():
        if results[result]:
            say(f"{results[result]:,} {meaning}{' (dry run: nothing was changed)' if dry_run else ''}")
    for each in done:
        if isinstance(each, Unread):
            say(f"not read: {each.path}: {each.reason}")
