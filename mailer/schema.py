"""The whole metadata, and the revision the database is at."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DatabaseError

import mailer.campaigns.models
import mailer.events.models
import mailer.tracking.models
import recipients.models
from mailer.foundation.database import Base, Database, DatabaseUnavailable

MODELS = (mailer.campaigns.models, mailer.events.models, mailer.tracking.models, recipients.models)
"""Every module with tables; importing this one makes the metadata complete."""

metadata = Base.metadata


class SchemaBehind(Exception):
    """The database is not at the revision this code needs; nothing was read or changed."""


def upgrade_schema(database: Database) -> str:
    """Bring the database to the newest revision, also an empty one; return the revision.

    Raises:
        SchemaBehind: it is at a revision this code does not know; nothing was changed.
        DatabaseUnavailable: it cannot be reached.
    """
    revision = current_revision(database)
    if revision is not None:
        _require_known(revision)
    config = _config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return _head()


def current_revision(database: Database) -> str | None:
    """The revision the database is at; None for an empty one.

    Raises:
        DatabaseUnavailable: it cannot be reached, or is no database of ours.
    """
    try:
        with database.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
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
    if revision > _head():  # they are numbered
        _require_known(revision)
    if revision != _head():
        raise SchemaBehind(
            f"the database is at revision {revision}, this code needs {_head()}:"
            " run  mailer database upgrade"
        )


def _require_known(revision: str) -> None:
    scripts = ScriptDirectory.from_config(_config())
    if revision not in {script.revision for script in scripts.walk_revisions()}:
        raise SchemaBehind(
            f"the database is at revision {revision}, which this code ({_head()}) does not know:"
            " it was made by another version of the mailer; install that one"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "mailer:migrations")
    return config


def _head() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head
