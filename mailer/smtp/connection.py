"""One connection to a relay, and the pipelined dialogue about letters on it.

The final dot of one letter and the MAIL, RCPT and DATA of the next leave in one write (RFC 2920), and
never more than one dot is out; with BDAT (RFC 3030) several letters may be. A reply belongs to the
oldest command not yet answered. Whatever fits no command ends the connection, for no later reply on
it could be given to the right letter.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Protocol

from mailer.smtp.commands import Misfit, Step, length_of, mail_command
from mailer.smtp.envelope import Mail
from mailer.smtp.errors import Garbled
from mailer.smtp.extensions import Extensions
from mailer.smtp.feed import Feed
from mailer.smtp.opening import Opened
from mailer.smtp.patience import Patience
from mailer.smtp.relays import Relay
from mailer.smtp.replies import (
    CLOSING,
    GO_ON,
    Reply,
    ReplyReader,
    is_about_letters,
    read_acceptance,
    read_reply,
)

_USUAL = re.compile(
    rb"250 ([^\r\n]{0,500})\r\n250 [^\r\n]{0,500}\r\n250 [^\r\n]{0,500}\r\n354 [^\r\n]{0,500}\r\n"
)
"""Letter taken; sender and recipient of the next will do; it may come."""
_ABOUT_AN_ADDRESS = b"2.1."
"""RFC 3463 §3.2: an address will do. Without DATA's 354, one reply too many would else go unseen."""
_BUFFER_BYTES = 4_096
_CLOSED_BY_RELAY = "the relay closed the connection"
_FAILED = "the sending failed"
_NOT_WANTED = "it was no longer wanted"


class Owner(Protocol):
    """Who opened the connection: gives it mail, and is told what became of it."""

    relay: Relay
    patience: Patience
    feed: Feed[Mail]
    lock_step: bool
    """Whether this relay was seen to answer what it was not asked: then nothing is pipelined."""

    def take(self, connection: "Connection") -> Mail | None:
        """The next mail for this connection, or None for now; may tell the connection to end."""
        ...

    def answered(self, mail: Mail, reply: Reply) -> None:
        """The relay decided about a mail."""
        ...

    def not_sent(self, mail: Mail, why: str, *, lost: bool) -> None:
        """No dot left for this mail; ``lost`` if the connection went while it was being offered."""
        ...

    def unfit(self, mail: Mail, why: str) -> None:
        """This relay cannot take the mail."""
        ...

    def lost_after_dot(self, mail: Mail) -> None:
        """The dot left and no reply was read."""
        ...

    def sender_refused(self, reply: Reply) -> None:
        """MAIL was refused: the relay's fault."""
        ...

    def idle(self, connection: "Connection") -> None:
        """The connection has nothing to do."""
        ...

    def gone(self, connection: "Connection") -> None:
        """The connection is no more; all its mail was told of before."""
        ...

    def failed(self, error: Exception) -> None:
        """The program or the feed failed: the sending ends with this error, and begins no more mail."""
        ...

    def not_noted(self, error: Exception) -> None:
        """The feed could not note what it was told: the sending ends at once, and it is told no more."""
        ...


