"""`mailer recipient`: import, list, show, suppress, unsuppress, tracking."""

import shlex
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from mailer.campaigns.audience import claims, written_to
from mailer.cli.errors import DONE_IN_PART
from mailer.cli.lists import FieldOfHeading, encoding_option, rejects_option, tell_import
from mailer.cli.output import json_option, print_json, print_table, progress, runtime_of, say
from mailer.events.matching import link_registrations
from recipients.addresses import hash_address, parse_address
from recipients.choices import choose_tracking
from recipients.columns import Column
from recipients.errors import BadAddress
from recipients.finding import find_recipient
from recipients.importing import ImportOptions, import_files
from recipients.models import (
    Recipient,
    RecipientSource,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    TrackingChoice,
)
from recipients.segments import find_segment, select_segment
from recipients.suppression import LONGEST_NOTE, find_suppression, suppress, unsuppress

_BY_THE_OFFICE = "told to the office"
"""The note of an unsubscription that the recipient cannot take back alone."""
_GETS = {
    SuppressionScope.EVERYTHING: "no more mail",
    SuppressionScope.LETTERS: "no more letters, only the reminders it asks for",
}
_TRACKED = {
    TrackingChoice.CONSENT: "what it opens and clicks is kept where the letter's tracking says so",
    TrackingChoice.OBJECTION: "no letter tracks it, also none that has left",
    TrackingChoice.UNSAID: "neither yes nor no; no list says yes in its place",
}
_LONGEST_SOURCE = 64


@click.group()
def recipient() -> None:
    """Import, list, show, suppress recipients; keep what they say about tracking."""


