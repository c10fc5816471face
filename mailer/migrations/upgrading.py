"""Bringing the database to the newest revision. Alembic is loaded by those who upgrade alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from mailer.foundation.database import Database, begin_write
from mailer.schema import HEAD, current_revision, require_known


class DanglingRows(Exception):
    """After the revisions rows would refer to others that are not there; nothing was changed."""


def upgrade_schema(database: Database) -> str:
    """Bring the database to the newest revision, also an empty one; return the revision.

    Raises:
        SchemaBehind: it is at a revision this code does not know; nothing was changed.
        DatabaseUnavailable: it cannot be reached.
    """
    revision = current_revision(database)
    if revision is not None:
        require_known(revision)
    with migrating(database) as config:
        command.upgrade(config, "head")
    return HEAD


@contextmanager
def migrating(database: Database) -> Iterator[Config]:
    """One transaction in which revisions may be gone through; all of them, or none on any error.

    SQLite changes a table by building it anew, while others refer to its rows: what they refer to is
    looked at in the end instead.

    Raises:
        DanglingRows: rows would refer to others that are not there; nothing was changed.
        DatabaseUnavailable: it cannot be reached.
    """
    with database.own_connection() as connection:
        rebuilds = connection.dialect.name == "sqlite"
        if rebuilds:  # without effect once a transaction is open
            driver: Any = connection.connection.dbapi_connection
            driver.execute("PRAGMA foreign_keys=OFF")
        with begin_write(connection):
            yield migrations(connection)
            if rebuilds:
                dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if dangling is not None:
                    raise DanglingRows(f"rows of {dangling[0]} refer to {dangling[2]} that are gone")


def migrations(connection: Connection) -> Config:
    """Alembic's settings for our revisions, over a connection."""
    config = Config()
    config.set_main_option("script_location", "mailer:migrations")
    config.attributes["connection"] = connection
    return config
