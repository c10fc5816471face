"""The relay's URL that the sink tells fits what it offers."""

import asyncio
import re
from pathlib import Path

import pytest

from mailer.embedded.faults import Behaviour, SignIn, Tls
from mailer.embedded.reaching import relay_url
from mailer.smtp.errors import RelayUnavailable
from mailer.smtp.opening import open_connection
from mailer.smtp.patience import Patience
from mailer.smtp.relays import StartTLS, parse_relay
from tests.embedded.talking import serving


def reach(folder: Path, behaviour: Behaviour) -> bool:
    """Whether somebody who does as the URL says has a connection that is protected."""

    async def open_one(url: str) -> bool:
        opened = await open_connection(
            parse_relay(url), greet_as="brev.example", patience=Patience(connect=10.0, command=10.0)
        )
        is_protected = opened.transport.get_extra_info("ssl_object") is not None
        opened.transport.abort()
        return is_protected

    with serving(folder, behaviour=behaviour) as port:
        return asyncio.run(open_one(relay_url("127.0.0.1", port, behaviour, folder)))


@pytest.mark.parametrize(
    ("tls", "protected"),
    [
        (None, False),
        (Tls(starttls=False), False),
        (Tls(), True),
        (Tls(required=True), True),
        (Tls(implicit=True), True),
    ],
)
def test_whoever_does_as_it_says_gets_in(tmp_path: Path, tls: Tls | None, protected: bool) -> None:
    folder = tmp_path / "a folder & more"
    folder.mkdir()
    assert reach(folder, Behaviour(tls=tls)) is protected


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("expired", "expired"),
        ("wrong-name", "not valid for '127.0.0.1'"),
        ("self-signed", "self.signed"),
    ],
)
@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit"])
def test_a_bad_certificate_is_met_and_refused(
    tmp_path: Path, certificate: str, reason: str, implicit: bool
) -> None:
    with pytest.raises(RelayUnavailable) as refused:
        reach(tmp_path, Behaviour(tls=Tls(implicit=implicit, certificate=certificate)))
    assert re.search(reason, str(refused.value))


def test_it_names_the_user_and_no_password(tmp_path: Path) -> None:
    sign_in = SignIn("brev@coi.example", "hemmelig-kode")
    url = relay_url("::1", 2525, Behaviour(tls=Tls(), sign_in=sign_in), tmp_path)
    relay = parse_relay(url)

    assert "hemmelig-kode" not in url
    assert (relay.username, relay.host, relay.port) == ("brev@coi.example", "::1", 2525)
    assert (relay.starttls, relay.ca) == (StartTLS.REQUIRE, str(tmp_path / "authority.pem"))


def test_of_a_certificate_of_somebody_elses_it_names_no_authority(tmp_path: Path) -> None:
    given = Behaviour(tls=Tls(certificate="/etc/own.pem"))
    assert relay_url("h", 25, given, tmp_path) == "smtp://h:25?starttls=require"
    at_once = Behaviour(tls=Tls(certificate="/etc/own.pem", implicit=True))
    assert relay_url("h", 465, at_once, tmp_path) == "smtps://h:465"
