"""The shipped letters through the pool into Postfix, Exim and aiosmtpd: each arrives once, unchanged."""

import asyncio
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mailer.events.importing import import_events
from mailer.rendering.values import Attributes, RecipientValues
from mailer.runtime import Runtime, template_folders
from mailer.sending.addressees import Addressee
from mailer.sending.letters import Message
from mailer.sending.preparing import prepare_letter
from mailer.sending.writer import LetterWriter
from mailer.smtp.errors import RelayUnavailable
from mailer.smtp.patience import Patience
from mailer.smtp.pool import RelayPool, check_relay
from mailer.smtp.relays import Relay, parse_relay
from mailer.smtp.replies import Reply, ReplyClass
from tests.conftest import NOW
from tests.making import make_campaign
from tests.servers.certificates import Authority
from tests.servers.exim import PASSWORD, USER, exim_running
from tests.servers.postfix import postfix_running
from tests.servers.python import python_server_running
from tests.servers.running import HOST, Arrived, MailServer, open_folder

SERVERS: dict[str, Callable[..., AbstractContextManager[Any]]] = {
    "postfix": postfix_running,
    "exim": exim_running,
    "aiosmtpd": python_server_running,
}
GREETING = "brev.coi.example"


@dataclass
class Feed:
    """Mail out of a list; keeps what it is told, and offers again what was not sent."""

    mails: deque[Message]
    at_once: int = sys.maxsize
    """So many for one sending; then it ends, with its connections kept open for the next."""
    answers: dict[str, Reply] = field(default_factory=dict)
    """By recipient."""
    not_fit: dict[str, str] = field(default_factory=dict)
    uncertain: set[str] = field(default_factory=set)
    dots: Counter[str] = field(default_factory=Counter)
    came_back: Counter[str] = field(default_factory=Counter)
    at: Callable[["Feed"], None] = lambda feed: None
    """Called after every answer."""
    given: int = 0

    @property
    def accepted(self) -> set[str]:
        return {to for to, reply in self.answers.items() if reply.kind is ReplyClass.ACCEPTED}

    def next_mail(self, relay: Relay) -> Message | None:
        if not self.mails or self.given >= self.at_once:
            return None
        self.given += 1
        return self.mails.popleft()

    def wait_seconds(self) -> float | None:
        return 0.01 if self.mails and self.given < self.at_once else None

    def dot_leaves(self, mail: Any, relay: Relay) -> bool:
        self.dots[mail.envelope.recipient] += 1
        return True

    def flush(self) -> None:
        pass

    def answered(self, mail: Any, relay: Relay, reply: Reply) -> None:
        to = mail.envelope.recipient
        assert to not in self.answers, "one mail, one answer"
        self.answers[to] = reply
        self.at(self)

    def not_sent(self, mail: Any, relay: Relay, why: str) -> None:
        self.came_back[mail.envelope.recipient] += 1
        self.mails.append(mail)

    def unfit(self, mail: Any, relay: Relay, why: str) -> None:
        self.not_fit[mail.envelope.recipient] = why

    def lost_after_dot(self, mail: Any, relay: Relay) -> None:
        self.uncertain.add(mail.envelope.recipient)

    def spared(self, mail: Any, relay: Relay, reply: Reply) -> None:
        raise AssertionError("no connection is lost time and again, and nobody refused in a row")

    def withdrawn(self, mails: Sequence[Any], relay: Relay, why: str) -> None:
        raise AssertionError("no refusal here is the server's own fault")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What is sent does not depend on the kind of database."""
    return sqlite_url


@pytest.fixture(scope="session")
def compiled() -> list[LetterWriter]:
    """Filled once: compiling the letters costs more than sending them."""
    return []


@pytest.fixture
def writers(compiled: list[LetterWriter], request: pytest.FixtureRequest) -> list[LetterWriter]:
    """The shipped letters: the startpakke and its reminder."""
    if not compiled:
        compiled += _compile(request.getfixturevalue("runtime"))
    return compiled


def _compile(runtime: Runtime) -> list[LetterWriter]:
    events = Path(template_folders(runtime.settings)[-1]) / "letters/startpakke/events.toml"
    tools = runtime.letter_tools
    with runtime.database.write() as db:
        import_events(db, events, NOW)
        return [
            LetterWriter(
                tools, prepare_letter(tools, db, make_campaign(db, letter=name), now=NOW, about=about)
            )
            for name, about in (("startpakke", None), ("paamindelse", "hovedstaden"))
        ]


def addressee(position: int, email: str, name: str | None, **values: str) -> Addressee:
    """A representative in a municipality unless told otherwise."""
    told = {
        "role": "tillidsrepræsentant",
        "sector": "kommune",
        "organisation": "Ærø Kommune",
        "workplace": "Søndre Skole",
        "confederation": "FTF",
        "region": "Syddanmark",
        "language": "da",
        **values,
    }
    return Addressee(
        position,
        email,
        email.rpartition("@")[2],
        RecipientValues(name=name, attributes=Attributes(), **told),
        None,
        "FTF",
    )


PEOPLE: list[tuple[str, str | None, dict[str, str]]] = [
    ("aase@kommune.example", "Åse Sørensen", {}),
    ("oersted@kommune.example", "Jørgen Ægidius Ørsted-Lærkegård", {"role": "borgmester"}),
    ("post@faelles.example", None, {"role": "leder"}),
    ("minister@stat.example", "Margrethe Vestager", {"role": "minister", "sector": "stat"}),
    ("english@stat.example", "John O'Neill", {"language": "en"}),
    ("comma@stat.example", 'Hansen, "Bo" <bo@elsewhere.example>', {}),
    ("long@stat.example", "Æblegrød-" * 30 + "Hansen", {"workplace": "Ø" * 200}),
    ("dots@stat.example", ".\r\n.", {"organisation": ".", "workplace": "..x"}),
    ("o.sullivan+brev=x@region.example", "Zoë Šimůnek", {"sector": "region"}),
    ("UPPER.case@Region.Example", "OLE BRÆNDGÅRD", {}),
    ("emoji@region.example", "Kaj 🧵 Andrea", {"region": "Hovedstaden"}),
    ("søren.ærlig@kommune.example", "Søren Ærlig", {}),
]


def letters(writers: list[LetterWriter], *, times: int = 1) -> list[Message]:
    """Both letters to everybody; each recipient's address is used once."""
    written = []
    for number in range(times * len(writers)):
        for position, (email, name, values) in enumerate(PEOPLE, start=1):
            local, _, domain = email.rpartition("@")
            to = addressee(position + 100 * number, f"{local}.{number}@{domain}", name, **values)
            written.append(writers[number % len(writers)].write(to))
    return written