class Connection(asyncio.BufferedProtocol):
    """A connection that is ready for letters.

    Replies are read into a small buffer of its own: a fresh one of the usual size for every reply would
    cost more than all the rest.
    """

    def __init__(self, owner: Owner, opened: Opened) -> None:
        self.deadline = inf
        """When the reply awaited first is too late; on the clock of ``time.monotonic``."""
        self.letters = 0
        """Begun on this connection."""
        self.is_open = True
        self.ending = False
        """Begin nothing more, and take leave as soon as nothing is awaited."""
        self._owner = owner
        self._transport = opened.transport
        self._extensions: Extensions = opened.extensions
        self._pipelines = opened.extensions.pipelining
        self._depth = owner.relay.chunking if opened.extensions.chunking else 0
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._reader = ReplyReader()
        self._awaited: deque[tuple[int, Mail | None]] = deque()
        self._given: Mail | None = None
        """A mail of which nothing was said yet; kept until it is awaited, or was told of."""
        self._invited: Mail | None = None
        """The mail the relay said 354 to; kept until its dot is awaited, or it was told of."""
        self._stepping: tuple[int, Mail] | None = None
        """In lock-step: what is to be said next of the mail under way."""
        self._settled: Mail | None = None
        """The mail that was decided about although replies to it are still to come."""
        self._sender_refused: Reply | None = None
        self._dot_due = False
        self._reset_due = False
        self._in_pipe = 0
        self._told = False
        self._has_served = False
        """Whether a mail was decided about on this connection."""
        self._hung_up: str | None = None
        self._is_proven = True
        self._idle_since = 0.0
        self._blocked = False
        self._unsent_bytes = 0
        self._dropped_bytes = 0
        patience = owner.patience
        self._limits = (
            patience.connect,
            patience.command,
            patience.dot,
            patience.command,
            patience.command,
            patience.data,
            patience.dot,
            patience.dot,
            patience.farewell,
        )
        self._answers: tuple[Callable[[Mail, int, bytes], None], ...] = (
            self._probe_answered,
            self._reset_answered,
            self._empty_dot_answered,
            self._mail_answered,
            self._rcpt_answered,
            self._data_answered,
            self._dot_answered,
            self._chunk_answered,
            self._quit_answered,
        )
        self._transport.set_write_buffer_limits(high=0)
        self._transport.set_protocol(self)

    @property
    def is_busy(self) -> bool:
        """Whether a mail is under way, or a transaction given up is not yet forgotten."""
        return bool(self._awaited) and not self.is_leaving

    @property
    def is_leaving(self) -> bool:
        """Whether QUIT was said."""
        return bool(self._awaited) and self._awaited[0][0] == Step.QUIT

    @property
    def has_dot_out(self) -> bool:
        """Whether a mail's dot left and its reply is awaited."""
        return any(step in (Step.DOT, Step.CHUNK) for step, _ in self._awaited)

    def begin(self, mail: Mail) -> None:
        """Offer a mail on a connection that has nothing to do, and then others as they are given."""
        self._given = mail
        try:
            if self._idle_since:
                self._is_proven = False
                if monotonic() - self._idle_since > self._owner.patience.idle:
                    self._say(b"RSET\r\n", (Step.PROBE, mail))
                    return
            self._move()
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the sending
            self._give_up(error)

    def look(self, now: float) -> None:
        """Compare the deadline with the clock."""
        if self._blocked:
            unsent = self._transport.get_write_buffer_size()
            if unsent < self._unsent_bytes:
                self.deadline = now + self._owner.patience.block
            self._unsent_bytes = unsent
        if now > self.deadline:
            self.cut("it does not answer", lost=True)

    def quit(self) -> None:
        """Take leave, as soon as nothing is awaited."""
        self.ending = True
        if self.is_open and not self._awaited:
            self._say(b"QUIT\r\n", (Step.QUIT, None))

    def stop(self, why: str) -> None:
        """Begin nothing more and drop the connection, but wait for the reply to a dot that is out."""
        self._hung_up = why
        if not self.has_dot_out:
            self.lose(why, lost=False)

    def cut(self, why: str, *, lost: bool = False) -> None:
        """Drop the connection now; what it had under way is told.

        Args:
            lost: a mail under way counts as having lost its connection.
        """
        if not self.is_open:
            return
        self.is_open = False
        self.deadline = inf
        try:
            out = self._mails_out()
            self._transport.abort()
            self._give_back(why, out, lost=lost and self._is_proven)
        finally:
            self._transport.abort()  # also where the program fails before: a slot is never kept
            self._owner.gone(self)

    def lose(self, why: str = _CLOSED_BY_RELAY, *, lost: bool = True) -> None:
        """As ``cut``, where nobody could catch an error of the feed's, or others are to be cut too."""
        try:
            self.cut(why, lost=lost)
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the sending
            self._owner.failed(error)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what arrives."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Give each reply to the oldest command, then say what comes next."""
        if not self.is_open:
            return
        try:
            self._read(bytes(self._buffer[:nbytes]))
        except Garbled as error:
            self._owner.lock_step = True
            self.lose(str(error))
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the sending
            self._give_up(error)

    def eof_received(self) -> None:
        """The relay ended the connection."""
        self.lose()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        del exc
        self.lose()

    def pause_writing(self) -> None:
        """The kernel takes no more for now."""
        self._blocked = True
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self.deadline = monotonic() + self._owner.patience.block

    def resume_writing(self) -> None:
        """All has left."""
        self._blocked = False
        if self._awaited:
            self.deadline = monotonic() + self._limits[self._awaited[0][0]]

    def _give_up(self, error: Exception) -> None:
        """The program or the feed failed in the middle of a dialogue."""
        self._owner.failed(error)
        self.lose(_FAILED, lost=False)

    def _read(self, data: bytes) -> None:
        awaited = self._awaited
        if (
            len(awaited) == 4
            and awaited[0][0] == Step.DOT
            and self._reader.is_empty
            and self._hung_up is None
        ):
            usual = _USUAL.fullmatch(data)
            if usual is not None:
                taken, self._invited = awaited[0][1], awaited[3][1]
                assert taken is not None
                awaited.clear()
                self._told = self._is_proven = self._has_served = True
                self._owner.answered(taken, read_acceptance(250, usual[1]))
                self._move()
                return
        self._reader.add(data)
        while (reply := self._reader.take()) is not None:
            self._hear(*reply)
            if reply[0] == CLOSING and self._blocked:
                self.cut(_CLOSED_BY_RELAY)  # what has not left yet stays here
            elif self._hung_up is not None and not self.has_dot_out:
                self.cut(self._hung_up)
            if not self.is_open:
                break
        else:
            self._go_on()
        if self._told:
            self._flush()

    def _hear(self, code: int, text: bytes) -> None:
        """Give one reply to the oldest command.

        Raises:
            Garbled: it is no reply to that.
        """
        if not self._awaited:
            if code != CLOSING:
                raise Garbled("it answered what it was not asked")
            self._hung_up = _CLOSED_BY_RELAY
            return
        step, mail = self._awaited[0]
        self._answers[step](mail, code, text)  # type: ignore[arg-type]
        self._is_proven = True
        self._awaited.popleft()
        if self._awaited:
            self.deadline = monotonic() + self._limits[self._awaited[0][0]]
        if code == CLOSING:
            self._hung_up = _CLOSED_BY_RELAY

    def _go_on(self) -> None:
        """Say what comes next, if that does not wait for another reply."""
        if self._awaited:
            if self._in_pipe and not self._owner.lock_step and not self._blocked:
                self._fill()
        elif self._reader.is_empty:
            self._move()
        else:  # it began to speak out of turn: before our dot has left, it can mean nothing good
            self.cut("it spoke out of turn", lost=True)

    def _probe_answered(self, _mail: Mail, code: int, _text: bytes) -> None:
        if code // 100 != 2:
            self._hung_up = "it no longer wanted the idle connection"

    def _reset_answered(self, _mail: Mail, code: int, _text: bytes) -> None:
        if code == CLOSING:
            return
        if code // 100 != 2 or not is_about_letters(code):
            raise Garbled("it does not forget what was given up")

    def _empty_dot_answered(self, _mail: Mail, code: int, _text: bytes) -> None:
        if not is_about_letters(code):
            raise Garbled("its reply is none to a dot")

    def _mail_answered(self, mail: Mail, code: int, text: bytes) -> None:
        self._sender_refused = None
        if not is_about_letters(code):
            raise Garbled("its reply is none to MAIL")
        if code < 400:
            if len(self._awaited) == 1:
                self._stepping = (Step.RCPT, mail)
            return
        self._told = True
        reply = read_reply(code, text)
        too_large = (reply.code, reply.enhanced_code) == (552, "5.3.4")
        if code == CLOSING and self._has_served:
            self._hung_up = _CLOSED_BY_RELAY  # some only take so many letters a connection
        elif not too_large:
            self._owner.sender_refused(reply)
            self._hung_up = f"it refuses our sender: {reply}"
        if self._awaited[-1][0] != Step.CHUNK:
            if len(self._awaited) > 1:
                self._settled = mail
            if too_large:
                self._owner.unfit(mail, "the letter is too long for it")
            else:
                self._owner.not_sent(mail, f"it refuses our sender: {reply}", lost=False)
        # With its chunk already out, only the reply to that says that the letter was not taken.
        self._sender_refused = reply
        if len(self._awaited) == 1:
            self._reset_due = True

    def _rcpt_answered(self, mail: Mail, code: int, text: bytes) -> None:
        if not is_about_letters(code):
            raise Garbled("its reply is none to RCPT")
        in_lock_step = len(self._awaited) == 1
        if self._sender_refused is not None:
            return
        if code >= 400:
            self._decide(mail, read_reply(code, text))
            if in_lock_step:
                self._reset_due = True
            else:
                self._settled = mail
        elif in_lock_step:
            self._stepping = (Step.DATA, mail)

    def _data_answered(self, mail: Mail, code: int, text: bytes) -> None:
        if code != GO_ON and code < 400:
            raise Garbled("its reply is none to DATA")
        is_settled, self._settled = self._settled is mail, None
        if code == GO_ON:
            if is_settled:
                self._dot_due = True
            else:
                self._invited = mail
            return
        self._reset_due = True
        if not is_settled:
            self._decide(mail, read_reply(code, text))

    def _dot_answered(self, mail: Mail, code: int, text: bytes) -> None:
        if not is_about_letters(code):
            raise Garbled("its reply is none to a final dot")
        self._decide(mail, read_acceptance(code, text) if code < 400 else read_reply(code, text))

    def _chunk_answered(self, mail: Mail, code: int, text: bytes) -> None:
        if not is_about_letters(code) or text.startswith(_ABOUT_AN_ADDRESS):
            raise Garbled("its reply is none to a chunk")
        if self._settled is mail:
            self._settled = None
            self._reset_due = True
        elif self._sender_refused is not None:
            self._told = True
            if code < 400:
                self._sender_refused = None
                raise Garbled("it took a letter whose sender it had refused")
            self._reset_due = True
            if self._hung_up is None:
                self._owner.unfit(mail, "the letter is too long for it")
            else:
                self._owner.not_sent(mail, f"it refuses our sender: {self._sender_refused}", lost=False)
        elif code < 400:
            self._decide(mail, read_acceptance(code, text))
        else:
            self._reset_due = True
            self._decide(mail, read_reply(code, text))
        self._in_pipe -= 1

    def _quit_answered(self, _mail: Mail, _code: int, _text: bytes) -> None:
        self._hung_up = "we took leave"

    def _decide(self, mail: Mail, reply: Reply) -> None:
        self._told = self._has_served = True
        self._owner.answered(mail, reply)

    def _flush(self) -> None:
        self._told = False
        try:
            self._owner.feed.flush()
        except Exception as error:
            self._owner.not_noted(error)
            raise

    def _move(self) -> None:
        """Nothing is awaited: say everything that can be said at once."""
        if self._stepping is not None:
            self._take_step(*self._stepping)
            return
        alone = self._owner.lock_step or not self._pipelines
        if self._depth and not alone:
            self._fill()
            if not self._awaited:
                self._rest()
            return
        parts = self._end_letter()
        if not self.is_open:
            return
        try:
            offer = None if alone and parts else self._next_offer()
        except Exception:
            self._keep(parts)
            raise
        if offer is not None:
            mail, command = offer
            self._awaited.append((Step.MAIL, mail))
            self._given = None
            if not alone:
                command += f"RCPT TO:<{mail.envelope.recipient}>\r\nDATA\r\n"
                self._awaited.extend(((Step.RCPT, mail), (Step.DATA, mail)))
            parts.append(command.encode())
        if parts:
            self._write(parts)
        else:
            self._rest()

    def _end_letter(self) -> list[bytes]:
        """What ends the letter before: its body and dot, an empty dot, RSET, or nothing."""
        mail = self._invited
        if mail is not None:
            self._told = True
            leaves = self._owner.feed.dot_leaves(mail, self._owner.relay)
            self._invited = None
            if not leaves:
                self._owner.not_sent(mail, _NOT_WANTED, lost=False)
                self.cut(_NOT_WANTED)
                return []
            self._awaited.append((Step.DOT, mail))
            return [*mail.pieces, b".\r\n"]
        if self._dot_due:
            self._dot_due = False
            self._awaited.append((Step.EMPTY_DOT, None))
            return [b".\r\n"]
        if self._reset_due:
            self._reset_due = False
            self._awaited.append((Step.RESET, None))
            return [b"RSET\r\n"]
        return []

    def _fill(self) -> None:
        """Put as many letters into the pipe as may be in it."""
        parts: list[bytes] = []
        try:
            self._load(parts)
        except Exception:
            self._keep(parts)
            raise
        if parts:
            self._write(parts)

    def _load(self, parts: list[bytes]) -> None:
        while self._in_pipe < self._depth and (offer := self._next_offer()) is not None:
            mail, command = offer
            self._told = True
            leaves = self._owner.feed.dot_leaves(mail, self._owner.relay)
            self._given = None
            if not leaves:
                self._owner.not_sent(mail, _NOT_WANTED, lost=False)
                continue
            if self._in_pipe or self._reset_due:
                # If the letter before is refused, this one must not join its transaction.
                self._reset_due = False
                parts.append(b"RSET\r\n")
                self._awaited.append((Step.RESET, None))
            self._awaited.extend(((Step.MAIL, mail), (Step.RCPT, mail), (Step.CHUNK, mail)))
            command += f"RCPT TO:<{mail.envelope.recipient}>\r\nBDAT {mail.size_bytes} LAST\r\n"
            parts += (command.encode(), *mail.pieces)
            self._in_pipe += 1

    def _keep(self, parts: list[bytes]) -> None:
        """The program failed before this was said: nobody need doubt of letters whose dot is in it."""
        self._dropped_bytes += sum(map(len, parts))

    def _take_step(self, step: int, mail: Mail) -> None:
        self._stepping = None
        if step == Step.RCPT:
            self._say(f"RCPT TO:<{mail.envelope.recipient}>\r\n".encode(), (step, mail))
        else:
            self._say(b"DATA\r\n", (step, mail))

    def _say(self, line: bytes, awaited: tuple[int, Mail | None]) -> None:
        self._awaited.append(awaited)
        self._write([line])

    def _write(self, parts: list[bytes]) -> None:
        """Write in one go, after what was told of letters is noted."""
        if self._told:
            self._flush()
        self.deadline = monotonic() + self._limits[self._awaited[0][0]]
        said = b"".join(parts)
        self._transport.write(said)
        if self._transport.is_closing():  # by an error, now or before: of this the kernel took nothing
            self._dropped_bytes += len(said)

    def _rest(self) -> None:
        if self.ending:
            self.quit()
        else:
            self.deadline = inf
            self._idle_since = monotonic()
        self._owner.idle(self)

    def _next_offer(self) -> tuple[Mail, str] | None:
        """The next mail the relay can take, which stays ``_given``, and its MAIL command."""
        if self._given is None and not self.ending and self._hung_up is None:
            self._given = self._owner.take(self)
        while (mail := self._given) is not None:
            try:
                command = mail_command(mail, self._extensions)
            except Misfit as misfit:
                self._told, self._given = True, None
                self._owner.unfit(mail, str(misfit))
                self._given = self._owner.take(self)
            else:
                self.letters += 1
                return mail, command
        return None

    def _mails_out(self) -> set[int]:
        """The identities of the mails whose dot or last chunk has left and was not answered.

        What has not left is the end of what was said last. Over TLS nobody can say how much that is.
        """
        unsent, out = self._dropped_bytes, set()
        if not self._transport.get_extra_info("sslcontext"):
            # After an error the buffer is empty; being blocked still says that something was in it.
            unsent += self._transport.get_write_buffer_size() or int(self._blocked)
        for step, mail in reversed(self._awaited):
            if step in (Step.DOT, Step.CHUNK) and unsent <= 0:
                out.add(id(mail))
            unsent -= length_of(step, mail, self._extensions) if unsent > 0 else 0
        return out

    def _give_back(self, why: str, out: set[int], *, lost: bool) -> None:
        """Tell of every mail under way: uncertain where it is out, else not sent."""
        owner, awaited = self._owner, self._awaited
        under_way = {id(mail): mail for _, mail in awaited if mail is not None}
        for mail in (self._given, self._invited, self._stepping and self._stepping[1]):
            if mail is not None:
                under_way[id(mail)] = mail
        if self._settled is not None:
            under_way.pop(id(self._settled), None)
        if self._sender_refused is not None and awaited and awaited[0][0] in (Step.RCPT, Step.CHUNK):
            # Only the mail whose sender was refused is being answered: it was not taken.
            out -= {id(awaited[0][1])}
        first = awaited[0][1] if awaited else None
        awaited.clear()
        self._given = self._invited = self._stepping = None
        for key, mail in under_way.items():
            if key in out:
                owner.lost_after_dot(mail)
            else:
                # Behind another mail's dot, it was that one's connection.
                owner.not_sent(mail, why, lost=lost and first in (None, mail))
        if under_way or self._told:
            self._flush()
