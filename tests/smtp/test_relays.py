import traceback

import pytest

from mailer.smtp.relays import BadRelay, Sign, StartTLS, parse_relay


def test_everything_a_relay_url_can_say() -> None:
    relay = parse_relay("smtp://user%40x:p%3Ass@mail.example?starttls=offer&connections=3&rate=12.5")
    assert (relay.name, relay.username, relay.starttls) == ("mail.example:587", "user@x", StartTLS.OFFER)
    assert relay.password is not None
    assert relay.password.get_secret_value() == "p:ss"
    assert (relay.connections, relay.rate, relay.domain_rate) == (3, 12.5, None)


def test_protection_is_required_unless_told_otherwise() -> None:
    assert parse_relay("smtp://mail.example").starttls is StartTLS.REQUIRE
    secure = parse_relay("smtps://mail.example")
    assert (secure.implicit_tls, secure.port) == (True, 465)


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example",
        "smtp://",
        "smtp://u:hemmelig@mail.example:port",
        "smtp://u:hemmelig@mail.example?starttls=maybe",
        "smtp://u:hemmelig@mail.example?conections=3",
        "smtp://u:hemmelig@mail.example?rate=0",
        "smtp://u:hemmelig@mail.example/path",
        "smtp://u:hemmelig/x@mail.example",
        "smtp://u:12/hemmelig@mail.example",
        "smtp://u:12?hemmelig@mail.example",
        "smtp://u:12#hemmelig@mail.example",
    ],
)
def test_a_wrong_url_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(BadRelay) as refused:
        parse_relay(url)
    assert "hemmelig" not in "".join(traceback.format_exception(refused.value))


def test_a_password_never_shows() -> None:
    assert "hemmelig" not in repr(parse_relay("smtp://u:hemmelig@mail.example"))


def test_what_more_a_relay_url_can_say() -> None:
    relay = parse_relay(
        "smtps://u:p@mail.example?auth=xoauth2&weight=3&letters=50&chunking=8&ca=/etc/ssl/ours.pem&domain_rate=2"
    )
    assert (relay.auth, relay.weight, relay.letters, relay.chunking) == (Sign.XOAUTH2, 3, 50, 8)
    assert (relay.ca, relay.domain_rate) == ("/etc/ssl/ours.pem", 2)
    usual = parse_relay("smtp://mail.example")
    assert (usual.auth, usual.weight, usual.letters, usual.chunking, usual.ca) == (
        None,
        1,
        1000,
        0,
        None,
    )


@pytest.mark.parametrize(
    "options",
    ["weight=0", "letters=0", "letters=x", "chunking=9", "chunking=-1", "auth=ntlm", "connections=0"],
)
def test_an_option_without_sense_is_refused(options: str) -> None:
    with pytest.raises(BadRelay, match=r"mail\.example"):
        parse_relay(f"smtp://mail.example?{options}")
