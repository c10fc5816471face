"""Two roles of PostgreSQL beside the owner's: what the public pages may read, and the drainer may write.

Whoever takes over the process that the whole world talks to can then change nothing in the database, and
reads no address of anybody. It reads how many registrations an event has and when each was made, not
whose they are: there is no list of guests in it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_EVERY_COLUMN: tuple[str, ...] = ()

Columns = Mapping[str, Sequence[str]]
"""By table, the columns; none named is all of them."""

PUBLIC_READS: Columns = {
    "alembic_version": _EVERY_COLUMN,
    "campaigns": _EVERY_COLUMN,
    "links": _EVERY_COLUMN,
    "events": _EVERY_COLUMN,
    "deliveries": (
        "campaign_id",
        "position",
        "recipient_id",
        "state",
        "batch_id",
        "attempts",
        "due_at",
        "first_deferred_at",
    ),
    "recipients": (
        "id",
        "name",
        "role",
        "sector",
        "organisation",
        "workplace",
        "confederation",
        "region",
        "language",
        "attributes",
        "tracking",
        "shared",
    ),
    "recipient_versions": _EVERY_COLUMN,
    "batches": (
        "id",
        "campaign_id",
        "first",
        "last",
        "state",
        "planned_at",
        "due_at",
        "fence",
        "versions_seen",
    ),
    "registrations": ("event_id", "state", "number", "registered_at"),
    "reminders": (
        "id",
        "event_id",
        "lead",
        "rule",
        "event_date",
        "state",
        "due_at",
        "late",
        "audience",
        "campaign_id",
        "at",
    ),
    "event_changes": ("id", "event_id", "field", "old", "at"),
    "heartbeats": _EVERY_COLUMN,
}
"""What the public pages and ``/metrics`` show. A letter in a browser greets its reader by name, as they
were called when it left."""

DRAINER_READS: Columns = {
    "alembic_version": _EVERY_COLUMN,
    "campaigns": ("id", "tracking", "frozen_letter"),
    "links": ("campaign_id", "number"),
    "deliveries": ("campaign_id", "position", "recipient_id", "state", "at"),
    "recipients": ("id", "address_hash", "language", "tracking", "updated_at"),
    "events": _EVERY_COLUMN,
    "registrations": (
        "id",
        "event_id",
        "recipient_id",
        "state",
        "source",
        "number",
        "registered_at",
        "changed_at",
    ),
}
DRAINER_WRITES: Mapping[str, str] = {
    "tracking_events": "SELECT, INSERT, UPDATE",
    "tracking_counts": "SELECT, INSERT, UPDATE",
    "user_agents": "SELECT, INSERT",
    "web_journals": "SELECT, INSERT, UPDATE, DELETE",
    "recipients": "UPDATE (tracking, updated_at)",
    "suppressions": "SELECT, INSERT, UPDATE, DELETE",
    "reminder_requests": "SELECT, INSERT, DELETE",
    "registrations": (
        "INSERT (event_id, recipient_id, state, source, number, registered_at, changed_at), "
        "UPDATE (state, source, number, registered_at, changed_at)"
    ),
    "events": "UPDATE (updated_at)",
}
"""What readers did and asked for; nothing of what was sent to whom. Of events only when they changed
last: whoever may write a column may lock the row, and with it the seats."""
_DRAINER_NUMBERS = ("tracking_events_id_seq", "user_agents_id_seq", "registrations_id_seq")


class BadRoleName(Exception):
    """Not a name that a role is given here."""


def write_grants(*, public: str | None, drain: str | None) -> str:
    """SQL that gives the roles exactly what they need, whatever they had; for the tables' owner to run.

    Harmless when run again, and to be run after every upgrade of the database.

    Raises:
        BadRoleName: a name is none, or both are one.
    """
    if public is not None and public == drain:
        raise BadRoleName(f"{public} cannot be both: the public role may write nothing")
    lines = [
        "BEGIN;",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
        *(_grants_of(public, PUBLIC_READS, {}, ()) if public is not None else ()),
        *(
            _grants_of(drain, DRAINER_READS, DRAINER_WRITES, _DRAINER_NUMBERS)
            if drain is not None
            else ()
        ),
        *([f'ALTER ROLE "{public}" SET default_transaction_read_only = on;'] if public else ()),
        "COMMIT;",
    ]
    return "\n".join(lines) + "\n"


def _grants_of(
    role: str, reads: Columns, writes: Mapping[str, str], numbers: Sequence[str]
) -> Iterator[str]:
    if not _NAME.fullmatch(role):
        raise BadRoleName(f"{role!r} is no name of a role: lower-case letters, digits and _ alone")
    yield f"-- made before, by its administrator:  CREATE ROLE \"{role}\" LOGIN PASSWORD '...';"
    yield f'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{role}";'
    yield f'REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM "{role}";'
    yield f'GRANT USAGE ON SCHEMA public TO "{role}";'
    for table, columns in reads.items():
        which = f" ({', '.join(columns)})" if columns else ""
        yield f'GRANT SELECT{which} ON {table} TO "{role}";'
    for table, privileges in writes.items():
        yield f'GRANT {privileges} ON {table} TO "{role}";'
    for sequence in numbers:
        yield f'GRANT USAGE ON SEQUENCE {sequence} TO "{role}";'
