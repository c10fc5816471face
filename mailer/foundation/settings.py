"""What the service is told from outside: flags, environment, settings file, defaults, in that order."""

import functools
import hashlib
import os
import re
from datetime import timedelta
from email.utils import parseaddr
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

SETTINGS_FILE = "mailer.toml"
SECRETS = frozenset(
    {
        "database_url",
        "web_database_url",
        "drain_database_url",
        "redis_url",
        "smtp_relays",
        "bounce_mailboxes",
        "secret_key",
        "secret_keys_old",
        "suppression_key",
        "metrics_token",
    }
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BARE_ADDRESS = re.compile(r"[^\s<>@,;:\"\\]+@[^\s<>@,;:\"\\]+")
_WEB_ADDRESS = re.compile(r"[A-Za-z0-9%:/\[\]._~@?#=&+-]+")
"""What may stand in an attribute and in a header without being escaped there."""
_WAIT = re.compile(r"(\d+(?:\.\d+)?)([smh])")
_WAITS = re.compile(rf"{_WAIT.pattern}(?:\s+{_WAIT.pattern}){{0,19}}")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_DKIM_KEY = re.compile(rf"{_NAME}:{_NAME}:/[^\x00-\x1f\x7f]+")
_SHORTEST_KEY = 16
_BEARER_TOKEN = re.compile(rf"[A-Za-z0-9._~+/-]{{{_SHORTEST_KEY},}}=*")
_ENCODED = "; in a password / ? # @ and the like are written %2F %3F %23 %40"
_UNIX_SOCKET_LIMIT = 107  # unix(7), less the closing NUL

_mailbox = functools.lru_cache(maxsize=64)(parseaddr)
"""Display name and address of a setting; asked for with every letter."""


class SettingsError(Exception):
    """A setting is missing or makes no sense; nothing was started or changed."""


class TrackingMode(StrEnum):
    """How much of what a recipient does is remembered about the person."""

    NONE = "none"
    """Plain links and no pixel."""
    ANONYMOUS = "anonymous"
    """Counts per link and day; no person behind them."""
    CONSENT = "consent"
    """Personal for those who said yes, anonymous for all others."""
    PERSONAL = "personal"
    """Opens and clicks are kept with the recipient; needs a recorded legal basis."""


class Settings(BaseSettings):
    """Everything that is in force for one process."""

    model_config = SettingsConfigDict(
        env_prefix="MAILER_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # a misspelled setting may be a secret
    )

    state_dir: Path = Path("var")
    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("MAILER_DATABASE_URL", "DATABASE_URL")
    )
    web_database_url: SecretStr | None = None
    drain_database_url: SecretStr | None = None
    redis_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("MAILER_REDIS_URL", "REDIS_URL")
    )
    smtp_relays: SecretStr | None = None
    public_url: str = "http://127.0.0.1:8000"
    trusted_proxies: str | list[str] | None = None
    web_requests_per_second: int = Field(default=20_000, ge=10, le=1_000_000)
    metrics_token: SecretStr | None = None
    secret_key: SecretStr | None = None
    secret_keys_old: SecretStr | None = None
    suppression_key: SecretStr | None = None
    sender: str | None = None
    bounce_address: str | None = None
    bounce_mailboxes: SecretStr | None = None
    reply_to: str | dict[str, str] | None = None
    list_id: str | None = None
    dkim: str | list[str] | None = None
    largest_letter: int = Field(default=100_000, ge=10_000, le=10_000_000)
    tracking: TrackingMode | None = None
    allow_only: str | None = None
    timezone: str = "Europe/Copenhagen"
    clock: str | None = None
    templates_dir: Path | None = None
    batch_size: int = Field(default=4000, ge=1, le=4000)
    retry_after: str = "1m 5m 15m 1h 2h 4h 8h"
    worker_processes: int = Field(default=2, ge=1, le=64)
    reminder_grace_hours: int = Field(default=24, ge=1)
    reminder_warning_days: int = Field(default=7, ge=0, le=365)
    report_segment: str | None = None
    uncertain_alarm: int = Field(default=50, ge=1)
    log_format: Literal["console", "json"] = "console"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, secret files, settings file."""
        del dotenv_settings, file_secret_settings
        return (
            init_settings,
            env_settings,
            _SecretFiles(settings_cls),
            TomlConfigSettingsSource(settings_cls),
        )

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        parts = urlsplit(value)
        more = parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in {"http", "https"} or not parts.hostname or more:
            raise ValueError("must look like https://post.eksempel.example")
        if not _WEB_ADDRESS.fullmatch(value):
            raise ValueError("holds a character that no address may have; write å as in xn--…")
        return value.rstrip("/")

    @field_validator("secret_key", "suppression_key", "secret_keys_old")
    @classmethod
    def _check_keys(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Whoever guesses a key signs links and knows hashed addresses; an empty one is no secret."""
        if value is None:
            return None
        text = value.get_secret_value()
        keys = text.split() if info.field_name == "secret_keys_old" else [text.strip()]
        if any(len(key) < _SHORTEST_KEY for key in keys):
            raise ValueError(
                f"a key has at least {_SHORTEST_KEY} characters that nobody can guess, such as"
                " those  mailer init  makes"
            )
        return value

    @field_validator("metrics_token")
    @classmethod
    def _check_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _BEARER_TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError(
                f"must be {_SHORTEST_KEY} or more letters, digits and -._~+/= (RFC 6750 §2.1)"
            )
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: str | list[str] | None) -> list[str] | None:
        """Whoever is trusted here says who a reader is, so each must be named as an address."""
        texts = re.split(r"[\s,]+", value.strip(" ,")) if isinstance(value, str) else value
        return None if texts is None else [str(_read_network(text)) for text in texts if text]

    @field_validator("database_url", "web_database_url", "drain_database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                known = make_url(value.get_secret_value()).get_backend_name()
            except (ArgumentError, ValueError):
                known = ""
            if known not in {"postgresql", "postgres", "sqlite"}:
                raise ValueError(f"must look like postgresql://user:password@host/name{_ENCODED}")
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                parts = urlsplit(value.get_secret_value())
                wrong = parts.scheme not in {"redis", "rediss", "unix"} or parts.port == 0
            except ValueError:
                wrong = True
            if wrong or (parts.scheme != "unix" and "@" in parts.path + parts.query + parts.fragment):
                raise ValueError(f"must look like redis://:password@host:6379/0{_ENCODED}")
        return value

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no such time zone: {value}") from error
        return value

    @field_validator("sender", "bounce_address")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        if value is not None:
            _read_address(value)
        return value

    @field_validator("reply_to")
    @classmethod
    def _check_reply_to(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        if isinstance(value, dict):
            return {party: _read_address(text) for party, text in value.items()}
        return _read_address(value) if value else None

    @field_validator("retry_after")
    @classmethod
    def _check_retry_after(cls, value: str) -> str:
        if not _WAITS.fullmatch(value):
            raise ValueError("must be waiting times such as  1m 5m 15m 1h 2h")
        return value

    @field_validator("list_id")
    @classmethod
    def _check_list_id(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9.-]+", value):
            raise ValueError("must be a name of letters, digits, dots and hyphens (RFC 2919 §2)")
        return value

    @field_validator("dkim")
    @classmethod
    def _check_dkim(cls, value: str | list[str] | None) -> list[str] | None:
        keys = value.split() if isinstance(value, str) else value
        for key in keys or ():
            if not _DKIM_KEY.fullmatch(key):
                raise ValueError("must be  selector:domain:/path/key.pem,  one or several")
        return keys

    @model_validator(mode="after")
    def _make_state_dir_absolute(self) -> Self:
        object.__setattr__(self, "state_dir", self.state_dir.expanduser().absolute())
        return self

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database; a secret, since it may hold a password."""
        if self.database_url is None:
            return f"sqlite:///{self.state_dir / 'mailer.sqlite'}"
        return _for_psycopg(self.database_url)

    @property
    def web_database(self) -> str:
        """The same, as the public web process opens it: perhaps by a role that only reads."""
        return self.database if self.web_database_url is None else _for_psycopg(self.web_database_url)

    @property
    def drain_database(self) -> str:
        """The same, as the drainer opens it, which writes what the web process noted."""
        return (
            self.database if self.drain_database_url is None else _for_psycopg(self.drain_database_url)
        )

    @property
    def proxies(self) -> tuple[str, ...]:
        """The networks whose word about a reader's address is taken, such as ``10.0.0.0/8``."""
        return tuple(self.trusted_proxies or ())

    @property
    def embedded_redis(self) -> bool:
        """Whether the Redis-protocol server is ours to start."""
        return self.redis_url is None

    @property
    def redis_socket(self) -> Path:
        """Where the embedded server listens; in a private folder below the temporary one if too long."""
        path = self.state_dir / "redis.sock"
        if len(os.fsencode(path)) <= _UNIX_SOCKET_LIMIT:
            return path
        digest = hashlib.blake2b(os.fsencode(self.state_dir), digest_size=8).hexdigest()
        temporary = Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108 - made 0700 by the server's starter
        return temporary / f"mailer-{os.getuid()}-{digest}" / "redis.sock"

    @property
    def redis(self) -> str:
        """The URL for Redis clients; by default the embedded server's unix socket."""
        if self.redis_url is None:
            return f"unix://{self.redis_socket}"
        return self.redis_url.get_secret_value()

    @property
    def broker(self) -> str:
        """The same server, in Celery's spelling."""
        return re.sub(r"^unix://", "redis+socket://", self.redis)

    @property
    def relays(self) -> list[str]:
        """The relay URLs as given (secret: may hold passwords)."""
        return self.smtp_relays.get_secret_value().split() if self.smtp_relays else []

    @property
    def mailboxes(self) -> list[str]:
        """The URLs of the mailboxes that bounces come back to, as given (secret: hold passwords)."""
        return self.bounce_mailboxes.get_secret_value().split() if self.bounce_mailboxes else []

    @property
    def sender_address(self) -> str:
        """The bare address of the sender.

        Raises:
            SettingsError: no sender is set.
        """
        if self.sender is None:
            raise SettingsError(
                f'no sender is set: write  sender = "Navn <adresse>"  in {SETTINGS_FILE},'
                " or set MAILER_SENDER"
            )
        return _mailbox(self.sender)[1]

    @property
    def sender_name(self) -> str:
        """The display name of the sender; may be empty."""
        return _mailbox(self.sender or "")[0]

    @property
    def dkim_keys(self) -> tuple[str, ...]:
        """The keys letters are signed with, each ``selector:domain:/path/key.pem``."""
        return tuple(self.dkim or ())

    @property
    def bounces_to(self) -> str:
        """The address that bounce messages, and requests to unsubscribe by mail, go to."""
        if self.bounce_address:
            return _mailbox(self.bounce_address)[1]
        return f"bounce@{self.sender_address.rpartition('@')[2]}"

    @property
    def signing_keys(self) -> list[bytes]:
        """The current key first, then the old ones that still verify.

        Raises:
            SettingsError: there is no key yet.
        """
        if self.secret_key is None:
            raise SettingsError("no secret key: run  mailer init  first, or set MAILER_SECRET_KEY")
        old = self.secret_keys_old.get_secret_value().split() if self.secret_keys_old else []
        return [key.encode() for key in [self.secret_key.get_secret_value(), *old]]

    @property
    def address_key(self) -> bytes:
        """The key of the address hashes; it is never rotated.

        Raises:
            SettingsError: there is no key yet.
        """
        if self.suppression_key is None:
            raise SettingsError(
                "no suppression key: run  mailer init  first, or set MAILER_SUPPRESSION_KEY"
            )
        return self.suppression_key.get_secret_value().encode()

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which people plan."""
        return ZoneInfo(self.timezone)

    @property
    def reminder_grace(self) -> timedelta:
        """How late what is due by date may still go."""
        return timedelta(hours=self.reminder_grace_hours)

    @property
    def reminder_warning(self) -> timedelta:
        """How long before it is due it is told that something cannot go."""
        return timedelta(days=self.reminder_warning_days)

    @property
    def retry_waits(self) -> tuple[timedelta, ...]:
        """How long to wait after the first refusal for now, the second, and so on; the last repeats."""
        return tuple(
            timedelta(seconds=float(number) * _SECONDS[unit])
            for number, unit in _WAIT.findall(self.retry_after)
        )

    @property
    def allowed_patterns(self) -> list[str] | None:
        """Trial mode: the only addresses or domains that get mail; None outside trial mode."""
        if self.allow_only is None:
            return None
        return [part.casefold() for part in re.split(r"[\s,;]+", self.allow_only) if part]

    def shown(self) -> dict[str, Any]:
        """All settings by name, secrets masked, for people to read."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: "********" if name in SECRETS and value else value for name, value in values.items()
        }


def _for_psycopg(url: SecretStr) -> str:
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url.get_secret_value())


