"""Small mailbox servers on real sockets, for the dialogue that a poll has with them."""

import base64
import re
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

USER, PASSWORD = "bounces@coi.example", 'pass "word" \\ å'


@dataclass
class Kept:
    """One message and its flags."""

    data: bytes
    flags: set[str] = field(default_factory=set)


@dataclass
class MailboxServer:
    """Folders of messages; everything may be changed while it runs."""

    folders: dict[str, dict[int, Kept]] = field(default_factory=lambda: {"INBOX": {}})
    """By folder and UID."""
    protection: ssl.SSLContext | None = None
    implicit_tls: bool = False
    capabilities: tuple[str, ...] = ("AUTH=PLAIN", "MOVE", "UIDPLUS")
    makes_folders: bool = True
    knows_ids: bool = True
    """Of POP3: UIDL."""
    refuses: set[int] = field(default_factory=set)
    """Messages that it does not give."""
    garbles: set[int] = field(default_factory=set)
    """Messages with a line longer than any client reads."""
    greeting: bytes | None = None
    """Instead of its own."""
    forbids: set[str] = field(default_factory=set)
    """Of IMAP: commands that it refuses."""
    drips: bool = False
    """Its greeting comes a byte at a time, and never ends."""
    cut_after: int | None = None
    """Messages after which it cuts the connection."""
    port: int = 0
    given: list[int] = field(default_factory=list)
    sessions: int = 0
    asked: list[str] = field(default_factory=list)
    """Every command, without arguments."""
    _uid: int = 0

    def add(self, *messages: bytes, folder: str = "INBOX") -> None:
        """Let messages arrive."""
        for data in messages:
            self._uid += 1
            self.folders.setdefault(folder, {})[self._uid] = Kept(data)

    def contents(self, folder: str = "INBOX") -> list[bytes]:
        """What lies in a folder."""
        return [kept.data for kept in self.folders.get(folder, {}).values()]


class _Line(socketserver.StreamRequestHandler):
    """What both dialogues have in common."""

    timeout = 10
    disable_nagle_algorithm = True
    mailbox: MailboxServer

    def setup(self) -> None:
        """Begin the session, under TLS if that is how it begins."""
        self.mailbox.sessions += 1
        if self.mailbox.implicit_tls:
            assert self.mailbox.protection
            self.request = self.mailbox.protection.wrap_socket(self.request, server_side=True)
        super().setup()

    def say(self, *lines: bytes) -> None:
        self.wfile.write(b"".join(line + b"\r\n" for line in lines))

    def protect(self) -> None:
        """Go on under TLS."""
        assert self.mailbox.protection
        self.connection = self.mailbox.protection.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = socketserver._SocketWriter(self.connection)  # type: ignore[attr-defined]

    def handle(self) -> None:
        with suppress(ConnectionError, ssl.SSLError, TimeoutError, ValueError):
            while self.mailbox.drips:
                self.wfile.write(b"+" if isinstance(self, _Pop3) else b"*")
                time.sleep(0.05)
            self.talk()

    def finish(self) -> None:
        with suppress(ConnectionError, ssl.SSLError, ValueError):
            super().finish()
        self.connection.close()

    def talk(self) -> None:
        raise NotImplementedError

    def count_and_cut(self, uid: int) -> None:
        """Note that a message was asked for; cut the connection if it is one too many."""
        if self.mailbox.cut_after is not None and len(self.mailbox.given) >= self.mailbox.cut_after:
            raise ConnectionError
        self.mailbox.given.append(uid)


class _Pop3(_Line):
    """RFC 1939, RFC 2595 (STLS)."""

    def talk(self) -> None:
        inbox = self.mailbox.folders["INBOX"]
        listed = dict(enumerate(list(inbox), 1))
        deleted: set[int] = set()
        name = ""
        self.say(self.mailbox.greeting or b"+OK hello")
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            self.mailbox.asked.append(verb.upper())
            match verb.upper():
                case "STLS" if self.mailbox.protection:
                    self.say(b"+OK begin")
                    self.protect()
                case "CAPA":
                    self.say(b"+OK", b"STLS", b"UIDL", b".")
                case "USER":
                    name = rest
                    self.say(b"+OK")
                case "PASS":
                    good = (name, rest) == (USER, PASSWORD)
                    self.say(b"+OK" if good else b"-ERR no such pair: " + rest.encode())
                case "LIST":
                    sizes = [f"{n} {len(inbox[uid].data)}" for n, uid in listed.items()]
                    self.say(b"+OK", *[size.encode() for size in sizes], b".")
                case "UIDL" if self.mailbox.knows_ids:
                    ids = [f"{n} id-{uid}".encode() for n, uid in listed.items()]
                    self.say(b"+OK", *ids, b".")
                case "RETR" | "TOP":
                    self._give(listed[int(rest.split()[0])], top=verb.upper() == "TOP")
                case "DELE":
                    deleted.add(listed[int(rest)])
                    self.say(b"+OK")
                case "QUIT":
                    for uid in deleted:
                        del inbox[uid]
                    self.say(b"+OK")
                    return
                case _:
                    self.say(b"-ERR what?")

    def _give(self, uid: int, *, top: bool) -> None:
        self.count_and_cut(uid)
        if uid in self.mailbox.refuses:
            self.say(b"-ERR not now")
            return
        lines = self.mailbox.folders["INBOX"][uid].data.split(b"\r\n")
        if uid in self.mailbox.garbles:
            lines = [b"x" * 5000, *lines]
        self.say(b"+OK", *(lines[:50] if top else lines), b".")


