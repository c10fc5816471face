"""The checks a launch and a preflight share: of the settings, tracking, the events, a header."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign
from mailer.events.catalogue import list_events
from mailer.foundation.settings import Settings, SettingsError, TrackingMode
from mailer.sending.findings import Finding, error, warning
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import dkim_signer
from mailer.smtp.relays import Relay

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_REQUIRED = (
    *(b"From", b"To", b"Subject", b"Date", b"Message-ID", b"MIME-Version", b"Content-Type"),
    *(b"List-Unsubscribe", b"List-Unsubscribe-Post"),
)


def check_settings(settings: Settings, relays: Sequence[Relay]) -> Iterator[Finding]:
    """Whether letters could leave at all, and carry addresses that may be sent."""
    try:
        sender = settings.sender_address
    except SettingsError as missing:
        sender = ""
        yield error("sender", str(missing))
    if not relays:
        yield error(
            "relay",
            'no relay is set: write  smtp_relays = "smtp://user:password@host:587"  in mailer.toml,'
            " or set MAILER_SMTP_RELAYS",
        )
    public = urlsplit(settings.public_url)
    if public.scheme != "https" and public.hostname not in LOOPBACK:
        yield error(
            "public-url",
            f"public_url is {settings.public_url}: links in letters need https (RFC 8058 §3.1)",
        )
    elif public.hostname in LOOPBACK and not all(relay.is_local for relay in relays):
        yield warning(
            "public-url",
            f"public_url is {settings.public_url}: readers elsewhere can follow no link to this machine",
        )
    try:
        signer = dkim_signer(settings)
    except SettingsError as unusable:
        yield error("dkim", str(unusable))
    else:
        for key in signer.keys if signer and sender else ():
            if not within(sender.rpartition("@")[2].lower(), key.domain):
                yield warning(
                    "dkim",
                    f"letters are signed for {key.domain}, and the sender's domain is another: such a"
                    " signature does not count for DMARC (RFC 7489 §3.1.1)",
                )


def check_tracking(campaign: Campaign) -> Iterator[Finding]:
    """Whether there is a reason on record for telling one reader from another (GDPR art. 6)."""
    if campaign.tracking == TrackingMode.PERSONAL and not campaign.legal_basis:
        yield error("tracking", "personal tracking has no legal basis recorded with the campaign")


def check_events(db: Session, letter: CampaignLetter) -> Iterator[Finding]:
    """Whether a letter that invites to events has any to invite to."""
    if letter.events or not letter.letter.uses("events"):
        return
    if list_events(db):
        yield error(
            "events",
            f"letter {letter.letter.source.name!r} invites to events, and all of them are over or"
            " cancelled: see  mailer event list",
        )
    else:
        yield warning(
            "events",
            "no events are known, so the letter goes without them: see  mailer event import",
        )


def check_header(message: bytes) -> Iterator[Finding]:
    """Which header fields every letter needs and this one lacks (RFC 5322 §3.6, RFC 8058 §3.1)."""
    head = b"\r\n" + message.partition(b"\r\n\r\n")[0].lower()
    for name in _REQUIRED:
        if b"\r\n%b:" % name.lower() not in head:
            yield error("header", f"the header has no {name.decode()}")


def within(host: str, domain: str) -> bool:
    """Whether a host is that domain or below it; ``www.`` before either says nothing."""
    host, domain = host.removeprefix("www."), domain.removeprefix("www.")
    return host == domain or host.endswith(f".{domain}")
