"""Bringing the database to the newest revision. Alembic is loaded by those who upgrade alone."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from mailer.foundation.database import Database
from mailer.schema import HEAD, current_revision, require_known


def upgrade_schema(database: Database) -> str:
    """Bring the database to the newest revision, also an empty one; return the revision.

    Raises:
        SchemaBehind: it is at a revision this code does not know; nothing was changed.
        DatabaseUnavailable: it cannot be reached.
    """
    revision = current_revision(database)
    if revision is not None:
        require_known(revision)
    with database.engine.begin() as connection:
        command.upgrade(migrations(connection), "head")
    return HEAD


def migrations(connection: Connection) -> Config:
    """Alembic's settings for our revisions, over a connection."""
    config = Config()
    config.set_main_option("script_location", "mailer:migrations")
    config.attributes["connection"] = connection
    return config
