"""`mailer init | doctor | database | settings | completion`: what one does before the first letter."""

import asyncio
import contextlib
import json
import os
import platform
import secrets
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click
import redis
from click.shell_completion import get_completion_class
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from mailer.cli.main import cli
from mailer.cli.output import json_option, print_json, print_table, say, settings_of
from mailer.embedded.errors import ProgramMissing
from mailer.embedded.redis import find_server
from mailer.foundation.clock import Clock
from mailer.foundation.database import Database, DatabaseUnavailable, open_database
from mailer.foundation.log import configure_log
from mailer.foundation.settings import SECRETS, Settings, SettingsError, settings_path
from mailer.migrations.upgrading import upgrade_schema
from mailer.roles import BadRoleName, write_grants
from mailer.schema import SchemaBehind, current_revision, require_current_schema
from mailer.sending.letters import list_id
from mailer.smtp.errors import RelayUnavailable
from mailer.smtp.patience import Patience
from mailer.smtp.pool import check_relay
from mailer.smtp.relays import BadRelay, parse_relay
from mailer.tracking.journals import web_folder
from mailer.tracking.watching import find_alarms, watch_journals

_CONNECT_SECONDS = 3.0
_REPLY_SECONDS = 10.0
_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
_KEYS = ("secret_key", "suppression_key")

_TEMPLATE = """\
# Settings of the mailer. A flag (--set NAME=VALUE) beats an environment variable (MAILER_NAME) beats
# this file. `mailer settings show` prints what is in force, `mailer doctor` what is missing.

# Signs every link. To change it, move the old value to secret_keys_old: the links of letters already
# sent go on working.
secret_key = "{secret_key}"
# secret_keys_old = ""

# By this key an address that said no is known for ever. Never change it, and keep a copy.
suppression_key = "{suppression_key}"

# Nothing is sent until these two are set.
# sender = "Center for Offentlig Innovation <brev@eksempel.example>"
# smtp_relays = "smtp://user:password@relay.eksempel.example:587?starttls=require&connections=8"

# How much is remembered of what a recipient does: none, anonymous, consent or personal.
# tracking = "anonymous"

# The base of every tracked link; https anywhere but on this machine.
# public_url = "https://brev.eksempel.example"

# The proxy that speaks TLS before the web application: the address its connections come from.
# trusted_proxies = "127.0.0.1"

# Trial mode: the only addresses or domains that get mail.
# allow_only = "eksempel.example"

# Where bounce messages and replies go, and the list's name; by default the sender's domain.
# bounce_address = "bounce@eksempel.example"
# bounce_mailboxes = "imaps://bounce:password@imap.eksempel.example/INBOX"
# reply_to = "svar@eksempel.example"
# list_id = "brev.eksempel.example"

# By default everything lies in var/ beside this file's working folder: an SQLite database and an
# embedded Redis-protocol server that `mailer up` starts.
# state_dir = "var"
# database_url = "postgresql://mailer:password@localhost/mailer"
# redis_url = "redis://localhost:6379/0"

# timezone = "Europe/Copenhagen"
# worker_processes = 2
# log_format = "json"
"""


@click.command()
@click.pass_context
def init(ctx: click.Context) -> None:
    """Make a settings file with fresh keys, and create or migrate the database.

    An existing settings file is kept as it is.
    """
    path = settings_path()
    if path.exists():
        say(f"settings: {path} is there already and is kept")
    else:
        _write_new(path)
        say(f"settings: {path} written, with fresh keys; keep a copy of it")
    settings = settings_of(ctx)
    missing = [key for key in _KEYS if getattr(settings, key) is None]
    if missing:
        lines = "  ".join(f'{key} = "{_fresh_key()}"' for key in missing)
        raise SettingsError(f"{path} has no {' and no '.join(missing)}: put this at its top:  {lines}")
    _make_state_dir(settings)
    say(f"database: {_upgrade(settings)}")
    if settings.sender is None or not settings.relays:
        say("next: set sender and smtp_relays in the settings file; then  mailer doctor,  mailer up")