def plain_letters(writers: list[LetterWriter], *recipients: str) -> list[Message]:
    """The startpakke to these."""
    return [
        writers[0].write(addressee(position, email, "Åse Sørensen"))
        for position, email in enumerate(recipients, start=1)
    ]


def relay_to(server: MailServer, **options: object) -> Relay:
    """The relay as the settings would name it; without TLS unless told otherwise."""
    told = {"starttls": "never", "connections": 1, **options}
    query = "&".join(f"{name}={quote(str(value))}" for name, value in told.items())
    return parse_relay(f"smtp://{HOST}:{server.port}?{query}")


def send(feed: Feed, *relays: Relay, patience: Patience | None = None) -> Feed:
    """Send all of it; what came back is offered again."""

    async def run() -> None:
        pool = RelayPool(relays, greet_as=GREETING)
        if patience is not None:
            pool = RelayPool(relays, greet_as=GREETING, patience=patience)
        try:
            for _ in range(20):
                feed.given = 0
                await asyncio.wait_for(pool.send(feed), 60)
                if not feed.mails:
                    break
                await asyncio.sleep(min(pool.retry_in, 1.0))
        finally:
            await pool.close()

    asyncio.run(run())
    assert not feed.mails, "everything came to an end"
    return feed


def reads(data: bytes) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Headers, and each part's type and content, as the standard library reads them."""
    message = message_from_bytes(data, policy=default)
    assert isinstance(message, EmailMessage)
    leaves = [part for part in message.walk() if not part.is_multipart()]
    parts = [(part.get_content_type(), part.get_content()) for part in leaves]
    return [(name, str(value)) for name, value in message.items()], parts


