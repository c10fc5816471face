"""From raw messages to what they changed: read, applied and committed one by one."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.orm import Session

from mailer.campaigns.heartbeats import (
    POLL_LEASE,
    POLLED,
    give_back_lease,
    note_heartbeat,
    take_lease,
)
from mailer.feedback.applying import (
    ACTED_ON,
    Applied,
    Result,
    apply_finding,
    names_a_letter,
    recognise,
)
from mailer.feedback.errors import AlreadyPolling, MailboxUnavailable
from mailer.feedback.findings import Finding, MailKind
from mailer.feedback.imap import ImapMailbox
from mailer.feedback.inbox import RawMessage, Unread, printable
from mailer.feedback.mailboxes import Mailbox, MailboxPlace
from mailer.feedback.pop3 import Pop3Mailbox
from mailer.feedback.reading import read_mail
from mailer.feedback.tools import FeedbackTools
from mailer.foundation.clock import real_now
from mailer.foundation.database import Database, is_conflict
from mailer.foundation.log import get_log

LEASE = timedelta(minutes=2)
"""Renewed on the way; the next to come takes over from a process that was killed."""
_RENEW_SECONDS = 10.0
NOT_GIVEN = "the mailbox does not give it"
REFUSES = "does not let messages be moved, marked or deleted: they come again at each look"

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Processed:
    """One message, what it says, and what that changed."""

    path: str
    finding: Finding
    applied: Applied


@dataclass(slots=True)
class Poll:
    """What one look into the mailboxes brought."""

    messages: list[Processed | Unread] = field(default_factory=list)
    """Empty where the caller is told of each instead."""
    troubles: dict[MailboxPlace, str] = field(default_factory=dict)
    """By mailbox that could not be read (on), why."""


def process(
    tools: FeedbackTools, messages: Iterable[RawMessage | Unread], *, dry_run: bool
) -> Iterator[Processed | Unread]:
    """Act on messages, each in a transaction of its own; one that cannot be read stops no other.

    Args:
        dry_run: find out what each would change, and change nothing.

    Raises:
        DatabaseUnavailable: what was told of before is done; the same messages may be given again.
    """
    for message in messages:
        read = _read(tools, message)
        done = _without_database(tools, message.path, read)
        if done is None:
            with _transaction(tools.database, undone=dry_run) as db:
                done = _apply(tools, db, message.path, read)
        yield done


def poll(
    tools: FeedbackTools,
    places: Sequence[MailboxPlace],
    *,
    is_stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[Processed | Unread], None] | None = None,
) -> Poll:
    """Act on what waits in mailboxes, and take it away once that is committed.

    Only what was acted on or asks for nothing is taken away. Persons' replies stay for somebody to read,
    and so do reports and wishes that cannot be verified, perhaps for want of a key, and what cannot be
    read; they are set aside. What waits for a batch to end stays for the next look. A mailbox that
    cannot be reached stops no other.

    Args:
        is_stopping: asked before each message, and before each mailbox but the first.
        tell: told of each message, which is not kept then.

    Raises:
        AlreadyPolling: another process does it; nothing was read.
        DatabaseUnavailable: what could not be committed is still in its mailbox.
    """
    with tools.database.write() as db:
        if not take_lease(db, POLL_LEASE, now=real_now(), length=LEASE):
            raise AlreadyPolling("the mailboxes are being read at this moment; nothing was done")
    looked = Poll()
    tell = tell or looked.messages.append
    try:
        for number, place in enumerate(places):
            if number and is_stopping():
                break
            with tools.database.write() as db:
                note_heartbeat(db, POLL_LEASE, now=real_now())
            try:
                if not _poll_one(tools, place, is_stopping, tell):
                    raise MailboxUnavailable(f"mailbox {place.name}: it {REFUSES}")
            except MailboxUnavailable as error:
                looked.troubles[place] = str(error)
                _log.error("a mailbox cannot be read", mailbox=place.name, why=str(error))
    finally:
        with tools.database.write() as db:
            give_back_lease(db, POLL_LEASE, now=real_now(), length=LEASE)
    if not looked.troubles:
        with tools.database.write() as db:
            note_heartbeat(db, POLLED, now=real_now())
    return looked


def _poll_one(
    tools: FeedbackTools,
    place: MailboxPlace,
    is_stopping: Callable[[], bool],
    tell: Callable[[Processed | Unread], None],
) -> bool:
    """Look into one mailbox; False if it kept a message that was to be put away."""
    renewed_at = float("-inf")
    is_tidy = True
    with _opened(place, tools.state_dir) as mailbox:
        for number, data in mailbox.messages():
            if is_stopping():
                break
            path = printable(f"{place.name}#{number}")
            message = Unread(path, NOT_GIVEN) if data is None else RawMessage(path, data)
            read = _read(tools, message)
            done = _without_database(tools, path, read)
            if done is None or time.monotonic() - renewed_at > _RENEW_SECONDS:
                with tools.database.write() as db:
                    note_heartbeat(db, POLL_LEASE, now=real_now())
                    done = done or _apply(tools, db, path, read)
                renewed_at = time.monotonic()
            is_tidy &= _put_away(mailbox, number, done)
            tell(done)
    return is_tidy


def _put_away(mailbox: Mailbox, number: str, done: Processed | Unread) -> bool:
    """Let a message be taken away, set aside or come again; False if the server refuses that."""
    match done:
        case Unread():
            _log.warning("a message is set aside", message=done.path, why=done.reason)
            return mailbox.set_aside(number)
        case Processed(applied=Applied(result=Result.WAITING)):
            return True
        case (
            Processed(applied=Applied(result=Result.UNVERIFIED))
            | Processed(finding=Finding(kind=MailKind.REPLY))
        ):
            return mailbox.set_aside(number)
        case _:
            return mailbox.finish(number)


def _read(tools: FeedbackTools, message: RawMessage | Unread) -> Finding | Unread:
    if isinstance(message, Unread):
        return message
    try:
        finding = read_mail(message.data, bounces_to=tools.bounces_to)
    except Exception as error:  # noqa: BLE001 - whoever wrote it, the messages after it are to be read
        return Unread(message.path, f"it cannot be read ({type(error).__name__})")
    return recognise(finding, tools.tokens)


def _without_database(
    tools: FeedbackTools, path: str, read: Finding | Unread
) -> Processed | Unread | None:
    """What becomes of a message from which nothing follows; None for any other."""
    if isinstance(read, Unread):
        return read
    if read.kind in ACTED_ON or names_a_letter(read, tools.tokens):
        return None
    return Processed(path, read, Applied(Result.NOTHING))


def _apply(tools: FeedbackTools, db: Session, path: str, read: Finding | Unread) -> Processed | Unread:
    if isinstance(read, Unread):
        return read
    for _ in range(2):
        try:
            with db.begin_nested():
                applied = apply_finding(
                    db, read, tokens=tools.tokens, now=tools.clock.now(), zone=tools.zone
                )
        except DataError as error:
            return Unread(path, f"the database does not take it ({type(error).__name__})")
        except OperationalError as error:
            if not is_conflict(error):
                raise
        else:
            return Processed(path, read, applied)
    _log.warning("a message waits: its letter is being written to by others", message=path)
    return Processed(path, read, Applied(Result.WAITING))


@contextmanager
def _opened(place: MailboxPlace, state_dir: Path) -> Iterator[Mailbox]:
    """The mailbox, closed at the end; what was finished is final then, whatever went wrong."""
    mailbox: Mailbox = ImapMailbox(place) if place.is_imap else Pop3Mailbox(place, state_dir)
    try:
        yield mailbox
    finally:
        mailbox.close()


@contextmanager
def _transaction(database: Database, *, undone: bool) -> Iterator[Session]:
    with database.write() as db:
        if not undone:
            yield db
            return
        trial = db.begin_nested()
        yield db
        trial.rollback()
