from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from mailer.foundation.database import Database
from mailer.schema import current_revision, metadata, require_current_schema


def test_models_and_migrations_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_a_migrated_database_is_current(database: Database) -> None:
    require_current_schema(database)
    assert current_revision(database)
    assert set(inspect(database.engine).get_table_names()) == {*metadata.tables, "alembic_version"}
