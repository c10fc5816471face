"""Taking letters in: content behind DATA or in chunks, checked, recorded, and answered."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from mailer.embedded.contents import find_message_id, refuse_content, unstuff
from mailer.embedded.exchange import Exchange
from mailer.embedded.faults import Fault
from mailer.embedded.reception import Reception

SENDER_OK = "250 2.1.0 Sender OK"
RECIPIENT_OK = "250 2.1.5 Recipient OK"
BAD_SEQUENCE = "503 5.5.1 Bad sequence of commands"
TOO_LARGE = "552 5.3.4 Letter too large"
_GO_AHEAD = "354 End with a dot on a line by itself"
_GO_AHEAD_CODE = 354
_KEPT = "250 2.0.0 Kept"
_KEPT_REPLY = f"{_KEPT}\r\n".encode()
_ACCEPTED = f"{SENDER_OK}\r\n{RECIPIENT_OK}\r\n".encode()
_ACCEPTED_AND_GO_AHEAD = _ACCEPTED + f"{_GO_AHEAD}\r\n".encode()
_NO_MEMORY = "452 4.3.1 No room for so many large letters at once"
_DOT = b"\r\n.\r\n"
_CHUNK = re.compile(r"([0-9]{1,10})( LAST)?", re.IGNORECASE)
_WORD = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+"
USUAL_ENVELOPE = re.compile(
    rb"MAIL FROM:<(|%b)>(?: SIZE=[0-9]{1,7})?( BODY=8BITMIME)?(?: SIZE=[0-9]{1,7})?\r\n"
    rb"RCPT TO:<(%b)>\r\n"
    rb"(?:DATA|BDAT ([0-9]{1,7}) LAST)\r\n" % (_WORD, _WORD)
)
"""What nearly every sender pipelines, in one look."""


@dataclass(slots=True)
class Letter:
    """The letter under way, from MAIL to its final dot."""

    sender: bytes
    eight_bit: bool = False
    utf8: bool = False
    recipients: list[bytes] = field(default_factory=list)
    fault: Fault | None = None
    concerned: bytes = b""
    """The recipient whom the fault concerns."""
    refusal: str | None = None
    """What the end of the content will be answered with, whatever it is."""
    parts: list[bytes] = field(default_factory=list)
    """Chunks so far (BDAT)."""
    held: int = 0
    """Bytes of the parts, reserved at the reception."""
    dropped: int = 0
    """Bytes of a refused letter that were not even held."""
    chunked: bool = False


class Intake(Exchange):
    """The part of the dialogue from DATA or BDAT to the end of the letter."""

    def __init__(self, reception: Reception) -> None:
        super().__init__(reception)
        self._letter: Letter | None = None
        self._letters = 0
        self._chunk_left = 0
        self._chunk_is_last = False
        self._chunk_refusal: Callable[[], None] | None = None

    def _find_fault(self, point: str, address: str) -> Fault | None:
        sender = self._letter.sender.decode() if self._letter is not None else None
        return self._reception.faults.find(point, address, sender=sender)

    def _find_letter_fault(self, letter: Letter, point: str) -> tuple[Fault | None, bytes]:
        if self._reception.faults.acts_at(point):
            for recipient in letter.recipients:
                fault = self._find_fault(point, recipient.decode())
                if fault is not None:
                    return fault, recipient
        return None, b""

    def _forget_letter(self) -> None:
        if self._letter is not None:
            self._reception.release(self._letter.held)
        self._letter = None

    def _take_usual(self, usual: re.Match[bytes]) -> None:
        sender, eight_bit, recipient, chunk = usual.groups()
        self._begin = self._scanned = usual.end()
        self._letter = Letter(sender, eight_bit is not None, recipients=[recipient])
        if chunk is None:
            self._replies.append(_ACCEPTED_AND_GO_AHEAD)
            self._take = self._take_content
        else:
            self._replies.append(_ACCEPTED)
            self._letter.chunked = self._chunk_is_last = True
            self._chunk_left = int(chunk)
            self._take = self._take_chunk

    def _data(self, rest: str) -> None:
        letter = self._letter
        if rest:
            self._reply("501 5.5.4 DATA stands alone")
        elif letter is None or letter.chunked:
            self._reply(BAD_SEQUENCE)
        elif letter.recipients:
            self._begin_content(letter)
        else:
            code = self._reception.faults.behaviour.data_without_recipients
            if code == _GO_AHEAD_CODE:
                letter.refusal = "554 5.5.1 No valid recipients"
                self._reply(_GO_AHEAD)
                self._await_content()
            else:
                self._reply(f"{code} 5.5.1 No valid recipients")

    def _begin_content(self, letter: Letter) -> None:
        fault, concerned = self._find_letter_fault(letter, "data")
        if fault is None or fault.reply is None:
            self._await_content()
            if self._meets_early_cut(letter):
                return
        else:
            self._forget_letter()
        self._answer(fault, _GO_AHEAD, "data", concerned)

    def _meets_early_cut(self, letter: Letter) -> bool:
        """Find what will happen at the letter's end; whether the connection ended already now."""
        letter.fault, letter.concerned = self._find_letter_fault(letter, "dot")
        if letter.fault is None or letter.fault.drop != "before-dot":
            return False
        self._answer(letter.fault, "", "dot", letter.concerned)
        return True

    def _await_content(self) -> None:
        self._take = self._take_content
        self._scanned = self._begin

    def _take_content(self) -> bool:
        letter, buffer, begin, end = self._letter, self._buffer, self._begin, self._end
        assert letter is not None
        if begin == end:
            return False
        if not letter.dropped and buffer.startswith(b".\r\n", begin, end):
            self._begin += 3
            self._finish(letter, b"", 0, 0)
            return True
        if letter.fault is not None and letter.fault.drop == "in-content":
            self._answer(letter.fault, "", "dot", letter.concerned)
            return False
        trusted = letter.refusal is None and self._reception.trusts
        if not trusted:
            dot = buffer.find(_DOT, self._scanned, end)
        elif buffer.endswith(b"\r\n", begin, end):
            # Nobody may send beyond DATA before it is answered (RFC 2920 §3.1), so that the last dot
            # is the only one.
            dot = buffer.rfind(_DOT, self._scanned, end)
        else:
            return self._await_more(letter)
        if dot < 0:
            self._scanned = max(begin, end - len(_DOT) + 1)
            return self._await_more(letter)
        self._begin = dot + len(_DOT)
        if trusted and self._reception.usual and letter.fault is None:
            self._finish_usual(letter, begin, dot + 2)
        else:
            self._finish(letter, buffer, begin, dot + 2)
        return True

    def _finish_usual(self, letter: Letter, begin: int, end: int) -> None:
        """Record a letter in which nothing is to be checked, kept or done wrong."""
        self._take, self._letter = self._take_command, None
        self._letters += 1
        message_id = find_message_id(self._buffer, begin, end)
        self._reception.store.note(letter.sender, letter.recipients, message_id, end - begin)
        self._replies.append(_KEPT_REPLY)

    def _await_more(self, letter: Letter) -> bool:
        """Make room for more of the content, or drop what there is; whether to look at it once more."""
        begin, end, size = self._begin, self._end, len(self._buffer)
        if letter.refusal is not None:
            unneeded = max(0, end - begin - len(_DOT) + 1)
            letter.dropped += unneeded
            self._begin += unneeded
            self._scanned = self._begin
        elif end - begin > self._reception.faults.behaviour.limits.size:
            self._reception.store.note_fault("limit-size", "dot", letter.recipients[0])
            letter.refusal = TOO_LARGE
            return True
        elif end == size and begin < size // 2:
            if not self._reception.reserve(size):
                letter.refusal = _NO_MEMORY
                return True
            self._resize(2 * size)
        return False

    def _finish(self, letter: Letter, source: bytes | bytearray, begin: int, end: int) -> None:
        """Record the letter whose content lies between two positions, and reply."""
        self._take = self._take_command
        self._letters += 1
        fault = letter.fault
        refusal = letter.refusal or (fault.reply if fault is not None else None)
        if refusal is None and (fault is None or fault.recorded or fault.drop is None):
            refusal = self._record(letter, source, begin, end)
        self._forget_letter()
        wait = self._reception.faults.behaviour.latency.letter
        self._answer(fault, refusal or _KEPT, "dot", letter.concerned, wait=wait)

    def _record(self, letter: Letter, source: bytes | bytearray, begin: int, end: int) -> str | None:
        """Note the letter, and keep it if it is one of the first; the refusal if it is not fit."""
        store = self._reception.store
        size, file = end - begin, b""
        if not self._reception.trusts:
            content = memoryview(source)[begin:end].tobytes()
            refusal = refuse_content(content, eight_bit=letter.eight_bit)
            if refusal is not None:
                return refusal
            if store.keeps_next:
                if not letter.chunked:
                    content = unstuff(content)
                size = len(content)
                try:
                    file = store.keep(content)
                except OSError as error:
                    return f"452 4.3.1 Cannot keep it: {error.strerror}"
        store.note(letter.sender, letter.recipients, find_message_id(source, begin, end), size, file)
        return None

    def _bdat(self, rest: str) -> None:
        told = _CHUNK.fullmatch(rest)
        letter = self._letter
        if told is None:
            # How many octets follow is unknown, so that nothing behind it can be understood.
            self._hang_up("501 5.5.4 Syntax: BDAT size [LAST]")
            return
        self._chunk_left, self._chunk_is_last = int(told[1]), told[2] is not None
        self._take = self._take_chunk
        if letter is None:
            self._refuse_chunk(BAD_SEQUENCE)
        elif not letter.recipients:
            self._refuse_chunk("554 5.5.1 No valid recipients")
        elif letter.held + self._chunk_left > self._reception.faults.behaviour.limits.size:
            self._reception.store.note_fault("limit-size", "dot", letter.recipients[0])
            self._refuse_chunk(TOO_LARGE)
        elif not letter.chunked:
            self._begin_chunks(letter)

    def _begin_chunks(self, letter: Letter) -> None:
        letter.chunked = True
        fault, concerned = self._find_letter_fault(letter, "data")
        if fault is None:
            self._meets_early_cut(letter)
        elif fault.reply is not None:
            self._refuse_chunk(fault.reply, fault, concerned)
        else:
            letter.fault, letter.concerned = fault, concerned

    def _refuse_chunk(self, reply: str, fault: Fault | None = None, concerned: bytes = b"") -> None:
        """Swallow the chunk, then answer it (RFC 3030 §2); those that follow find no letter."""
        self._chunk_refusal = partial(self._answer, fault, reply, "data", concerned)
        self._forget_letter()

    def _take_chunk(self) -> bool:
        letter, left = self._letter, self._chunk_left
        available = self._end - self._begin
        taken = min(left, available)
        if self._chunk_refusal is None and letter is not None:
            if letter.fault is not None and letter.fault.drop == "in-content" and available:
                self._answer(letter.fault, "", "dot", letter.concerned)
                return False
            if available < left <= len(self._buffer):
                if self._begin + left > len(self._buffer):
                    self._move_to_front()
                return False
            if left <= available and self._chunk_is_last and not letter.parts:
                begin, self._begin = self._begin, self._begin + left
                reception = self._reception
                if reception.trusts and reception.usual and letter.fault is None:
                    self._finish_usual(letter, begin, begin + left)
                else:
                    self._finish(letter, self._buffer, begin, begin + left)
                return True
            if self._reception.reserve(taken):
                letter.parts.append(self._view[self._begin : self._begin + taken].tobytes())
                letter.held += taken
            else:
                self._refuse_chunk(_NO_MEMORY)
        self._begin += taken
        self._chunk_left -= taken
        if self._chunk_left:
            return False
        self._end_chunk(letter)
        return True

    def _end_chunk(self, letter: Letter | None) -> None:
        self._take = self._take_command
        refuse, self._chunk_refusal = self._chunk_refusal, None
        if refuse is not None or letter is None:
            assert refuse is not None
            refuse()
        elif self._chunk_is_last:
            content = b"".join(letter.parts)
            self._finish(letter, content, 0, len(content))
        else:
            self._reply("250 2.0.0 Go on")
