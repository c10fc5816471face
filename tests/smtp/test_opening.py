"""What is said before the first letter, and what is not said in the clear."""

import asyncio
import base64
import hmac
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mailer.smtp.errors import RelayUnavailable
from mailer.smtp.pool import RelayPool, check_relay
from mailer.smtp.protection import protection_for
from mailer.smtp.relays import parse_relay
from tests.smtp.certificates import make_certificate
from tests.smtp.scripted import ALL, CUT, SILENCE, Account, Packets, Script, letters, serving
from tests.smtp.talking import QUICK, send_over

WITH_TLS = (*ALL, "STARTTLS")
SECRET = "hemmelig"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A certificate for 127.0.0.1, and the file that makes it trusted."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "good")


async def check(script: Script, options: str, *, user: str = "", scheme: str = "smtp") -> None:
    """Open a connection as ``mailer doctor`` does."""
    async with serving(script):
        relay = parse_relay(f"{scheme}://{user}127.0.0.1:{script.port}?{options}")
        await check_relay(
            relay, greet_as="brev.example", patience=replace(QUICK, command=0.5, connect=0.5)
        )


def refused(script: Script, options: str, *, user: str = "", scheme: str = "smtp") -> str:
    """The reason a connection could not be opened for."""
    with pytest.raises(RelayUnavailable) as error:
        asyncio.run(check(script, options, user=user, scheme=scheme))
    assert str(error.value).startswith(f"relay 127.0.0.1:{script.port}: ")
    return str(error.value)


def verbs(script: Script) -> list[str]:
    return [command.split()[0] for command in script.commands]


@pytest.mark.parametrize("packets", Packets)
def test_a_relay_that_can_be_used_is_found_to_be_so(packets: Packets) -> None:
    script = Script(packets=packets)
    asyncio.run(check(script, "starttls=never"))
    assert verbs(script) == ["EHLO", "NOOP", "QUIT"]


def test_a_server_of_before_ehlo_is_spoken_to_in_its_own_way() -> None:
    script = Script(replies={"EHLO": "502 5.5.1 what"})
    account, _ = asyncio.run(send_over(script, letters(3)))
    assert set(account.codes.values()) == {250}
    assert verbs(script)[:3] == ["EHLO", "HELO", "MAIL"]
    assert "SIZE" not in script.commands[2]
    assert not script.pipelined_on


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ({"GREETING": "554 5.3.2 not you"}, "refuses connections: 554"),
        ({"GREETING": "421 4.3.2 later"}, "refuses connections: 421"),
        ({"GREETING": "250 hello"}, "its greeting is none"),
        ({"GREETING": "SSH-2.0-OpenSSH"}, "does not speak SMTP"),
        ({"GREETING": "220 a|220 b"}, "more than it was asked for|none to EHLO"),
        ({"GREETING": SILENCE}, "does not answer"),
        ({"GREETING": CUT}, "closed the connection|Connection reset"),
        ({"EHLO": "421 4.3.2 later"}, "refuses our greeting: 421"),
        ({"EHLO": "550 5.7.1 no", "HELO": "550 5.7.1 no"}, "refuses our greeting: 550"),
        ({"EHLO": "220 hello"}, "none to EHLO"),
        ({"EHLO": "250-a|550 b"}, "different codes"),
        ({"NOOP": "502 5.5.1 what"}, "refuses: 502"),
    ],
)
@pytest.mark.parametrize("packets", Packets)
def test_a_relay_that_cannot_be_used_is_told_by_its_reason(
    replies: dict[str, str], reason: str, packets: Packets
) -> None:
    script = Script(replies=replies, packets=packets)
    told = refused(script, "starttls=never")
    assert any(each in told for each in reason.split("|"))


@pytest.mark.parametrize(
    "flood", [b"x" * 65_536, b"220-hello\r\n" * 4_000, b"220 " + b"x" * 60_000, b"\n" * 10_000]
)
def test_a_flood_is_not_kept_in_memory(flood: bytes) -> None:
    script = Script(raw_greeting=flood)
    assert "reply is too long" in (told := refused(script, "starttls=never")) or "not speak SMTP" in told


def test_a_port_where_nobody_listens_is_told_by_its_reason() -> None:
    script = Script()

    async def scenario() -> None:
        async with serving(script):
            pass
        relay = parse_relay(f"smtp://127.0.0.1:{script.port}?starttls=never")
        await check_relay(relay, greet_as="brev.example")

    with pytest.raises(RelayUnavailable, match="Connection refused"):
        asyncio.run(scenario())


@pytest.mark.parametrize("starttls", ["require", "offer"])
def test_no_password_goes_out_when_the_offer_of_protection_was_taken_away(starttls: str) -> None:
    script = Script(extensions=(*ALL, "AUTH PLAIN LOGIN"))
    told = refused(script, f"starttls={starttls}", user=f"u:{SECRET}@")
    assert "does not offer STARTTLS" in told
    assert verbs(script) == ["EHLO"]


