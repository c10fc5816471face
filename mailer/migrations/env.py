"""How Alembic reaches the database: through the connection it is given, else the settings in force."""

from typing import Literal

from alembic import context
from sqlalchemy import Connection, Enum

from mailer.foundation.database import UTCDateTime, open_database
from mailer.foundation.settings import load_settings
from mailer.schema import metadata


def _render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write columns by what the database stores, so that a revision needs none of our code."""
    if kind == "type" and isinstance(item, Enum):
        return f"sa.String(length={item.length})"
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        render_item=_render_item,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with open_database(load_settings().database).engine.begin() as opened:
        _run(opened)
