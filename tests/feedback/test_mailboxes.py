"""Mailboxes over real sockets: what is read, when it is taken away, and what is never said."""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import text

from mailer.campaigns.heartbeats import POLL_LEASE, POLLED, last_heartbeat, take_lease
from mailer.campaigns.models import DeliveryState
from mailer.feedback.applying import Result
from mailer.feedback.errors import AlreadyPolling, BadMailbox, MailboxUnavailable
from mailer.feedback.findings import MailKind
from mailer.feedback.imap import ImapMailbox
from mailer.feedback.inbox import LARGEST_BYTES, Unread
from mailer.feedback.mailboxes import mailboxes_of, parse_mailbox
from mailer.feedback.pop3 import Pop3Mailbox
from mailer.feedback.processing import LEASE, REFUSES, Poll, Processed, poll
from mailer.foundation.clock import real_now
from mailer.foundation.settings import SettingsError, load_settings
from mailer.runtime import Runtime
from mailer.tracking.tokens import Purpose
from recipients.models import SuppressionReason
from tests.campaigns.making import claim, sending
from tests.feedback.making import Mailing, bounce_message, mail, mail_out, plus
from tests.feedback.servers import PASSWORD, USER, MailboxServer, imap_running, pop3_running
from tests.smtp.certificates import make_certificate