def test_protection_that_is_only_asked_for_may_be_missing_where_no_password_is_said() -> None:
    script = Script()
    asyncio.run(check(script, "starttls=offer"))
    assert verbs(script) == ["EHLO", "NOOP", "QUIT"]


@pytest.mark.parametrize("starttls", ["require", "offer"])
@pytest.mark.parametrize("packets", [Packets.EACH_ALONE, Packets.BYTES])
def test_letters_go_over_a_protected_connection(
    good: tuple[ssl.SSLContext, Path], starttls: str, packets: Packets
) -> None:
    context, ca = good
    script = Script(extensions=WITH_TLS, tls=context, packets=packets)
    options = f"connections=2&starttls={starttls}&ca={ca}"
    account, _ = asyncio.run(send_over(script, letters(20), options=options))
    assert set(account.codes.values()) == {250}
    assert verbs(script)[:3] == ["EHLO", "STARTTLS", "EHLO"]
    assert script.letters_in_the_clear == 0


def test_chunks_and_large_letters_go_over_a_protected_connection(
    good: tuple[ssl.SSLContext, Path],
) -> None:
    context, ca = good
    script = Script(extensions=("PIPELINING", "CHUNKING", "STARTTLS"), tls=context)
    mails = letters(30, data=b"x" * 200_000 + b"\r\n")
    options = f"connections=2&chunking=4&ca={ca}&starttls=require"
    account, _ = asyncio.run(send_over(script, mails, options=options))
    assert set(account.codes.values()) == {250}


def test_tls_may_come_before_the_greeting(good: tuple[ssl.SSLContext, Path]) -> None:
    context, ca = good
    script = Script(tls=context, implicit_tls=True)
    asyncio.run(check(script, f"ca={ca}", scheme="smtps"))
    assert verbs(script) == ["EHLO", "NOOP", "QUIT"]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("starttls", ["require", "offer"])
@pytest.mark.parametrize("fault", ["nobody vouches for it", "expired", "another's name", "foreign"])
def test_a_certificate_that_proves_nothing_is_refused_before_the_password_is_said(
    fault: str, starttls: str, scheme: str, tmp_path: Path, good: tuple[ssl.SSLContext, Path]
) -> None:
    made = {"expired": {"until": "20200201000000Z"}, "another's name": {"names": "DNS:other.example"}}
    context, ca = make_certificate(tmp_path / "bad", **made.get(fault, {}))
    trusted = {"nobody vouches for it": "", "foreign": f"&ca={good[1]}"}.get(fault, f"&ca={ca}")
    script = Script(extensions=(*WITH_TLS, "AUTH PLAIN"), tls=context, implicit_tls=scheme == "smtps")

    told = refused(script, f"starttls={starttls}{trusted}", user=f"u:{SECRET}@", scheme=scheme)

    assert "its certificate is not trusted" in told
    assert "AUTH" not in verbs(script)


def test_what_is_said_in_the_clear_behind_the_leave_for_tls_is_an_attack(
    good: tuple[ssl.SSLContext, Path],
) -> None:
    context, ca = good
    for injected in ("220 go|250-relay.example|250 AUTH PLAIN", "220 go|250"):
        script = Script(extensions=(*ALL, "STARTTLS"), tls=context, replies={"STARTTLS": injected})
        told = refused(script, f"starttls=require&ca={ca}", user=f"u:{SECRET}@")
        assert "more than it was asked for" in told
        assert verbs(script) == ["EHLO", "STARTTLS"]


def test_what_was_offered_in_the_clear_is_forgotten(good: tuple[ssl.SSLContext, Path]) -> None:
    context, ca = good
    script = Script(
        extensions=WITH_TLS, tls=context, replies={"1 EHLO": "250-x|250-STARTTLS|250 AUTH PLAIN"}
    )
    told = refused(script, f"starttls=require&ca={ca}", user=f"u:{SECRET}@")
    assert "does not offer to sign in" in told


def test_protection_is_never_weaker_than_asked_for(good: tuple[ssl.SSLContext, Path]) -> None:
    for options in ("", f"&ca={good[1]}"):
        context = protection_for(parse_relay(f"smtp://relay.example?starttls=offer{options}"))
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_a_handshake_that_fails_is_told(good: tuple[ssl.SSLContext, Path]) -> None:
    script = Script(extensions=WITH_TLS, replies={"STARTTLS": f"220 go{CUT}"})
    assert "closed the connection" in refused(script, f"starttls=require&ca={good[1]}")
    script = Script(extensions=WITH_TLS)  # says go, and goes on in the clear
    assert "TLS could not be agreed on" in refused(script, f"starttls=require&ca={good[1]}")


@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "503 5.5.1 no", "250 ok"])
def test_a_relay_that_takes_its_offer_of_tls_back_is_not_used(reply: str) -> None:
    script = Script(extensions=WITH_TLS, replies={"STARTTLS": reply})
    assert "refuses STARTTLS" in refused(script, "starttls=offer")


