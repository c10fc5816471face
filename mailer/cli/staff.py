"""`mailer staff`: who may look at the staff pages."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mailer.cli.output import (
    count_of,
    json_option,
    print_json,
    print_table,
    runtime_of,
    say,
)
from mailer.foundation.clock import real_now
from mailer.staff.accounts import (
    account_name,
    add_account,
    change_password,
    find_account,
    list_accounts,
    remove_account,
)
from mailer.staff.errors import AccountExists, AccountNotFound
from mailer.staff.models import StaffRole
from mailer.staff.passwords import LONGEST, check_password, generate_password
from recipients.errors import InputNotFound

_MOST_BYTES = 4 * LONGEST + 2


def _password_options(command: Callable[..., Any]) -> Callable[..., Any]:
    file = click.option(
        "--password-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Read it from the first line of FILE; - is standard input.",
    )
    generate = click.option("--generate", is_flag=True, help="Make one up, and show it once on stdout.")
    return file(generate(command))


@click.group()
def staff() -> None:
    """Who may look at the staff pages."""


@staff.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in StaffRole]),
    required=True,
    help="viewer: figures; admin: also why letters failed or are uncertain.",
)
@_password_options
@click.pass_context
def add(ctx: click.Context, name: str, role: str, password_file: Path | None, generate: bool) -> None:
    """Let NAME sign in.

    The password is asked for twice on a terminal, and otherwise read from the first line of standard
    input: never an argument, which others on the machine could see.
    """
    runtime = runtime_of(ctx)
    name = account_name(name)
    with runtime.database.read() as db:
        try:
            find_account(db, name)
        except AccountNotFound:
            pass
        else:
            raise AccountExists(f"there is an account {name} already")
    password = _read_password(name, password_file, generate=generate)
    with runtime.database.write() as db:
        add_account(db, name, StaffRole(role), password, now=real_now())
    _show_generated(password, shown=generate)
    say(f"account {name} added: {role}, signs in at {runtime.settings.public_url}/staff")


@staff.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List who may sign in."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        accounts = list_accounts(db)
    if as_json:
        print_json(
            {
                "accounts": [
                    {
                        "name": account.name,
                        "role": account.role.value,
                        "created_at": account.created_at,
                        "password_changed_at": account.changed_at,
                        "signed_in_at": account.signed_in_at,
                    }
                    for account in accounts
                ]
            }
        )
    elif accounts:
        print_table(
            ["name", "role", "created", "last signed in"],
            [[each.name, each.role, each.created_at, each.signed_in_at] for each in accounts],
            zone=runtime.settings.zone,
        )
    else:
        say("nobody may sign in yet; let somebody with  mailer staff add")


@staff.command("passwd")
@click.argument("name")
@_password_options
@click.pass_context
def passwd(ctx: click.Context, name: str, password_file: Path | None, generate: bool) -> None:
    """Give NAME another password; every session of the account ends."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        name = find_account(db, name).name
    password = _read_password(name, password_file, generate=generate)
    with runtime.database.write() as db:
        ended = change_password(db, name, password, now=real_now())
    _show_generated(password, shown=generate)
    say(f"{name} has another password; {count_of(ended, 'session')} ended")


@staff.command("remove")
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Let NAME sign in no more; every session of the account ends at once."""
    runtime = runtime_of(ctx)
    with runtime.database.write() as db:
        ended = remove_account(db, name)
    say(f"account {name.strip().casefold()} removed; {count_of(ended, 'session')} ended")


def _read_password(name: str, file: Path | None, *, generate: bool) -> str:
    if generate and file is not None:
        raise click.UsageError("--generate and --password-file are two different things")
    if generate:
        return generate_password()
    if file is not None and str(file) != "-":
        if not file.exists():
            raise InputNotFound(f"no such file: {file}")
        with file.open("rb") as stream:
            return _first_line(stream.readline(_MOST_BYTES))
    if file is not None or not sys.stdin.isatty():
        return _first_line(sys.stdin.buffer.readline(_MOST_BYTES))
    password: str = click.prompt("Password", hide_input=True, err=True)
    check_password(name, password)  # before it is typed once more
    again: str = click.prompt("The same again", hide_input=True, err=True)
    if password != again:
        raise click.ClickException("the two passwords are not the same; nothing was changed")
    return password


def _first_line(line: bytes) -> str:
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise click.ClickException("the password is not UTF-8; nothing was changed") from error


def _show_generated(password: str, *, shown: bool) -> None:
    if shown:
        click.echo(password)