def _fresh_key() -> str:
    return secrets.token_urlsafe(32)


def _write_new(path: Path) -> None:
    """Write the settings file for its owner only, whole or not at all."""
    text = _TEMPLATE.format(secret_key=_fresh_key(), suppression_key=_fresh_key())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.write(descriptor, text.encode())
        os.close(descriptor)
        try:
            os.link(temporary, path)  # fails if another init was quicker: its keys are kept
        except FileExistsError:
            say(f"settings: {path} was made by somebody else just now and is kept")
        finally:
            Path(temporary).unlink()
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


def _make_state_dir(settings: Settings) -> None:
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(
            f"cannot make the state folder {settings.state_dir}: {error.strerror}"
        ) from error


def _opened(settings: Settings) -> contextlib.AbstractContextManager[Database]:
    return _opened_url(settings, settings.database)


@contextlib.contextmanager
def _opened_url(settings: Settings, url: str) -> Iterator[Database]:
    configure_log(settings.log_format)
    try:
        database = open_database(url)
    except OSError as error:
        raise DatabaseUnavailable(f"{error.filename}: {error.strerror}") from error
    try:
        yield database
    except OperationalError as error:
        raise DatabaseUnavailable(str(error.orig).strip().splitlines()[0]) from error
    finally:
        database.dispose()


def _upgrade(settings: Settings) -> str:
    with _opened(settings) as database:
        before = current_revision(database)
        after = upgrade_schema(database)
    if before is None:
        return f"created at revision {after}"
    return f"at revision {after}" + (" already" if before == after else f", was at {before}")


@click.group()
def database() -> None:
    """Upgrade or check the database, or print the rights of its roles."""


@database.command()
@click.pass_context
def upgrade(ctx: click.Context) -> None:
    """Create the database or bring it to this code's revision."""
    settings = settings_of(ctx)
    _make_state_dir(settings)
    say(f"database: {_upgrade(settings)}")


@database.command()
@json_option
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Check that the database fits this code; 78 if it is behind."""
    settings = settings_of(ctx)
    with _opened(settings) as opened:
        require_current_schema(opened)
        revision = current_revision(opened)
    if as_json:
        print_json({"ok": True, "revision": revision})
    else:
        say(f"database: at revision {revision}, as this code needs it")


@database.command()
@click.option("--public", metavar="NAME", help="The role of the public web process: it only reads.")
@click.option("--drain", metavar="NAME", help="The role of  mailer drain.")
def roles(public: str | None, drain: str | None) -> None:
    """Print SQL that gives PostgreSQL's roles what they need and nothing else.

    The roles exist already; the owner of the tables runs it, again after each upgrade:
    mailer database roles --public NAME --drain NAME | psql DATABASE
    """
    if public is None and drain is None:
        raise click.UsageError("name a role: --public NAME, --drain NAME, or both")
    try:
        click.echo(write_grants(public=public, drain=drain), nl=False)
    except BadRoleName as error:
        raise click.UsageError(str(error)) from error


@click.group()
def settings() -> None:
    """Show the settings in force."""


@settings.command()
@json_option
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Show every setting and where it comes from; secrets are masked."""
    in_force = settings_of(ctx)
    values = in_force.shown()
    sources = _sources(in_force, ctx.find_root().obj or {})
    if as_json:
        print_json({"settings": values, "sources": sources, "file": str(settings_path())})
        return
    print_table(
        ("setting", "value", "from"),
        [(name, _one_line(value), sources[name]) for name, value in values.items()],
    )


def _one_line(value: object) -> str:
    return "" if value is None else json.dumps(value) if isinstance(value, dict) else str(value)


