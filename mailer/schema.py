"""The whole metadata, and the revision the database is at; ``migrations.upgrading`` changes it."""

from pathlib import Path

from sqlalchemy import String, column, inspect, select, table
from sqlalchemy.exc import DatabaseError

import mailer.campaigns.models
import mailer.events.models
import mailer.reports.models
import mailer.staff.models
import mailer.tracking.models
import recipients.models
from mailer.foundation.database import Base, Database, DatabaseUnavailable

MODELS = (
    mailer.campaigns.models,
    mailer.events.models,
    mailer.reports.models,
    mailer.staff.models,
    mailer.tracking.models,
    recipients.models,
)
"""Every module with tables; importing this one makes the metadata complete."""

metadata = Base.metadata

_revision = table("alembic_version", column("version_num", String)).c.version_num
_VERSIONS = Path(__file__).parent / "migrations" / "versions"
REVISIONS = sorted(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*_*.py"))
"""Every revision this code knows, oldest first: the numbers that their files begin with."""
HEAD = REVISIONS[-1]


class SchemaBehind(Exception):
    """The database is not at the revision this code needs; nothing was read or changed."""


def current_revision(database: Database) -> str | None:
    """The revision the database is at; None for an empty one.

    Raises:
        DatabaseUnavailable: it cannot be reached, or is no database of ours.
    """
    try:
        with database.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.scalar(select(_revision))
    except DatabaseError as error:
        raise DatabaseUnavailable(str(error.orig).strip().splitlines()[0]) from error


def require_current_schema(database: Database) -> None:
    """Return if the database is at the revision this code needs.

    Raises:
        SchemaBehind: it is not, or is empty.
        DatabaseUnavailable: it cannot be reached.
    """
    revision = current_revision(database)
    if revision is None:
        raise SchemaBehind("the database is empty: run  mailer init")
    if revision > HEAD:  # they are numbered
        require_known(revision)
    if revision != HEAD:
        raise SchemaBehind(
            f"the database is at revision {revision}, this code needs {HEAD}:"
            " run  mailer database upgrade"
        )


def require_known(revision: str) -> None:
    """Return if this code knows the revision.

    Raises:
        SchemaBehind: it does not; nothing was changed.
    """
    if revision not in REVISIONS:
        raise SchemaBehind(
            f"the database is at revision {revision}, which this code ({HEAD}) does not know:"
            " it was made by another version of the mailer; install that one"
        )
