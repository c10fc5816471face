"""`mailer bounce`: what comes back by mail, from files and from mailboxes."""

import sys
from collections import Counter
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
_MOST_ROWS = 300
"""Of the table."""
_MOST_RECIPIENTS = 20
"""Shown of one message: whoever wrote it decides how many it names."""


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
    account = _Account(as_json=as_json)
    messages = read_paths(paths, stdin=sys.stdin.buffer)
    with progress("messages") as report:
        for each in process_messages(tools, messages, dry_run=dry_run):
            account.add(each)
            report(account.count)
    if as_json:
        print_json({**account.data, "dry_run": dry_run})
    account.show(dry_run=dry_run)
    if not account.count:
        say("nothing was given, or a folder that is no Maildir and holds no .eml files")
    ctx.exit(account.code)


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
    account = _Account(as_json=as_json)
    with progress("messages") as report:

        def tell(each: Processed | Unread) -> None:
            account.add(each)
            report(account.count)

        looked = poll_mailboxes(runtime.feedback_tools, places, tell=tell)
    if as_json:
        mailboxes = [
            {
                "mailbox": place.name,
                "ok": place not in looked.troubles,
                "detail": looked.troubles.get(place),
            }
            for place in places
        ]
        print_json({**account.data, "mailboxes": mailboxes})
    account.show(dry_run=False)
    for trouble in looked.troubles.values():
        say(trouble)
    ctx.exit(UNAVAILABLE if looked.troubles else account.code)


class _Account:
    """What the messages of one call came to; no more is kept of them than will be shown."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._kinds: Counter[MailKind] = Counter()
        self._results: Counter[Result] = Counter()
        self._messages: list[dict[str, Any]] = []
        self._rows: list[list[object]] = []
        self._unread: list[Unread] = []
        self._unread_count = 0

    def add(self, each: Processed | Unread) -> None:
        """Take one message in."""
        if isinstance(each, Unread):
            self._unread_count += 1
            if self._as_json or len(self._unread) < _MOST_ROWS:
                self._unread.append(each)
            return
        self._kinds[each.finding.kind] += 1
        self._results[each.applied.result] += 1
        if self._as_json:
            self._messages.append(_as_data(each))
        elif len(self._rows) < _MOST_ROWS:
            self._rows += _rows(each)

    @property
    def count(self) -> int:
        """How many messages there were."""
        return self._kinds.total() + self._unread_count

    @property
    def code(self) -> int:
        """The exit code: whether all of them are dealt with."""
        return DONE_IN_PART if self._unread_count or self._results[Result.WAITING] else 0

    @property
    def data(self) -> dict[str, Any]:
        """Every message, as JSON shows it."""
        unread = [{"path": each.path, "reason": each.reason} for each in self._unread]
        return {"messages": self._messages, "unread": unread}

    def show(self, *, dry_run: bool) -> None:
        """The first of the messages as a table, and in a few lines that name no address how it went."""
        if self._rows:
            headings = ["message", "kind", "asks", "address", "status", "reason", "campaign", "letter"]
            print_table([*headings, "result"], self._rows)
            if len(self._rows) >= _MOST_ROWS:
                say(f"these are the first {_MOST_ROWS} rows or so; --json shows every message")
        what = ", ".join(f"{kind} {self._kinds[kind]:,}" for kind in MailKind if self._kinds[kind])
        say(f"{count_of(self.count, 'message')}{': ' + what if what else ''}")
        for result, meaning in _MEANINGS.items():
            if found := self._results[result]:
                say(f"{found:,} {meaning}{' (dry run: nothing was changed)' if dry_run else ''}")
        for each in self._unread[:_MOST_ROWS]:
            say(f"not read: {each.path}: {each.reason}")
        if self._unread_count > _MOST_ROWS:
            say(f"not read: {self._unread_count - _MOST_ROWS:,} more")


def _as_data(each: Processed) -> dict[str, Any]:
    finding, applied = each.finding, each.applied
    asks_to_stop = finding.kind is MailKind.UNSUBSCRIBE
    return {
        "path": each.path,
        "kind": MailKind.REPLY if asks_to_stop else finding.kind,
        "asks": MailKind.UNSUBSCRIBE if asks_to_stop else None,
        "recipients": [
            {
                "address": printable(one.address),
                "hard": one.hard,
                "reason": printable(one.reason),
                "status": one.status and printable(one.status),
            }
            for one in finding.recipients[:_MOST_RECIPIENTS]
        ],
        "delivery": applied.campaign
        and {"campaign": applied.campaign, "position": applied.position, "state": applied.state},
        "result": applied.result,
        "delayed": finding.delayed,
    }


def _rows(each: Processed) -> list[list[object]]:
    data = _as_data(each)
    about = data["delivery"] or {"campaign": None, "position": None}
    begin = [data["path"], data["kind"], data["asks"]]
    end = [about["campaign"], about["position"], data["result"]]
    return [
        [*begin, one["address"], one["status"], one["reason"], *end]
        for one in data["recipients"] or [{"address": None, "status": None, "reason": None}]
    ]