def assert_arrived_once(arrived: list[Arrived], sent: Sequence[Message]) -> None:
    """Each of these letters is there once, with its own envelope, unchanged; and nothing else."""
    got = {letter.recipient.lower(): letter for letter in arrived}
    wanted = {message.envelope.recipient.lower(): message for message in sent}
    assert len(got) == len(arrived), "nobody got two"
    assert got.keys() == wanted.keys()
    for recipient, message in wanted.items():
        letter = got[recipient]
        assert letter.sender == message.envelope.sender
        assert reads(letter.data) == reads(message.data)
        assert letter.data == message.data
        kinds = [kind for kind, _ in reads(letter.data)[1]]
        assert kinds in (["text/plain", "text/html"], ["text/plain", "text/html", "text/calendar"])


@pytest.fixture(scope="session")
def authority() -> Iterator[Authority]:
    with open_folder("authority") as folder:
        yield Authority(folder)


@pytest.fixture(scope="session", params=SERVERS)
def started(request: pytest.FixtureRequest, authority: Authority) -> Iterator[MailServer]:
    """Each of the servers, with a certificate for ``localhost``."""
    with SERVERS[request.param](certificate=authority.issue("localhost")) as running:
        yield running


@pytest.fixture
def server(started: MailServer) -> MailServer:
    """Each of the servers, empty."""
    started.empty()
    return started