@recipient.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option(
    "--map",
    "mapping",
    multiple=True,
    type=FieldOfHeading(list(Column)),
    help="Which heading a field stands under, such as --map email=Kontakt.",
)
@click.option("--source", metavar="PARTY", help="The party whose list it is; replies go to it.")
@encoding_option
@rejects_option
@click.option("--dry-run", is_flag=True, help="Read and count; change nothing.")
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    files: tuple[Path, ...],
    mapping: tuple[tuple[str, str], ...],
    source: str | None,
    encoding: str | None,
    rejects: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import lists (CSV, XLSX, ODS) as offices save them; all of a call's files, or none.

    Headings are known in Danish and English. Exit code 3 if some rows were refused: they stand in the
    rejects file with their line and reason.
    """
    if source is not None and not 0 < len(source.strip()) <= _LONGEST_SOURCE:
        raise click.BadParameter(f"must have 1 to {_LONGEST_SOURCE} characters", param_hint="--source")
    runtime = runtime_of(ctx)
    options = ImportOptions(
        mapping={Column(field): heading for field, heading in mapping},
        source=source.strip() if source else None,
        encoding=encoding,
        rejects=rejects,
        rejects_folder=runtime.settings.state_dir / "rejects",
        dry_run=dry_run,
    )
    with progress("rows read") as report:
        result = import_files(
            runtime.database,
            files,
            hash_key=runtime.settings.address_key,
            clock=runtime.clock,
            options=options,
            written_to=written_to(),
            claims=claims(),
            report=report,
        )
    if not dry_run:
        with runtime.database.write() as db:
            link_registrations(db)
    tell_import(result, as_json=as_json, dry_run=dry_run)
    if result.uncertain:
        say(
            f"in the column {result.uncertain!r} a no was taken as a no to being tracked, a yes kept"
            " as an attribute only: should it be consent to being tracked, import again with"
            f" --map tracking={shlex.quote(result.uncertain)}"
        )
    if result.rejected:
        ctx.exit(DONE_IN_PART)


@recipient.command("list")
@click.option("--segment", metavar="NAME", help="Only those a segment selects.")
@click.option("--where", metavar="RULE", help="Only those a rule selects.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@click.pass_context
def list_(ctx: click.Context, segment: str | None, where: str | None, limit: int, as_json: bool) -> None:
    """List recipients, in the order in which they came."""
    if segment and where:
        raise click.UsageError("--segment and --where exclude each other")
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        rule = find_segment(db, segment).rule if segment else where
        selected = select_segment(rule)
        total = db.scalar(select(func.count()).select_from(selected.subquery())) or 0
        shown = describe_recipients(db, selected.order_by(Recipient.id).limit(limit))
    if as_json:
        print_json({"total": total, "recipients": shown})
        return
    fields = ("email", "name", "role", "organisation", "region", "suppressed")
    print_table(fields, [[each[field] or None for field in fields] for each in shown])
    if total > len(shown):
        say(f"{len(shown)} of {total}; --limit shows more")


@recipient.command("show")
@click.argument("email")
@json_option
@click.pass_context
def show(ctx: click.Context, email: str, as_json: bool) -> None:
    """Show one recipient, and whether it may be written to."""
    runtime = runtime_of(ctx)
    with runtime.database.read() as db:
        wanted = select(Recipient.id).where(Recipient.id == find_recipient(db, email).id)
        (shown,) = describe_recipients(db, wanted)
    if as_json:
        print_json(shown)
        return
    shown["source"] = ", ".join(shown["source"])
    extra = {f"attributes.{key}": value for key, value in shown.pop("attributes").items()}
    shown["suppressed"] = shown["suppressed"] or "no"
    shown["shared"] = "yes" if shown["shared"] else "no"
    rows = [[key, value] for key, value in {**shown, **extra}.items()]
    print_table(["field", "value"], rows, zone=runtime.settings.zone)


@recipient.command("suppress")
@click.argument("email")
@click.option(
    "--reason",
    required=True,
    help="unsubscribed, bounced, complained, objected, or your own words (kept as a note).",
)
@click.option(
    "--only",
    type=click.Choice([SuppressionScope.LETTERS.value]),
    help="letters: reminders the recipient asked for still come.",
)
@json_option
@click.pass_context
def suppress_(ctx: click.Context, email: str, reason: str, only: str | None, as_json: bool) -> None:
    """Let an address get no more mail, whether or not it stands in the table.

    Who objected is not tracked any more either, also by letters that have left.
    """
    kind, note = _read_reason(reason)
    scope = SuppressionScope(only) if only else SuppressionScope.EVERYTHING
    runtime = runtime_of(ctx)
    hashed = hash_address(runtime.settings.address_key, _parse(email))
    with runtime.database.write() as db:
        added = suppress(db, hashed, kind, now=runtime.clock.now(), scope=scope, note=note)
        kept = find_suppression(db, hashed)
        assert kept is not None
        said = select(Recipient.tracking).where(Recipient.address_hash == hashed)
        tracking = db.scalar(said)
    if as_json:
        told = {"suppressed": kept.reason, "suppressed_scope": kept.scope, "changed": added}
        print_json(told | {"tracking": tracking})
        return
    if added:
        say(f"suppressed ({kept.reason}): it gets {_GETS[kept.scope]}")
    else:
        day = kept.created_at.astimezone(runtime.settings.zone).date()
        say(f"it was suppressed already ({kept.reason}, {day}): it gets {_GETS[kept.scope]}")
    if kind is SuppressionReason.OBJECTED:
        say(f"it objects to tracking, too: {_TRACKED[TrackingChoice.OBJECTION]}")


@recipient.command("unsuppress")
@click.argument("email")
@json_option
@click.pass_context
def unsuppress_(ctx: click.Context, email: str, as_json: bool) -> None:
    """Let an address get mail again. An objection to tracking stays."""
    runtime = runtime_of(ctx)
    hashed = hash_address(runtime.settings.address_key, _parse(email))
    with runtime.database.write() as db:
        changed = unsuppress(db, hashed)
    if as_json:
        print_json({"suppressed": False, "changed": changed})
    else:
        say("it may be written to again" if changed else "it was not suppressed")


@recipient.command("tracking")
@click.argument("email")
@click.argument("choice", type=click.Choice([choice.value for choice in TrackingChoice]))
@json_option
@click.pass_context
def tracking_(ctx: click.Context, email: str, choice: str, as_json: bool) -> None:
    """Keep what a recipient said about being tracked; links already sent follow.

    `unsaid` takes the last word back: neither yes nor no. No import lifts an objection, or gives a
    consent again that was taken back.
    """
    runtime = runtime_of(ctx)
    word = TrackingChoice(choice)
    with runtime.database.write() as db:
        found = find_recipient(db, email)
        changed = choose_tracking(db, found.address_hash, word, now=runtime.clock.now())
    if as_json:
        print_json({"tracking": word, "changed": changed})
    else:
        say(f"{'' if changed else 'it was so already: '}{word}: {_TRACKED[word]}")


def describe_recipients(db: Session, ids: Select[int]) -> list[dict[str, Any]]:
    """The fields of recipients in order of id, and why each gets no mail (or False)."""
    wanted = ids.subquery()
    found = db.execute(
        select(Recipient, Suppression)
        .outerjoin(Suppression, Suppression.address_hash == Recipient.address_hash)
        .where(Recipient.id.in_(select(wanted)))
        .order_by(Recipient.id)
    )
    sources: dict[int, list[str]] = {}
    on_lists = select(RecipientSource).where(RecipientSource.recipient_id.in_(select(wanted)))
    for each in db.scalars(on_lists.order_by(RecipientSource.source)):
        sources.setdefault(each.recipient_id, []).append(each.source)
    return [_describe(each, suppression, sources.get(each.id, [])) for each, suppression in found]


def _describe(found: Recipient, kept: Suppression | None, sources: list[str]) -> dict[str, Any]:
    return {
        "email": found.email,
        "name": found.name,
        "role": found.role,
        "sector": found.sector,
        "organisation": found.organisation,
        "workplace": found.workplace,
        "confederation": found.confederation,
        "region": found.region,
        "language": found.language,
        "source": sources,
        "attributes": found.attributes,
        "suppressed": kept.reason if kept else False,
        "suppressed_scope": kept.scope if kept else None,
        "domain": found.domain,
        "shared": found.shared,
        "tracking": found.tracking,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
    }


def _read_reason(text: str) -> tuple[SuppressionReason, str | None]:
    word = text.strip().casefold()
    if word in list(SuppressionReason):
        kind = SuppressionReason(word)
        return kind, _BY_THE_OFFICE if kind is SuppressionReason.UNSUBSCRIBED else None
    if not word or len(text) > LONGEST_NOTE:
        raise click.BadParameter(f"must have 1 to {LONGEST_NOTE} characters", param_hint="--reason")
    return SuppressionReason.MANUAL, text.strip()


def _parse(email: str) -> str:
    try:
        return parse_address(email).key
    except BadAddress as error:
        raise click.BadParameter(str(error), param_hint="EMAIL") from error
