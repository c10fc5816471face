"""What the sending processes of all machines share through Redis: allowances and learned limits.

No truth lives there: whatever is lost, the caller goes on with a share of its own. No call raises or
takes longer than a quarter of a second; looking up names, connecting, TLS and signing in happen on a
thread beside.
"""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from mailer.foundation.log import get_log
from mailer.smtp.learning import Limit, Window

PREFIX = "mailer:pace:"
_TIMEOUT_SECONDS = 0.25
_FIRST_SECONDS = 0.2
"""So long the first call waits for the connection, so that limits known to others count at once."""
_AGAIN_SECONDS = 2.0
_SLOW_SECONDS = 0.1
_SLOW_IN_A_ROW = 3
"""A server that answers slowly every time would hold up the letters more than it helps them."""
_ONE_STALL_SECONDS = 0.01
"""Slow calls this close to one another are one stall to whoever waits."""
_GREATEST_COUNT = 1_000_000
_LONG_AGO = float("-inf")

_log = get_log(__name__)
_Answer = TypeVar("_Answer")


class _Script:
    def __init__(self, name: str) -> None:
        self.text = Path(__file__).with_name(name).read_text("utf-8")
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_ALLOWANCE = _Script("allowance.lua")
_LIMITS = _Script("limits.lua")


@dataclass(frozen=True, slots=True)
class Answers:
    """What one process heard from one domain through one relay."""

    relay: str
    domain: str
    window: Window