@pytest.mark.parametrize("options", [{}, {"connections": 4}, {"letters": 5}, {"chunking": 4}], ids=str)
def test_every_letter_arrives_once_and_unchanged(
    server: MailServer, writers: list[LetterWriter], options: dict[str, object]
) -> None:
    sent = letters(writers)

    feed = send(Feed(deque(sent), at_once=len(sent) // 2), relay_to(server, **options))

    assert feed.accepted == {message.envelope.recipient for message in sent}
    assert set(feed.dots.values()) == {1}
    assert_arrived_once(server.arrived(), sent)


@pytest.mark.parametrize("options", [{}, {"connections": 3}, {"chunking": 4}], ids=str)
def test_a_refusal_is_told_of_the_right_recipient_and_holds_nobody_else_up(
    server: MailServer, writers: list[LetterWriter], options: dict[str, object]
) -> None:
    names = [f"p{number}" for number in range(30)]
    for place, refused in ((0, "unknown"), (1, "unknown"), (7, "later"), (8, "unknown"), (29, "later")):
        names[place] = refused
    recipients = [f"{name}@d{number}.example" for number, name in enumerate(names)]
    sent = plain_letters(writers, *recipients)

    feed = send(Feed(deque(sent)), relay_to(server, **options))

    expected = {"unknown": (550, "5.1.1"), "later": (451, "4.7.1")}
    for to in recipients:
        local = to.partition("@")[0]
        reply = feed.answers[to]
        assert (reply.code, reply.enhanced_code)[: 1 if local.startswith("p") else 2] == expected.get(
            local, (250,)
        ), to
        assert to not in reply.text
    assert_arrived_once(server.arrived(), [m for m in sent if m.envelope.recipient in feed.accepted])


@pytest.mark.parametrize("server", ["postfix", "exim"])
def test_a_letter_that_is_too_long_is_not_offered_where_the_limit_is_announced(
    writers: list[LetterWriter], server: str
) -> None:
    settings = {"message_size_limit": "20000"}
    sent = plain_letters(writers, "a@kommune.example", "b@kommune.example")
    with SERVERS[server](settings=settings) as small:
        feed = send(Feed(deque(sent)), relay_to(small))

        assert set(feed.not_fit) == {"a@kommune.example", "b@kommune.example"}
        assert not feed.dots
        assert small.arrived() == []


@pytest.mark.parametrize("chunking", [0, 4])
def test_a_letter_refused_for_its_length_is_that_letters_alone(
    writers: list[LetterWriter], chunking: int
) -> None:
    settings = {"message_size_limit": "100000", "smtpd_discard_ehlo_keywords": "size"}
    sent = plain_letters(writers, "a@kommune.example", "b@kommune.example", "c@kommune.example")
    more = (b"x" * 70 + b"\r\n") * 2001
    sent[1] = replace(sent[1], pieces=(*sent[1].pieces, more), size_bytes=sent[1].size_bytes + len(more))
    with postfix_running(settings=settings) as small:
        feed = send(Feed(deque(sent)), relay_to(small, chunking=chunking))

        assert feed.accepted == {"a@kommune.example", "c@kommune.example"}
        assert feed.answers["b@kommune.example"].code == 552
        assert_arrived_once(small.arrived(), [sent[0], sent[2]])


@pytest.mark.parametrize("chunking", [0, 4])
@pytest.mark.parametrize("server", ["postfix", "exim"])
def test_a_server_that_hangs_up_after_too_many_errors_costs_nobody_a_letter(
    writers: list[LetterWriter], server: str, chunking: int
) -> None:
    limits = {
        "postfix": {"smtpd_hard_error_limit": "2", "smtpd_soft_error_limit": "1"},
        "exim": {"smtp_max_unknown_commands": "1", "smtp_accept_max_nonmail": "1"},
    }
    recipients = [
        f"{'unknown' if number % 3 == 0 else f'p{number}'}@d{number}.example" for number in range(18)
    ]
    sent = plain_letters(writers, *recipients)
    with SERVERS[server](settings=limits[server]) as strict:
        feed = send(Feed(deque(sent)), relay_to(strict, chunking=chunking))

        wanted = {to for to in recipients if to.startswith("p")}
        assert all(to.startswith("unknown") for to, reply in feed.answers.items() if reply.code == 550)
        assert feed.accepted <= wanted
        if not chunking:
            assert feed.accepted == wanted
        arrived = strict.arrived()
        came = {letter.recipient for letter in arrived}
        assert feed.accepted <= came <= feed.accepted | feed.uncertain
        assert_arrived_once(arrived, [m for m in sent if m.envelope.recipient in came])


def test_a_server_that_wants_few_letters_a_connection_gets_them_over_several(
    writers: list[LetterWriter],
) -> None:
    sent = letters(writers)
    with exim_running(settings={"smtp_accept_max_per_connection": "3"}) as server:
        feed = send(Feed(deque(sent)), relay_to(server, connections=2))

        assert feed.accepted == {message.envelope.recipient for message in sent}
        assert_arrived_once(server.arrived(), sent)


@pytest.mark.parametrize("server", ["postfix", "exim"])
def test_a_server_that_wants_few_connections_gets_everything_over_those(
    writers: list[LetterWriter], server: str
) -> None:
    limits = {
        "postfix": {"smtpd_client_connection_count_limit": "2"},
        "exim": {"smtp_accept_max_per_host": "2"},
    }
    sent = letters(writers)
    with SERVERS[server](settings=limits[server]) as narrow:
        feed = send(Feed(deque(sent)), relay_to(narrow, connections=6))

        assert feed.accepted == {message.envelope.recipient for message in sent}
        assert_arrived_once(narrow.arrived(), sent)


@pytest.mark.parametrize("options", [{"connections": 3}, {"connections": 2, "chunking": 4}], ids=str)
def test_a_server_restarted_in_the_middle_loses_and_doubles_nothing_beyond_what_is_uncertain(
    server: MailServer, writers: list[LetterWriter], options: dict[str, Any]
) -> None:
    sent = letters(writers, times=4)
    restarts: list[Future[None]] = []

    # One after the other: answers that came in one packet ask for both at once.
    with ThreadPoolExecutor(max_workers=1) as janitor:

        def restart(feed: Feed) -> None:
            if len(feed.answers) in (20, 55):
                restarts.append(janitor.submit(server.restart))

        patience = Patience(first_pause=0.2, longest_pause=0.5)
        feed = send(Feed(deque(sent), at=restart), relay_to(server, **options), patience=patience)
    for done in restarts:
        done.result()

    assert len(restarts) == 2
    everybody = {message.envelope.recipient for message in sent}
    assert feed.accepted | feed.uncertain == everybody
    assert len(feed.uncertain) < len(sent) / 4, "only what was in the pipe when it was cut"
    arrived = server.arrived()
    came = {letter.recipient.lower() for letter in arrived}
    assert {to.lower() for to in feed.accepted} <= came
    assert_arrived_once(arrived, [m for m in sent if m.envelope.recipient.lower() in came])


@pytest.mark.parametrize("chunking", [0, 4])
def test_letters_go_out_under_tls_and_the_certificate_is_verified(
    server: MailServer, writers: list[LetterWriter], authority: Authority, chunking: int
) -> None:
    sent = letters(writers)
    options = {"starttls": "require", "ca": authority.ca, "chunking": chunking, "connections": 2}
    relay = relay_to(server, **options)

    with pytest.raises(RelayUnavailable, match="certificate is not trusted"):  # it names localhost
        asyncio.run(check_relay(relay, greet_as=GREETING))
    query = "&".join(f"{name}={quote(str(value))}" for name, value in options.items())
    named = parse_relay(f"smtp://localhost:{server.port}?{query}")
    stranger = parse_relay(f"smtp://localhost:{server.port}?starttls=require")
    with pytest.raises(RelayUnavailable, match="certificate is not trusted"):
        asyncio.run(check_relay(stranger, greet_as=GREETING))
    feed = send(Feed(deque(sent)), named)

    assert feed.accepted == {message.envelope.recipient for message in sent}
    assert_arrived_once(server.arrived(), sent)


@pytest.mark.parametrize("auth", [None, "plain", "login", "cram-md5"])
def test_exim_lets_us_in_with_the_right_password_and_with_no_other(
    writers: list[LetterWriter], authority: Authority, auth: str | None
) -> None:
    sent = plain_letters(writers, "a@kommune.example")
    settings = {"acl_smtp_mail": "${if def:authenticated_id{accept}{deny}}"}
    with exim_running(certificate=authority.issue("localhost"), settings=settings) as server:
        options = f"ca={quote(str(authority.ca))}" + (f"&auth={auth}" if auth else "")
        right = f"{USER}:{quote(PASSWORD)}"
        wrong = parse_relay(f"smtp://{USER}:forkert@localhost:{server.port}?{options}")
        with pytest.raises(RelayUnavailable, match="535"):
            asyncio.run(check_relay(wrong, greet_as=GREETING))

        feed = send(Feed(deque(sent)), parse_relay(f"smtp://{right}@localhost:{server.port}?{options}"))

        assert feed.accepted == {"a@kommune.example"}
        assert_arrived_once(server.arrived(), sent)


@pytest.mark.parametrize("auth", [None, "plain", "login"])
def test_aiosmtpd_lets_us_in_too(
    writers: list[LetterWriter], authority: Authority, auth: str | None
) -> None:
    sent = plain_letters(writers, "a@kommune.example")
    with python_server_running(certificate=authority.issue("localhost"), with_auth=True) as server:
        options = f"ca={quote(str(authority.ca))}" + (f"&auth={auth}" if auth else "")
        wrong = parse_relay(f"smtp://{USER}:forkert@localhost:{server.port}?{options}")
        with pytest.raises(RelayUnavailable, match="535"):
            asyncio.run(check_relay(wrong, greet_as=GREETING))

        feed = send(
            Feed(deque(sent)),
            parse_relay(f"smtp://{USER}:{quote(PASSWORD)}@localhost:{server.port}?{options}"),
        )

        assert feed.accepted == {"a@kommune.example"}
        assert_arrived_once(server.arrived(), sent)


def test_an_address_that_needs_smtputf8_is_not_offered_where_it_is_not_spoken(
    writers: list[LetterWriter],
) -> None:
    sent = plain_letters(writers, "a@kommune.example", "søren@kommune.example", "b@kommune.example")
    with postfix_running(settings={"smtputf8_enable": "no"}) as server:
        feed = send(Feed(deque(sent)), relay_to(server))

        assert set(feed.not_fit) == {"søren@kommune.example"}
        assert_arrived_once(server.arrived(), [sent[0], sent[2]])