def _sources(in_force: Settings, flags: Mapping[str, object]) -> dict[str, str]:
    path = settings_path()
    in_file = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    variables = {"database_url": ["DATABASE_URL"], "redis_url": ["REDIS_URL"]}
    sources = {}
    for name in type(in_force).model_fields:
        known = [f"MAILER_{name.upper()}", *variables.get(name, [])]
        if name in SECRETS:
            known.append(f"MAILER_{name.upper()}_FILE")
        variable = next((each for each in known if os.environ.get(each)), None)
        if name in flags:
            sources[name] = "--set"
        elif variable is not None:
            sources[name] = variable
        else:
            sources[name] = path.name if name in in_file else "default"
    return sources


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be right before letters can leave."""

    name: str
    ok: bool
    detail: str


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check what this machine and these settings lack; exit 1 if anything is wrong."""
    checks = [_check_python()]
    try:
        in_force = settings_of(ctx)
    except SettingsError as error:
        checks.append(Check("settings", ok=False, detail=str(error)))
    else:
        checks += _check_all(in_force)
    ok = all(each.ok for each in checks)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(each) for each in checks]})
    else:
        for each in checks:
            click.echo(f"{'ok   ' if each.ok else 'WRONG'} {each.name:12} {each.detail}")
    ctx.exit(0 if ok else 1)


def _check_all(in_force: Settings) -> list[Check]:
    return [
        _check_file(),
        _check_keys(in_force),
        _check_state_dir(in_force),
        _check_database(in_force),
        *_check_roles(in_force),
        _check_redis(in_force),
        _check_sender(in_force),
        _check_tracking(in_force),
        _check_public_url(in_force),
        _check_proxies(in_force),
        _check_journals(in_force),
        *_check_templates(in_force),
        *_check_relays(in_force),
    ]


def _check_python() -> Check:
    version = platform.python_version()
    return Check("python", sys.version_info >= (3, 11), f"{version} at {sys.executable}")


def _check_file() -> Check:
    path = settings_path()
    if not path.exists():
        return Check("settings", ok=True, detail=f"no file {path}; environment and defaults")
    others = path.stat().st_mode & 0o077
    if others:
        return Check("settings", ok=False, detail=f"others can read the keys: chmod 600 {path}")
    return Check("settings", ok=True, detail=str(path))


def _check_keys(in_force: Settings) -> Check:
    missing = [key for key in _KEYS if getattr(in_force, key) is None]
    if missing:
        return Check("keys", ok=False, detail=f"no {' and no '.join(missing)}: run  mailer init")
    return Check("keys", ok=True, detail="both are set")


def _check_state_dir(in_force: Settings) -> Check:
    folder = in_force.state_dir
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Check("state folder", ok=True, detail=str(folder))
    except OSError as error:
        return Check("state folder", ok=False, detail=f"cannot write {folder}: {error.strerror}")


def _check_database(in_force: Settings) -> Check:
    try:
        with _opened(in_force) as opened:
            require_current_schema(opened)
            return Check("database", ok=True, detail=f"revision {current_revision(opened)}")
    except (DatabaseUnavailable, SchemaBehind) as error:
        return Check("database", ok=False, detail=str(error))


def _check_roles(in_force: Settings) -> list[Check]:
    """Only those that are set: whether each gets in."""
    checks = []
    for name, url in (
        ("web database", in_force.web_database),
        ("drain database", in_force.drain_database),
    ):
        if url == in_force.database:
            continue
        role = make_url(url).username or "as this account"
        try:
            with _opened_url(in_force, url) as opened:
                require_current_schema(opened)
        except (DatabaseUnavailable, SchemaBehind) as error:
            checks.append(Check(name, ok=False, detail=str(error)))
        else:
            checks.append(Check(name, ok=True, detail=f"{role} gets in"))
    return checks


def _check_redis(in_force: Settings) -> Check:
    client = redis.Redis.from_url(in_force.redis, socket_connect_timeout=_CONNECT_SECONDS)
    try:
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except (redis.ConnectionError, redis.TimeoutError) as error:
        return _check_embedded_redis() if in_force.embedded_redis else _unreachable(error)
    except redis.RedisError:
        return Check("redis", ok=True, detail="reachable; its settings may not be read")
    finally:
        client.close()
    if policy != "noeviction":
        advice = f"maxmemory-policy is {policy}, which may drop tasks: set it to noeviction"
        return Check("redis", ok=False, detail=advice)
    return Check("redis", ok=True, detail="reachable, noeviction")


