"""`mailer segment`: create, list, count."""

import click
from sqlalchemy import func, select

from mailer.cli.output import json_option, print_json, print_table, runtime_of, say
from recipients.models import Recipient, Suppression
from recipients.segments import create_segment, find_segment, list_segments, select_segment


@click.group()
def segment() -> None:
    """Named rules that select recipients."""


@segment.command("create")
@click.argument("name")
@click.option(
    "--where",
    "rule",
    required=True,
    metavar="RULE",
    help='Such as "role in (minister, borgmester) and region = Sjælland".',
)
@json_option
@click.pass_context
def create(ctx: click.Context, name: str, rule: str, as_json: bool) -> None:
    """Keep a rule under a name.

    Fields: email, name, role, sector, organisation, workplace, confederation, region, language, domain,
    source and attributes.NAME. They are compared with =, !=, in (…) and not in (…), and joined by and,
    or, not and parentheses. Quote a value that holds one of these words; "" is a missing value.
    """
    runtime = runtime_of(ctx)
    with runtime.database.write() as db:
        made = create_segment(db, name, rule, runtime.clock.now())
    if as_json:
        print_json({"segment": made.name, "rule": made.rule})
    else:
        say(f"segment {made.name} created")


@segment.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List all segments and their rules."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        found = list_segments(db)
    if as_json:
        print_json(
            {
                "segments": [
                    {"segment": each.name, "rule": each.rule, "created_at": each.created_at}
                    for each in found
                ]
            }
        )
    elif found:
        print_table(["segment", "rule"], [[each.name, each.rule] for each in found])
    else:
        say("no segments yet; make one with  mailer segment create")


@segment.command("count")
@click.argument("name")
@json_option
@click.pass_context
def count(ctx: click.Context, name: str, as_json: bool) -> None:
    """Count whom a segment selects, and how many of them get no mail."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        rule = find_segment(db, name).rule
        selected = select_segment(rule)
        total = db.scalar(select(func.count()).select_from(selected.subquery())) or 0
        silent = (
            select(func.count())
            .select_from(Recipient)
            .join(Suppression, Suppression.address_hash == Recipient.address_hash)
            .where(Recipient.id.in_(selected))
        )
        suppressed = db.scalar(silent) or 0
    if as_json:
        print_json({"segment": name, "rule": rule, "recipients": total, "suppressed": suppressed})
    else:
        print_table(["segment", "recipients", "suppressed"], [[name, total, suppressed]])