class _Imap(_Line):
    """The part of RFC 3501, RFC 4315 and RFC 6851 that a poll uses."""

    def talk(self) -> None:
        self.folder: dict[int, Kept] = {}
        self.say(self.mailbox.greeting or b"* OK hello")
        while line := self.rfile.readline():
            tag, _, rest = line.decode().strip().partition(" ")
            verb, _, rest = rest.partition(" ")
            if verb.upper() == "UID":
                verb, _, rest = rest.partition(" ")
            self.mailbox.asked.append(verb.upper())
            answer = self._answer(tag, verb.upper(), rest)
            self.say(f"{tag} {answer}".encode())
            if verb.upper() == "STARTTLS":
                self.protect()
            if verb.upper() == "LOGOUT":
                return

    def _answer(self, tag: str, verb: str, rest: str) -> str:  # noqa: C901 - one case for each verb
        words = re.findall(r'"(?:[^"\\]|\\.)*"|\([^)]*\)|\S+', rest)
        if verb in self.mailbox.forbids:
            return "NO not allowed"
        match verb:
            case "CAPABILITY":
                more = ("STARTTLS",) if self.mailbox.protection else ()
                self.say(
                    " ".join(["* CAPABILITY IMAP4rev1", *self.mailbox.capabilities, *more]).encode()
                )
            case "AUTHENTICATE":
                return self._sign_in_by_sasl()
            case "LOGIN":
                good = [_plain(word) for word in words] == [USER, PASSWORD]
                return "OK in" if good else f"NO no such pair: {rest}"
            case "SELECT":
                if _plain(words[0]) not in self.mailbox.folders:
                    return "NO no such folder"
                self.folder = self.mailbox.folders[_plain(words[0])]
                self.say(b"* %d EXISTS" % len(self.folder))
            case "LIST":
                if _plain(words[1]) in self.mailbox.folders:
                    self.say(b'* LIST () "/" ' + words[1].encode())
            case "CREATE":
                if not self.mailbox.makes_folders:
                    return "NO not here"
                self.mailbox.folders[_plain(words[0])] = {}
            case "SEARCH":
                self._search(words)
            case "FETCH":
                return self._fetch(int(words[0]))
            case "STORE":
                self.folder[int(words[0])].flags |= set(words[2].strip("()").split())
            case "COPY" | "MOVE":
                uid = int(words[0])
                self.mailbox.folders[_plain(words[1])][uid] = Kept(self.folder[uid].data)
                if verb == "MOVE":
                    del self.folder[uid]
            case "EXPUNGE":
                del self.folder[int(words[0])]
            case "LOGOUT":
                self.say(b"* BYE")
            case "STARTTLS":
                pass
            case _:
                return "BAD what?"
        return "OK done"

    def _sign_in_by_sasl(self) -> str:
        self.say(b"+ ")
        said = base64.b64decode(self.rfile.readline()).decode()
        return "OK in" if said == f"\0{USER}\0{PASSWORD}" else f"NO no such pair: {said!r}"

    def _search(self, words: list[str]) -> None:
        first, last = map(int, words[0].split(":"))
        unwanted = {"\\" + word.removeprefix("UN").capitalize() for word in words[1:]}
        found = [
            uid
            for number, (uid, kept) in enumerate(self.folder.items(), 1)
            if first <= number <= last and not kept.flags & unwanted
        ]
        self.say(" ".join(["* SEARCH", *map(str, found)]).encode())

    def _fetch(self, uid: int) -> str:
        self.count_and_cut(uid)
        if uid in self.mailbox.refuses:
            return "NO not now"
        if uid in self.folder:
            data = self.folder[uid].data[:2_000_000]
            self.say(b"* 1 FETCH (UID %d BODY[]<0> {%d}" % (uid, len(data)))
            self.say(data + b")")
        return "OK done"


def _plain(word: str) -> str:
    """A word without its quotes."""
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word


@contextmanager
def _running(handler: type[_Line], mailbox: MailboxServer) -> Iterator[MailboxServer]:
    bound = type("Bound", (handler,), {"mailbox": mailbox})

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that does not trust us says no more."""

    with Server(("127.0.0.1", mailbox.port), bound) as server:
        mailbox.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield mailbox
        finally:
            server.shutdown()
            thread.join(5)


def imap_running(mailbox: MailboxServer) -> AbstractContextManager[MailboxServer]:
    """An IMAP server for as long as the block lasts."""
    return _running(_Imap, mailbox)


def pop3_running(mailbox: MailboxServer) -> AbstractContextManager[MailboxServer]:
    """A POP3 server for as long as the block lasts."""
    return _running(_Pop3, mailbox)