def _unreachable(error: Exception) -> Check:
    return Check("redis", ok=False, detail=f"cannot be reached: {error}")


def _check_embedded_redis() -> Check:
    try:
        program = find_server()
    except ProgramMissing as error:
        return Check("redis", ok=False, detail=str(error))
    return Check("redis", ok=True, detail=f"not running;  mailer up  starts {program}")


def _check_sender(in_force: Settings) -> Check:
    try:
        return Check("sender", bool(in_force.sender_address), f"{in_force.sender}")
    except SettingsError as error:
        return Check("sender", ok=False, detail=str(error))


def _check_tracking(in_force: Settings) -> Check:
    mode = in_force.tracking
    chosen = mode.value if mode else "not set; each campaign must choose with --tracking"
    return Check("tracking", ok=True, detail=chosen)


def _check_public_url(in_force: Settings) -> Check:
    parts = urlsplit(in_force.public_url)
    safe = parts.scheme == "https" or parts.hostname in _LOOPBACK_NAMES
    advice = "" if safe else ": must be https anywhere but on this machine (RFC 8058)"
    return Check("public url", safe, in_force.public_url + advice)


def _check_proxies(in_force: Settings) -> Check:
    """Behind a proxy nobody told us of, all readers seem to come from one place."""
    if in_force.proxies:
        return Check("proxies", ok=True, detail=f"{', '.join(in_force.proxies)} are believed")
    if urlsplit(in_force.public_url).scheme == "https":
        advice = (
            "none is named, but the public url is https: set trusted_proxies to the address the"
            " proxy comes from, or all readers seem to be one network"
        )
        return Check("proxies", ok=False, detail=advice)
    return Check("proxies", ok=True, detail="none: readers come to us directly")


def _check_journals(in_force: Settings) -> Check:
    watch = watch_journals(web_folder(in_force.state_dir))
    wrong = find_alarms(watch, now=Clock(in_force.state_dir if in_force.clock else None).now())
    detail = f"{watch.journals} journals, {watch.unmoved_bytes:,} bytes to move"
    return Check("web journals", ok=not wrong, detail="; ".join(wrong) or detail)


def _check_relays(in_force: Settings) -> list[Check]:
    if not in_force.relays:
        advice = 'none: write  smtp_relays = "smtp://host:587"  in the settings file'
        return [Check("relay", ok=False, detail=advice)]
    try:
        greet_as = list_id(in_force)
    except SettingsError:  # there is no sender yet, which is told apart
        greet_as = "localhost"
    return [_check_relay(url, greet_as) for url in in_force.relays]


def _check_relay(url: str, greet_as: str) -> Check:
    """Whether it lets us in, as a letter would come; the password in its URL is never shown."""
    patience = Patience(connect=_CONNECT_SECONDS, command=_REPLY_SECONDS)
    try:
        relay = parse_relay(url)
        asyncio.run(check_relay(relay, greet_as=greet_as, patience=patience))
    except (BadRelay, RelayUnavailable) as error:
        return Check("relay", ok=False, detail=str(error))
    return Check("relay", ok=True, detail=f"{relay.name} lets us in")


def _check_templates(in_force: Settings) -> list[Check]:
    """Only if the office has letters of its own."""
    folder = in_force.templates_dir
    if folder is None:
        return []
    if not (folder / "letters").is_dir():
        return [Check("templates", ok=False, detail=f"there is no folder {folder / 'letters'}")]
    return [Check("templates", ok=True, detail=str(folder))]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script, for example  mailer completion bash > ~/.mailer-completion."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "mailer", "_MAILER_COMPLETE").source())