def _read_network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no address or network such as 127.0.0.1 or 10.0.0.0/8") from error
    if network.prefixlen == 0:
        raise ValueError(f"{text} is everybody: name the proxies alone")
    return network


def _read_address(text: str) -> str:
    """The bare address; it ends up in headers and in what is said to relays."""
    address = parseaddr(text)[1]
    if _CONTROL.search(text) or not _BARE_ADDRESS.fullmatch(address):
        raise ValueError("must look like  Navn <adresse@eksempel.example>")
    return address


class _SecretFiles(PydanticBaseSettingsSource):
    """Secrets from files: ``MAILER_SECRET_KEY_FILE`` names the file that holds the secret."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        path = os.environ.get(f"MAILER_{field_name.upper()}_FILE")
        if field_name not in SECRETS or not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except OSError as error:
            raise SettingsError(
                f"MAILER_{field_name.upper()}_FILE: cannot read {path}: {error.strerror}"
            ) from error

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(None, name)[0] for name in SECRETS}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if value is not None}


def settings_path() -> Path:
    """The settings file in force: ``MAILER_CONFIG``, else ``mailer.toml`` in the working folder."""
    return Path(os.environ.get("MAILER_CONFIG") or SETTINGS_FILE).absolute()


@functools.lru_cache(maxsize=8)
def _settings_from(path: Path) -> type[Settings]:
    """Settings that look into this file whenever they are made; the class is dear to make."""

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    return FromFile


def load_settings(path: Path | None = None, **flags: object) -> Settings:
    """Read the settings in force.

    Args:
        path: the settings file; it need not exist unless it is named here or in ``MAILER_CONFIG``.
        flags: values from the command line; they beat everything else.

    Raises:
        SettingsError: a value is wrong, or a named file cannot be read.
    """
    named = path is not None or bool(os.environ.get("MAILER_CONFIG"))
    path = (path or settings_path()).absolute()
    if named and not path.is_file():
        raise SettingsError(f"no such settings file: {path}")

    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    try:
        return _settings_from(path)(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        reason = "no such setting" if unknown else first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"setting {name.removeprefix('MAILER_').lower()}: {reason}") from error
    except ValueError as error:  # tomllib.TOMLDecodeError
        raise SettingsError(f"{path}: {error}") from error
