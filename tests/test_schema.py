import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from mailer.foundation.database import Database
from mailer.migrations.upgrading import migrations
from mailer.schema import HEAD, REVISIONS, current_revision, metadata, require_current_schema


@pytest.fixture
def postgres_url(fresh_postgres_url: str) -> str:
    """These tests change more than rows."""
    return fresh_postgres_url


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


def test_the_revisions_are_those_that_alembic_finds(database: Database) -> None:
    with database.engine.connect() as connection:
        scripts = ScriptDirectory.from_config(migrations(connection))
        assert sorted(script.revision for script in scripts.walk_revisions()) == REVISIONS
        assert scripts.get_current_head() == HEAD
