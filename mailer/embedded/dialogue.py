"""The sink's dialogue: SMTP from the server's side, strict, and faulty only as told.

RFC 5321 with PIPELINING (2920), 8BITMIME (6152), SMTPUTF8 (6531), SIZE (1870), CHUNKING (3030),
STARTTLS (3207), AUTH (4954).
"""

import base64
import re
from collections.abc import Callable

from mailer.embedded.exchange import HOST
from mailer.embedded.faults import EXTENSIONS
from mailer.embedded.intake import (
    BAD_SEQUENCE,
    RECIPIENT_OK,
    SENDER_OK,
    TOO_LARGE,
    USUAL_ENVELOPE,
    Intake,
    Letter,
)
from mailer.embedded.mailstore import printable
from mailer.embedded.reception import Reception
from mailer.embedded.sign_in import Conversation, converse, decode

_COMMAND_LIMIT_BYTES = 2_048
"""RFC 5321 §4.5.3.1.4 asks for 512; extensions lengthen commands (RFC 6531 §3.4)."""
_SIGN_IN_LIMIT_BYTES = 12_288
"""RFC 4954 §4."""
_MOST_BAD_COMMANDS = 20
_MOST_FAILED_SIGN_INS = 3
_SIZE_DIGITS = 15
_PATH = re.compile(r"<([^<>\x00-\x1f\x7f]*)>(?: (.*))?")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+|\"[^\"]+\"@[^@\s]+")
_NO_BASE64 = "501 5.5.2 That cannot be understood"
_NO_SUCH_PARAMETER = "555 5.5.4 Parameter not recognised"
_NOT_RECOGNISED = "500 5.5.2 Command not recognised"