@dataclass(frozen=True, slots=True)
class Total:
    """What all processes heard from it since it was last judged."""

    relay: str
    domain: str
    window: Window
    limit: Limit | None
    revision: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A limit to keep; None forgets it."""

    relay: str
    domain: str
    limit: Limit | None
    judged: Total | None = None
    """Counts only if nobody judged it since; None: counts only where no limit is known."""


@dataclass(frozen=True, slots=True)
class News:
    """What the others know."""

    alive: int
    """Processes that send, this one included."""
    memory: str
    """Another name than last time: everything had been forgotten."""
    totals: Sequence[Total]
    limits: dict[str, dict[str, Limit]]
    """By relay and domain."""


class Sharing:
    """One process's way to Redis."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._me = secrets.token_hex(8)
        self._connection: Any = None
        self._attempt: _Attempt | None = None
        self._attempt_at = _LONG_AGO
        self._is_away = False
        self._slow = 0
        self._stall = (_LONG_AGO, _LONG_AGO)
        """When the latest slow call, or the first of a row of them, began and the last one ended."""
        self._closed = False

    def grant(self, limit: str, letters: int, *, rate: float, before: int) -> tuple[int, float] | None:
        """Ask for letters of a limit; returns how many, and the seconds until they may go.

        None granted: the seconds until it is worth asking again. No answer: Redis is away.

        Args:
            rate: letters per second.
            before: letters that went without asking.
        """
        arguments = (letters, f"{rate:.6f}", before, self._me)
        return self._call(_ALLOWANCE, [PREFIX + limit], arguments, _read_grant)

    def exchange(
        self, relays: Sequence[str], *, answers: Sequence[Answers] = (), settled: Sequence[Settled] = ()
    ) -> News | None:
        """Tell what was heard and settled, and hear what the others know; None: Redis is away."""
        place = {relay: number for number, relay in enumerate(relays, 1)}
        told = [
            [
                place[one.relay],
                one.domain,
                one.judged.revision if one.judged else "",
                str(one.judged.window.accepted if one.judged else 0),
                str(one.judged.window.throttled if one.judged else 0),
                f"{one.limit.rate:.6f}" if one.limit else "0",
                f"{one.limit.first:.6f}" if one.limit else "0",
            ]
            for one in settled
        ]
        heard = [
            [
                place[one.relay],
                one.domain,
                str(one.window.accepted),
                str(one.window.throttled),
                f"{one.window.seconds * 1e6:.0f}",
            ]
            for one in answers
        ]
        keys = [PREFIX + "alive", PREFIX + "memory", *(f"{PREFIX}limits:{relay}" for relay in relays)]
        arguments = (self._me, secrets.token_hex(8), json.dumps(told), json.dumps(heard))
        return self._call(_LIMITS, keys, arguments, lambda answer: _read_news(answer, relays))

    def close(self) -> None:
        """Leave; the others share what was this process's."""
        if self._connection is not None:
            self._say_farewell()
        self._closed = True
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        self._drop()

    def _say_farewell(self) -> None:
        try:
            self._connection.send_command("ZREM", PREFIX + "alive", self._me)
            self._connection.read_response(timeout=_TIMEOUT_SECONDS)
        except (RedisError, OSError):
            self._drop()

    def _call(
        self,
        script: _Script,
        keys: Sequence[str],
        arguments: Sequence[str | int],
        read: Callable[[Any], _Answer],
    ) -> _Answer | None:
        began = time.monotonic()
        stalled = began - self._stall[1] < _ONE_STALL_SECONDS
        until = (self._stall[0] if stalled else began) + _TIMEOUT_SECONDS
        if not self._is_there(until):
            return None
        try:
            try:
                answer = read(self._ask(script, keys, arguments, until))
            except ConnectionLost:  # a connection may have died of old age or with a restart: once more
                self._drop()
                self._attempt_at = _LONG_AGO
                if not self._is_there(until):
                    raise
                answer = read(self._ask(script, keys, arguments, until))
        except (RedisError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            self._lose(error)
            return None
        self._watch(began, time.monotonic(), stalled=stalled)
        return answer

    def _ask(
        self, script: _Script, keys: Sequence[str], arguments: Sequence[str | int], until: float
    ) -> Any:
        connection = self._connection
        tail = (len(keys), *keys, *arguments)
        try:
            connection.send_command("EVALSHA", script.digest, *tail)
            return connection.read_response(timeout=max(0.001, until - time.monotonic()))
        except NoScriptError:
            connection.send_command("EVAL", script.text, *tail)
            return connection.read_response(timeout=max(0.001, until - time.monotonic()))

    def _is_there(self, until: float) -> bool:
        """Whether there is a connection; begins one if it is time to, and waits for the first."""
        if self._connection is not None:
            return True
        if self._closed:
            return False
        if self._attempt is None:
            now = time.monotonic()
            if now < self._attempt_at + _AGAIN_SECONDS:
                return False
            self._attempt_at = now
            self._attempt = _Attempt(self._url)
            self._attempt.wait(0.0 if self._is_away else max(0.0, min(_FIRST_SECONDS, until - now)))
        if not self._attempt.is_over:
            if not self._is_away:
                self._say_away("no answer in time")
            return False
        attempt, self._attempt = self._attempt, None
        if attempt.error is not None:
            self._say_away(type(attempt.error).__name__)
        self._connection = attempt.connection
        return self._connection is not None

    def _watch(self, began: float, ended: float, *, stalled: bool) -> None:
        if self._is_away:
            self._is_away = False
            _log.info("Redis is back: the pace is shared again")
        if ended - began > _ONE_STALL_SECONDS:
            self._stall = (self._stall[0] if stalled else began, ended)
        self._slow = self._slow + 1 if ended - began > _SLOW_SECONDS else 0
        if self._slow >= _SLOW_IN_A_ROW:
            self._lose(TimeoutError())

    def _lose(self, error: Exception) -> None:
        self._slow = 0
        self._attempt_at = time.monotonic()
        self._drop()
        self._say_away(type(error).__name__)

    def _say_away(self, reason: str) -> None:
        if not self._is_away:
            self._is_away = True
            _log.warning("Redis is away: each process keeps to its share of the pace", reason=reason)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


class _Attempt:
    """One attempt to connect, on a thread: a name server or a TLS handshake may take its time."""

    def __init__(self, url: str) -> None:
        self.connection: Any = None
        self.error: Exception | None = None
        self._url = url
        self._lock = threading.Lock()
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="pace-connecting", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._abandoned = True
            if self.connection is not None:
                self.connection.disconnect()

    def _run(self) -> None:
        connection = None
        try:
            connection = _connect(self._url)
            connection.send_command("PING")
            connection.read_response()
        except (RedisError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            self.error = error
            if connection is not None:
                connection.disconnect()
            return
        with self._lock:
            if self._abandoned:
                connection.disconnect()
            else:
                self.connection = connection


def _connect(url: str) -> Any:
    """A connection of our own; options of the URL that would lengthen its timeouts do not count."""
    options: dict[str, Any] = {
        **parse_url(url),  # type: ignore[no-untyped-call]
        "socket_timeout": _TIMEOUT_SECONDS,
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "protocol": 2,
        "decode_responses": True,
        "encoding_errors": "replace",
    }
    return ConnectionPool(**options).get_connection()


def _read_grant(answer: Any) -> tuple[int, float]:
    granted, wait = answer
    if not (0 <= int(granted) <= _GREATEST_COUNT and int(wait) >= 0):
        raise ValueError("no such allowance")
    return int(granted), int(wait) / 1e6


def _read_news(answer: Any, relays: Sequence[str]) -> News:
    alive, memory, totals, limits = answer
    if not isinstance(memory, str):
        raise TypeError("no such memory")
    return News(
        alive=min(max(int(alive), 1), _GREATEST_COUNT),
        memory=memory,
        totals=[
            Total(
                relays[place - 1],
                domain,
                Window(accepted, throttled, max(microseconds, 1) / 1e6),
                _read_limit(rate, first),
                revision,
            )
            for place, domain, revision, accepted, throttled, microseconds, rate, first in totals
        ],
        limits={
            relay: {
                domain: limit
                for domain, rate, first in zip(known[0::3], known[1::3], known[2::3], strict=True)
                if (limit := _read_limit(rate, first)) is not None
            }
            for relay, known in zip(relays, limits, strict=True)
        },
    )


def _read_limit(rate: str, first: str) -> Limit | None:
    return Limit(float(rate), float(first)) if 0 < float(rate) < float("inf") else None