Running = Callable[[MailboxServer], AbstractContextManager[MailboxServer]]
SCHEMES: dict[str, Running] = {"imap": imap_running, "pop": pop3_running}
both = pytest.mark.parametrize("scheme", SCHEMES)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: what follows from a message is tested on both."""
    return sqlite_url


@pytest.fixture
def mailing(runtime: Runtime) -> Mailing:
    return mail_out(runtime)


def url_of(
    scheme: str, server: MailboxServer, *, options: str = "starttls=never", folder: str = ""
) -> str:
    who = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"
    return f"{scheme}://{who}@127.0.0.1:{server.port}{folder}?{options}"


def look(mailing: Mailing, *urls: str) -> Poll:
    return poll(mailing.runtime.feedback_tools, [parse_mailbox(url) for url in urls])


def results(looked: Poll) -> Sequence[Result | None]:
    return [each.applied.result if isinstance(each, Processed) else None for each in looked.messages]


def wish_of(mailing: Mailing, position: int = 1) -> bytes:
    return mail(mailing.to(Purpose.UNSUBSCRIBE, position))


def bounce_of(mailing: Mailing, position: int = 1) -> bytes:
    return bounce_message(mailing.to(Purpose.BOUNCE, position), mailing.address(position))


@both
def test_what_waits_is_applied_and_taken_away(mailing: Mailing, scheme: str) -> None:
    server = MailboxServer()
    server.add(bounce_of(mailing, 1), wish_of(mailing, 2), mail("bounce@coi.example", subject="?"))
    with SCHEMES[scheme](server):
        looked = look(mailing, url_of(scheme, server))
        again = look(mailing, url_of(scheme, server))

    assert results(looked) == [Result.APPLIED, Result.APPLIED, Result.NOTHING]
    assert mailing.delivery(1).state is DeliveryState.BOUNCED
    suppressed = mailing.suppression(2)
    assert suppressed is not None
    assert suppressed.reason is SuppressionReason.UNSUBSCRIBED
    left = server.contents()
    assert len(left) == 1, "a person's reply stays"
    assert b"Subject: ?" in left[0]
    assert results(again) == ([] if scheme == "imap" else [Result.NOTHING])
    assert len(server.contents("processed")) == (2 if scheme == "imap" else 0)


@both
def test_what_cannot_be_verified_stays_for_somebody_to_read(mailing: Mailing, scheme: str) -> None:
    unverified = [
        mail(plus("v1-none")),
        mail(mailing.to(Purpose.BOUNCE), subject="Afmeld mig"),
        bounce_message(plus("v1-none"), mailing.address()),
    ]
    server = MailboxServer()
    server.add(*unverified)
    with SCHEMES[scheme](server):
        looked = look(mailing, url_of(scheme, server))

    assert results(looked) == [Result.UNVERIFIED] * 3
    assert server.contents() == unverified
    if scheme == "imap":
        assert [kept.flags for kept in server.folders["INBOX"].values()] == [{"\\Flagged"}] * 3


def test_over_pop3_what_stays_never_stands_before_what_is_new(mailing: Mailing) -> None:
    server = MailboxServer()
    server.add(*[mail(plus("x"), subject="Tak", text="Hej")] * 250, bounce_of(mailing))
    with pop3_running(server):
        place = parse_mailbox(url_of("pop", server))

        def look_at(most: int) -> list[int]:
            asked, begin = itertools.count(), len(server.given)
            poll(mailing.runtime.feedback_tools, [place], is_stopping=lambda: next(asked) >= most)
            return server.given[begin : begin + most]

        first, second, third = look_at(200), look_at(100), look_at(1000)
        assert mailing.delivery().state is DeliveryState.BOUNCED
        server.add(bounce_of(mailing, 2))
        fourth = look_at(1000)

    assert first == list(range(1, 201))
    assert second == [*range(201, 252), *range(1, 50)], "new ones first, then those of long ago"
    assert third == [*range(50, 150)], "of the others no more than some at each look"
    assert fourth == [252, *range(150, 250)]
    assert mailing.delivery(2).state is DeliveryState.BOUNCED
    (kept,) = (mailing.runtime.settings.state_dir / "feedback").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "bounces" not in kept.name
    assert kept.read_text().count("id-") == 250


def test_over_pop3_messages_that_are_never_given_stop_no_other_for_good(mailing: Mailing) -> None:
    server = MailboxServer(garbles={1, 2, 3, 4})
    server.add(*[b"Subject: Spam\r\n\r\n"] * 4, bounce_of(mailing))
    (mailing.runtime.settings.state_dir / "feedback").write_text("in the way")
    with pop3_running(server):
        look(mailing, url_of("pop", server))
        (mailing.runtime.settings.state_dir / "feedback").unlink()
        look(mailing, url_of("pop", server))
        look(mailing, url_of("pop", server))

    assert mailing.delivery().state is DeliveryState.BOUNCED
    assert len(server.contents()) == 4


@pytest.mark.parametrize("capabilities", [("MOVE",), ()])
def test_a_message_that_may_not_be_moved_does_not_come_again(
    mailing: Mailing, capabilities: tuple[str, ...]
) -> None:
    server = MailboxServer(capabilities=("AUTH=PLAIN", *capabilities), forbids={"MOVE", "COPY"})
    server.add(bounce_of(mailing))
    with imap_running(server):
        first, again = look(mailing, url_of("imap", server)), look(mailing, url_of("imap", server))

    assert (results(first), results(again)) == ([Result.APPLIED], [])
    assert (first.troubles, len(server.contents())) == ({}, 1)


def test_a_mailbox_that_may_not_be_changed_is_told_of_and_read_to_its_end(mailing: Mailing) -> None:
    server = MailboxServer(forbids={"MOVE", "COPY", "STORE"})
    server.add(bounce_of(mailing, 1), bounce_of(mailing, 2))
    with imap_running(server):
        looked = look(mailing, url_of("imap", server))

    assert results(looked) == [Result.APPLIED] * 2
    assert list(looked.troubles.values()) == [f"mailbox 127.0.0.1/INBOX: it {REFUSES}"]


@both
def test_a_server_that_drips_is_not_waited_for(scheme: str, tmp_path: Path) -> None:
    with SCHEMES[scheme](MailboxServer(drips=True)) as server:
        place = parse_mailbox(url_of(scheme, server))
        begin = time.monotonic()
        opening = partial(ImapMailbox, place) if place.is_imap else partial(Pop3Mailbox, place, tmp_path)
        with pytest.raises(MailboxUnavailable, match="no answer within"):
            opening(patience=0.5)

    assert time.monotonic() - begin < 5


def test_after_the_first_no_mailbox_is_opened_when_it_is_time_to_stop(mailing: Mailing) -> None:
    with imap_running(MailboxServer()) as server, imap_running(MailboxServer()) as other:
        places = [parse_mailbox(url_of("imap", each)) for each in (server, other)]
        poll(mailing.runtime.feedback_tools, places, is_stopping=lambda: True)

    assert other.sessions == 0


def test_without_a_folder_for_them_processed_messages_are_marked_as_seen(mailing: Mailing) -> None:
    server = MailboxServer(makes_folders=False)
    server.add(bounce_of(mailing))
    with imap_running(server):
        first, again = look(mailing, url_of("imap", server)), look(mailing, url_of("imap", server))

    assert (results(first), results(again)) == ([Result.APPLIED], [])
    (kept,) = server.folders["INBOX"].values()
    assert kept.flags == {"\\Seen"}


@pytest.mark.parametrize("capabilities", [(), ("UIDPLUS",), ("MOVE",)])
def test_messages_are_moved_by_whatever_the_server_knows(
    mailing: Mailing, capabilities: tuple[str, ...]
) -> None:
    server = MailboxServer(capabilities=("AUTH=PLAIN", *capabilities))
    server.add(bounce_of(mailing))
    with imap_running(server):
        first, again = look(mailing, url_of("imap", server)), look(mailing, url_of("imap", server))

    assert (results(first), results(again)) == ([Result.APPLIED], [])
    assert len(server.contents("processed")) == 1
    left = [kept.flags for kept in server.folders["INBOX"].values()]
    assert left == ([] if capabilities else [{"\\Deleted"}])


@both
def test_what_waits_for_its_batch_stays_until_the_next_look(runtime: Runtime, scheme: str) -> None:
    with runtime.database.write() as db:
        campaign = sending(db, 3)
        claim(db, campaign)
        mailing = Mailing(runtime, campaign.id)
    server = MailboxServer()
    server.add(bounce_of(mailing))
    with SCHEMES[scheme](server):
        for _ in range(2):
            assert results(look(mailing, url_of(scheme, server))) == [Result.WAITING]
    assert len(server.contents()) == 1


@both
def test_nothing_is_taken_away_that_could_not_be_committed(mailing: Mailing, scheme: str) -> None:
    server = MailboxServer()
    server.add(bounce_of(mailing, 1), bounce_of(mailing, 2))
    with mailing.database.write() as db:
        db.execute(
            text(
                "CREATE TRIGGER full_disk BEFORE UPDATE ON deliveries WHEN new.position = 2"
                " BEGIN SELECT raise(ABORT, 'disk full'); END"
            )
        )
    with SCHEMES[scheme](server):
        with pytest.raises(Exception, match="disk full"):
            look(mailing, url_of(scheme, server))
        assert server.contents() == [bounce_of(mailing, 2)]
    assert mailing.delivery(2).state is DeliveryState.SENT


@both
def test_a_message_that_is_not_given_stops_no_other_and_is_named_by_number(
    mailing: Mailing, scheme: str
) -> None:
    server = MailboxServer(refuses={2})
    server.add(bounce_of(mailing, 1), b"Subject: private\r\n\r\n", bounce_of(mailing, 3))
    with SCHEMES[scheme](server):
        looked = look(mailing, url_of(scheme, server))

    assert results(looked) == [Result.APPLIED, None, Result.APPLIED]
    unread = looked.messages[1]
    assert isinstance(unread, Unread)
    assert unread.path == {"imap": "127.0.0.1/INBOX#2", "pop": "127.0.0.1#id-2"}[scheme]
    assert "private" not in str(unread)
    assert server.contents() == [b"Subject: private\r\n\r\n"]
    if scheme == "imap":
        assert server.folders["INBOX"][2].flags == {"\\Flagged"}


@pytest.mark.parametrize("knows_ids", [True, False])
def test_a_line_longer_than_pop3_allows_costs_a_connection_and_nothing_else(
    mailing: Mailing, *, knows_ids: bool
) -> None:
    server = MailboxServer(garbles={2}, knows_ids=knows_ids)
    server.add(*[bounce_of(mailing, position) for position in (1, 2, 3)])
    with pop3_running(server):
        looked = look(mailing, url_of("pop", server))

    assert results(looked) == [Result.APPLIED, None, Result.APPLIED]
    assert server.contents() == [bounce_of(mailing, 2)]
    assert server.sessions == 2


@both
def test_a_connection_cut_in_the_middle_loses_nothing(mailing: Mailing, scheme: str) -> None:
    server = MailboxServer(cut_after=1)
    spam = [b"Subject: Spam\r\n\r\n"] * 5
    server.add(*[bounce_of(mailing, position) for position in (1, 2, 3)], *spam)
    with SCHEMES[scheme](server):
        cut = look(mailing, url_of(scheme, server))
        server.cut_after = None
        rest = look(mailing, url_of(scheme, server))

    assert results(cut)[0] is Result.APPLIED
    assert results(cut)[1:] == ([None] * 3 if scheme == "pop" else [])
    assert list(cut.troubles) == [parse_mailbox(url_of(scheme, server))]
    assert results(rest) == [*[Result.APPLIED] * 2, *[Result.NOTHING] * 5]
    assert server.contents() == []


@both
def test_a_huge_message_is_cut_off_and_read(mailing: Mailing, scheme: str) -> None:
    server = MailboxServer()
    begun = bounce_of(mailing)
    server.add(begun + b"\r\n" + (b"x" * 70 + b"\r\n") * (LARGEST_BYTES // 70))
    with SCHEMES[scheme](server):
        looked = look(mailing, url_of(scheme, server))

    assert results(looked) == [Result.APPLIED]
    assert ("TOP" in server.asked) == (scheme == "pop")


def test_a_mailbox_with_thousands_is_read_to_its_end(runtime: Runtime) -> None:
    mailing = mail_out(runtime)
    server = MailboxServer()
    server.add(*[b"Subject: Spam\r\n\r\n"] * 2010, bounce_of(mailing))
    with imap_running(server):
        looked = look(mailing, url_of("imap", server))

    assert len(looked.messages) == 2011
    assert mailing.delivery().state is DeliveryState.BOUNCED
    assert server.contents() == []


@both
def test_a_mailbox_that_is_gone_stops_no_other(mailing: Mailing, scheme: str) -> None:
    gone, server = MailboxServer(port=1), MailboxServer()
    server.add(bounce_of(mailing))
    with SCHEMES[scheme](server):
        looked = look(mailing, url_of(scheme, gone), url_of(scheme, server))

    assert results(looked) == [Result.APPLIED]
    (why,) = looked.troubles.values()
    assert why.endswith("Connection refused")
    with mailing.database.read() as db:
        assert last_heartbeat(db, POLLED) is None


@both
@pytest.mark.parametrize("greeting", [b"220 mail.example ESMTP", b"\x00\xff", b"* BYE no", b"-ERR no"])
def test_a_server_of_another_kind_is_named_and_harmless(
    mailing: Mailing, scheme: str, greeting: bytes
) -> None:
    with SCHEMES[scheme](MailboxServer(greeting=greeting)) as server:
        looked = look(mailing, url_of(scheme, server))

    (why,) = looked.troubles.values()
    assert why.isprintable()
    assert looked.messages == []


@both
def test_a_wrong_password_is_never_repeated(
    mailing: Mailing, scheme: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for capabilities in ((), ("AUTH=PLAIN",)):
        with SCHEMES[scheme](MailboxServer(capabilities=capabilities)) as server:
            wrong = f"{scheme}://me:wr0ng-secret@127.0.0.1:{server.port}?starttls=never"
            looked = look(mailing, wrong)

        assert list(looked.troubles.values()) == [
            f"mailbox {parse_mailbox(wrong).name}: it does not let us in"
        ]
    assert "wr0ng" not in "".join(capfd.readouterr())


def test_a_folder_that_is_not_there_is_named(mailing: Mailing) -> None:
    with imap_running(MailboxServer()) as server:
        looked = look(mailing, url_of("imap", server, folder="/Retur/Post"))

    assert list(looked.troubles.values()) == ["mailbox 127.0.0.1/Retur/Post: there is no such folder"]


@both
def test_another_folder_or_protection_can_be_named(
    mailing: Mailing, scheme: str, tmp_path: Path
) -> None:
    protection, ca = make_certificate(tmp_path / "ca")
    for implicit in (True, False):
        server = MailboxServer(protection=protection, implicit_tls=implicit)
        server.add(wish_of(mailing, 1 + implicit))
        kind = scheme + ("s" if implicit else "")
        with SCHEMES[scheme](server):
            looked = look(mailing, url_of(kind, server, options=f"ca={ca}"))

        assert (results(looked), looked.troubles) == ([Result.APPLIED], {})
        assert implicit or {"STARTTLS", "STLS"} & set(server.asked)


@both
def test_no_password_leaves_without_protection_that_is_asked_for(
    mailing: Mailing, scheme: str, tmp_path: Path
) -> None:
    strange, _ = make_certificate(tmp_path / "strange")
    for server in (MailboxServer(), MailboxServer(protection=strange)):
        with SCHEMES[scheme](server):
            looked = look(mailing, url_of(scheme, server, options="starttls=require"))
            assert len(looked.troubles) == 1
        assert not {"LOGIN", "AUTHENTICATE", "USER", "PASS"} & set(server.asked)
    with SCHEMES[scheme](MailboxServer(protection=strange, implicit_tls=True)) as server:
        (why,) = look(mailing, url_of(f"{scheme}s", server, options="")).troubles.values()
    assert "its certificate is not trusted" in why


def test_a_server_that_says_we_are_known_already_gets_no_password_in_clear(mailing: Mailing) -> None:
    with imap_running(MailboxServer(greeting=b"* PREAUTH welcome")) as server:
        looked = look(mailing, url_of("imap", server, options="starttls=require"))

    assert len(looked.troubles) == 1
    assert "AUTHENTICATE" not in server.asked


def test_two_never_poll_at_once_and_a_dead_one_is_followed(mailing: Mailing) -> None:
    now = real_now()
    with mailing.database.write() as db:
        assert take_lease(db, POLL_LEASE, now=now, length=LEASE)
    with pytest.raises(AlreadyPolling):
        look(mailing)
    with mailing.database.write() as db:
        db.execute(text("UPDATE heartbeats SET at = :at"), {"at": now - LEASE})

    assert look(mailing) == Poll()
    assert look(mailing) == Poll(), "the lease was given back"


def test_a_worker_that_is_to_end_leaves_the_rest(mailing: Mailing) -> None:
    server = MailboxServer()
    server.add(*[bounce_of(mailing, position) for position in (1, 2, 3)])
    asked = itertools.count()
    with imap_running(server):
        place = parse_mailbox(url_of("imap", server))
        looked = poll(mailing.runtime.feedback_tools, [place], is_stopping=lambda: next(asked) >= 2)

    assert results(looked) == [Result.APPLIED] * 2
    assert server.contents() == [bounce_of(mailing, 3)]


def test_unsubscribing_and_its_kind_come_from_the_address_alone(mailing: Mailing) -> None:
    server = MailboxServer()
    unsubscribing = mailing.to(Purpose.UNSUBSCRIBE)
    server.add(
        mail(unsubscribing, subject="Afmeld mig"), mail(unsubscribing, Auto_Submitted="auto-replied")
    )
    with imap_running(server):
        looked = look(mailing, url_of("imap", server))

    kinds = [each.finding.kind for each in looked.messages if isinstance(each, Processed)]
    assert kinds == [MailKind.UNSUBSCRIBE, MailKind.AUTO_REPLY]
    assert results(looked) == [Result.APPLIED, Result.NOTHING]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("imaps://me:pw@h.example", (True, 993, "INBOX", True)),
        ("imaps://me:pw@h.example:1993/INBOX/Bounces", (True, 1993, "INBOX/Bounces", True)),
        ("imap://me:pw@h.example/Retur%20post", (True, 143, "Retur post", False)),
        ("pops://me:pw@h.example", (False, 995, "INBOX", True)),
        ("pop3://me:pw@h.example/", (False, 110, "INBOX", False)),
    ],
)
def test_a_url_names_a_mailbox(url: str, expected: tuple[bool, int, str, bool]) -> None:
    place = parse_mailbox(url)

    assert (place.is_imap, place.port, place.folder, place.implicit_tls) == expected
    assert (place.username, place.password.get_secret_value()) == ("me", "pw")
    assert place.is_protected
    assert "pw" not in repr(place)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@h.example",
        "imaps://h.example",
        "imaps://me@h.example",
        "imaps://:s3cret@h.example",
        "imaps://me:s3cret@",
        "imaps://me:s3cret/x@h.example",
        "imaps://me:s3cret#x@h.example",
        "imaps://me:s3cret?x@h.example",
        "imaps://me:s3cret@h.example:x",
        "imaps://me:s3cret@h.example:99999",
        "imaps://me:s3cret%0d%0aA1%20LOGOUT@h.example",
        "imaps://me%00:s3cret@h.example",
        "imaps://me:s3cret@h.example/a%0d%0ab",
        "imaps://me:s3cret@h.example/Bø",
        "imaps://me:s3cret@h.example?starttls=offer",
        "imaps://me:s3cret@h.example?colour=red",
        "imaps://me:s3cret@h\x1b.example",
        "pops://me:s3cret@h.example/folder",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadMailbox) as refused:
        parse_mailbox(url)

    assert "s3cret" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_the_setting_names_several_and_shows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "mailboxes"
    secret.write_text("imaps://me:s3cret@a.example\npops://me:s3cret@b.example\n")
    monkeypatch.setenv("MAILER_BOUNCE_MAILBOXES_FILE", str(secret))
    settings = load_settings()

    assert [place.name for place in mailboxes_of(settings)] == ["a.example/INBOX", "b.example"]
    assert "s3cret" not in str(settings.shown()) + repr(settings)
    with pytest.raises(SettingsError, match="bounce_mailboxes"):
        mailboxes_of(load_settings(bounce_mailboxes="imaps://a.example"))


def test_the_lease_is_renewed_before_each_mailbox(mailing: Mailing) -> None:
    ages = []

    def note_and_age_it() -> bool:
        with mailing.database.write() as db:
            last = last_heartbeat(db, POLL_LEASE)
            assert last is not None
            ages.append(real_now() - last)
            db.execute(text("UPDATE heartbeats SET at = :at"), {"at": real_now() - LEASE / 2})
        return False

    dead = parse_mailbox(url_of("imap", MailboxServer(port=1)))
    poll(mailing.runtime.feedback_tools, [dead] * 3, is_stopping=note_and_age_it)

    assert len(ages) == 2
    assert all(age < LEASE / 4 for age in ages)