class Dialogue(Intake):
    """Commands and their replies, in order."""

    def __init__(self, reception: Reception) -> None:
        super().__init__(reception)
        self._greeted = self._signed_in = False
        self._conversation: Conversation | None = None
        self._bad_commands = self._failed_sign_ins = 0
        self._verbs: dict[str, Callable[[str], None]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "BDAT": self._bdat,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "QUIT": self._quit,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
        }

    def _take_command(self) -> bool:
        begin = self._begin
        if begin == self._end:
            return False
        if self._letter is None and self._greeted and self._reception.usual:
            usual = USUAL_ENVELOPE.match(self._buffer, begin, self._end)
            if usual is not None:
                self._take_usual(usual)
                return True
        end = self._buffer.find(b"\r\n", begin, self._end)
        if (self._end if end < 0 else end) - begin >= _COMMAND_LIMIT_BYTES and not self._signs_in(end):
            self._hang_up("500 5.5.2 Line too long")
            return False
        if end < 0:
            return False
        try:
            line = self._view[begin:end].tobytes().decode()
        except UnicodeDecodeError:
            line = "\0"
        self._begin = end + 2
        if self._conversation is not None:
            self._respond(self._conversation, line)
            return True
        verb, _, rest = line.partition(" ")
        act = self._verbs.get(verb.upper())
        if act is None or self._lacks(verb.upper()):
            self._meet_nonsense()
        else:
            act(rest.strip())
        return True

    def _signs_in(self, end: int) -> bool:
        """Whether the line under way may be longer than others, and still is not too long."""
        long = (
            self._conversation is not None
            or self._view[self._begin : self._begin + 5].tobytes().upper() == b"AUTH "
        )
        return long and (self._end if end < 0 else end) - self._begin < _SIGN_IN_LIMIT_BYTES

    def _lacks(self, verb: str) -> bool:
        behaviour = self._reception.faults.behaviour
        if verb == "STARTTLS":
            return behaviour.tls is None or not behaviour.tls.starttls
        if verb == "AUTH":
            return not self._offers_sign_in()
        return verb == "BDAT" and "CHUNKING" in behaviour.without

    def _meet_nonsense(self) -> None:
        self._bad_commands += 1
        self._reply(_NOT_RECOGNISED)
        if self._bad_commands >= _MOST_BAD_COMMANDS:
            self._hang_up("421 4.7.0 Too many errors")

    def _ehlo(self, name: str) -> None:
        lines = [f"250 {HOST} greets you", *self._extensions()]
        self._greet(name, "\n".join(lines))

    def _helo(self, name: str) -> None:
        self._greet(name, f"250 {HOST}")

    def _greet(self, name: str, reply: str) -> None:
        if not name:
            self._reply("501 5.5.4 A name is needed")
            return
        self._forget_letter()
        fault = self._find_fault("ehlo", self._connection)
        if fault is None or fault.reply is None:
            self._greeted = True
        self._answer(fault, reply, "ehlo")

    def _extensions(self) -> list[str]:
        behaviour = self._reception.faults.behaviour
        extensions = [name for name in EXTENSIONS if name not in behaviour.without]
        if "SIZE" in extensions:
            extensions[extensions.index("SIZE")] = f"SIZE {behaviour.limits.size}"
        if behaviour.tls is not None and behaviour.tls.starttls and not self._secure:
            extensions.insert(0, "STARTTLS")
        if behaviour.sign_in is not None and self._offers_sign_in():
            extensions.insert(0, "AUTH " + " ".join(behaviour.sign_in.mechanisms))
        return extensions

    def _mail(self, rest: str) -> None:
        behaviour = self._reception.faults.behaviour
        most = behaviour.limits.letters_per_connection
        path = _parse_path(rest, "FROM:")
        if not self._greeted or self._letter is not None:
            self._reply(BAD_SEQUENCE)
        elif behaviour.tls is not None and behaviour.tls.required and not self._secure:
            self._reply("530 5.7.0 Say STARTTLS first")
        elif behaviour.sign_in is not None and behaviour.sign_in.required and not self._signed_in:
            self._reply("530 5.7.0 Sign in first")
        elif most is not None and self._letters >= most:
            self._reception.store.note_fault("limit-letters", "mail")
            self._hang_up("421 4.7.0 Too many letters on this connection")
        elif path is None:
            self._reply("501 5.5.4 Syntax: MAIL FROM:<address>")
        else:
            self._meet_sender(*path)

    def _meet_sender(self, sender: str, parameters: list[str]) -> None:
        letter = Letter(printable(sender))
        refusal = self._take_parameters(letter, parameters) or _refuse_address(sender, letter)
        if refusal is not None:
            self._reply(refusal)
            return
        fault = self._reception.faults.find("mail", sender)
        if fault is None or fault.reply is None:
            self._letter = letter
        self._answer(fault, SENDER_OK, "mail")

    def _take_parameters(self, letter: Letter, parameters: list[str]) -> str | None:
        """Note what the sender announces (RFC 1870, 6152, 6531); the reply if it cannot be."""
        behaviour = self._reception.faults.behaviour
        for parameter in parameters:
            name, _, value = parameter.upper().partition("=")
            if ("8BITMIME" if name == "BODY" else name) in behaviour.without:
                return _NO_SUCH_PARAMETER
            if name == "SIZE" and value.isdecimal() and len(value) <= _SIZE_DIGITS:
                if int(value) > behaviour.limits.size:
                    self._reception.store.note_fault("limit-size", "mail")
                    return TOO_LARGE
            elif name == "BODY" and value in {"7BIT", "8BITMIME"}:
                letter.eight_bit = value == "8BITMIME"
            elif parameter.upper() == "SMTPUTF8":
                letter.utf8 = True
            elif name == "AUTH" and value and self._offers_sign_in():
                continue
            else:
                return _NO_SUCH_PARAMETER
        return None

    def _rcpt(self, rest: str) -> None:
        letter = self._letter
        if letter is None:
            self._reply(BAD_SEQUENCE)
            return
        path = _parse_path(rest, "TO:")
        if path is None or not path[0]:
            self._reply("501 5.5.4 Syntax: RCPT TO:<address>")
        elif path[1]:
            self._reply(_NO_SUCH_PARAMETER)
        elif len(letter.recipients) >= self._reception.faults.behaviour.limits.recipients:
            self._reply("452 4.5.3 Too many recipients")
        elif refusal := _refuse_address(path[0], letter):
            self._reply(refusal)
        else:
            self._meet_recipient(letter, path[0])

    def _meet_recipient(self, letter: Letter, recipient: str) -> None:
        address = printable(recipient)
        fault = self._find_fault("rcpt", recipient)
        if fault is None or fault.reply is None:
            refusal = self._reception.faults.find_domain_limit(recipient)
            if refusal is not None:
                self._reception.store.note_fault("rate", "rcpt", address)
                self._answer(fault, refusal, "rcpt", address)
                return
            letter.recipients.append(address)
        self._answer(fault, RECIPIENT_OK, "rcpt", address)

    def _rset(self, rest: str) -> None:
        del rest
        self._forget_letter()
        self._reply("250 2.0.0 OK")

    def _noop(self, rest: str) -> None:
        del rest
        self._reply("250 2.0.0 OK")

    def _vrfy(self, rest: str) -> None:
        del rest
        self._reply("252 2.5.0 Send it and see")

    def _quit(self, rest: str) -> None:
        del rest
        self._hang_up("221 2.0.0 Bye")

    def _begin_anew(self) -> None:
        self._greeted = self._signed_in = False
        self._conversation = None
        self._forget_letter()

    # TLS and AUTH

    def _starttls(self, rest: str) -> None:
        tls = self._reception.faults.behaviour.tls
        if rest:
            self._reply("501 5.5.4 STARTTLS stands alone")
        elif self._secure or tls is None:
            self._reply(BAD_SEQUENCE)
        else:
            self._reply("220 2.0.0 Go ahead")
            if tls.inject is not None:
                self._reception.store.note_fault("tls-inject", "starttls")
                self._reply(tls.inject)
            self._begin_tls()

    def _offers_sign_in(self) -> bool:
        sign_in = self._reception.faults.behaviour.sign_in
        return sign_in is not None and (self._secure or sign_in.plaintext)

    def _auth(self, rest: str) -> None:
        sign_in = self._reception.faults.behaviour.sign_in
        mechanism, _, initial = rest.partition(" ")
        mechanism = mechanism.upper()
        if sign_in is None or not self._greeted or self._signed_in or self._letter is not None:
            self._reply(BAD_SEQUENCE)
        elif mechanism not in sign_in.mechanisms:
            self._reply("504 5.5.4 Mechanism not known")
        else:
            try:
                told = decode(initial) if initial else None
            except ValueError:
                self._reply(_NO_BASE64)
                return
            self._conversation = converse(sign_in, mechanism, told, host=HOST)
            self._converse(self._conversation, None)

    def _respond(self, conversation: Conversation, line: str) -> None:
        if line == "*":
            self._conversation = None
            self._reply("501 5.7.0 Sign-in given up")
            return
        try:
            self._converse(conversation, decode(line))
        except ValueError:
            self._conversation = None
            self._reply(_NO_BASE64)

    def _converse(self, conversation: Conversation, response: bytes | None) -> None:
        try:
            challenge = conversation.send(response) if response is not None else next(conversation)
        except StopIteration as end:
            self._conversation = None
            self._end_sign_in(right=bool(end.value))
        except ValueError:
            self._conversation = None
            self._reply(_NO_BASE64)
        else:
            self._reply(f"334 {base64.b64encode(challenge).decode()}")

    def _end_sign_in(self, *, right: bool) -> None:
        fault = self._find_fault("auth", self._connection)
        refused = fault is not None and fault.reply is not None
        self._signed_in = right and not refused
        self._answer(fault, "235 2.7.0 Welcome" if right else "535 5.7.8 Wrong user or password", "auth")
        if not right and self._line is not None:
            self._failed_sign_ins += 1
            if self._failed_sign_ins >= _MOST_FAILED_SIGN_INS:
                self._hang_up("421 4.7.0 Too many failed attempts")


def _parse_path(rest: str, prefix: str) -> tuple[str, list[str]] | None:
    if not rest.upper().startswith(prefix):
        return None
    match = _PATH.fullmatch(rest[len(prefix) :].lstrip())
    return (match[1], (match[2] or "").split()) if match else None


def _refuse_address(address: str, letter: Letter) -> str | None:
    if address and not _ADDRESS.fullmatch(address):
        return "501 5.1.3 Bad address syntax"
    if not address.isascii() and not letter.utf8:
        return "553 5.6.7 Non-ASCII address without SMTPUTF8"
    return None