def test_a_file_of_certificates_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    script = Script(extensions=WITH_TLS)
    assert "No such file" in refused(script, f"starttls=require&ca={tmp_path}/none")
    (tmp_path / "empty").touch()
    assert "it holds none" in refused(script, f"starttls=require&ca={tmp_path}/empty")


def said(script: Script) -> list[str]:
    """What was said to sign in, decoded."""
    start = verbs(script).index("AUTH")
    words = [word for command in script.commands[start:] for word in (command.split()[2:] or [command])]
    return [
        base64.b64decode(word).decode()
        for word in words
        if word not in ("NOOP", "QUIT") and "AUTH" not in word
    ]


def test_a_password_is_said_in_every_known_way() -> None:
    digest = hmac.new(SECRET.encode(), b"<123@relay>", "md5").hexdigest()
    for kind, expected in {
        "PLAIN": [f"\0u\0{SECRET}"],
        "LOGIN": ["u", SECRET],
        "CRAM-MD5": [f"u {digest}"],
        "XOAUTH2": [f"user=u\1auth=Bearer {SECRET}\1\1"],
    }.items():
        for packets in Packets:
            script = Script(extensions=(*ALL, f"AUTH {kind}"), packets=packets)
            asyncio.run(check(script, f"starttls=never&auth={kind.lower()}", user=f"u:{SECRET}@"))
            assert said(script) == expected


@pytest.mark.parametrize(
    ("offered", "protected", "chosen"),
    [
        ("AUTH LOGIN PLAIN CRAM-MD5", True, "PLAIN"),
        ("AUTH=LOGIN", True, "LOGIN"),
        ("auth login", True, "LOGIN"),
        ("AUTH PLAIN LOGIN CRAM-MD5", False, "CRAM-MD5"),
        ("AUTH PLAIN XOAUTH2", False, "PLAIN"),
    ],
)
def test_the_best_way_to_sign_in_is_chosen(
    offered: str, protected: bool, chosen: str, good: tuple[ssl.SSLContext, Path]
) -> None:
    context, ca = good
    script = Script(extensions=(*WITH_TLS, offered), tls=context)
    options = f"starttls=require&ca={ca}" if protected else "starttls=never"
    asyncio.run(check(script, options, user=f"u:{SECRET}@"))
    assert (
        next(command.split()[1] for command in script.commands if command.startswith("AUTH")) == chosen
    )


@pytest.mark.parametrize(
    ("extensions", "replies", "options", "reason"),
    [
        (("AUTH PLAIN",), {"AUTH": f"535 5.7.8 u, not {SECRET}"}, "", "password: 535 5.7.8 ..., not"),
        (("AUTH LOGIN",), {"AUTH": "535 5.7.8 no"}, "", "refuses the user name or password: 535"),
        (("AUTH CRAM-MD5",), {"AUTH": "535 5.7.8 no"}, "", "refuses the user name or password: 535"),
        (("AUTH XOAUTH2",), {"AUTH": "334 eyJzdGF0dXMiOiI0MDAifQ=="}, "&auth=xoauth2", "password: 535"),
        (("AUTH PLAIN",), {"AUTH": "454 4.7.0 later"}, "", "does not let us sign in now: 454"),
        (("AUTH PLAIN",), {"AUTH": "250 ok"}, "", "none to AUTH"),
        (("AUTH PLAIN",), {}, "&auth=login", "does not offer to sign in by login"),
        (("AUTH XOAUTH2 NTLM",), {}, "", "no way to sign in with a password"),
        (("8BITMIME",), {}, "", "does not offer to sign in"),
    ],
)  # fmt: skip
def test_why_we_cannot_sign_in_is_told_without_user_and_password(
    extensions: Sequence[str], replies: dict[str, str], options: str, reason: str
) -> None:
    script = Script(extensions=extensions, replies=replies)
    told = refused(script, f"starttls=never{options}", user=f"u:{SECRET}@")
    assert reason in told
    assert SECRET not in told
    assert base64.b64encode(SECRET.encode()).decode() not in told


def test_a_wrong_password_is_said_once_and_costs_no_letter() -> None:
    script = Script(extensions=(*ALL, "AUTH PLAIN"), replies={"AUTH": "535 5.7.8 no"})

    async def scenario() -> Account:
        account = Account(letters(50))
        async with serving(script):
            from_url = f"smtp://u:{SECRET}@127.0.0.1:{script.port}?starttls=never&connections=8"
            pool = RelayPool([parse_relay(from_url)], greet_as="brev.example", patience=QUICK)
            await pool.send(account)
            assert "refuses the user name or password" in str(pool.trouble)
            assert pool.retry_in > 4
        return account

    account = asyncio.run(scenario())
    assert len(account.waiting) == 50
    assert script.counts["AUTH"] == 1
