"""Messages as they come back, and a campaign of ours whose letters they are about."""

from dataclasses import dataclass
from email.message import EmailMessage

from sqlalchemy import select

from mailer.campaigns.models import Delivery, DeliveryState
from mailer.foundation.database import Database
from mailer.runtime import Runtime
from mailer.tracking.models import TrackingEvent
from mailer.tracking.tokens import Purpose
from recipients.models import Recipient, Suppression
from recipients.suppression import find_suppression
from tests.campaigns.making import finalise, sending
from tests.making import make_recipients

BOUNCES_TO = "bounce@coi.example"


@dataclass(frozen=True)
class Mailing:
    """A campaign to three people whose letters have left."""

    runtime: Runtime
    campaign_id: int

    def token(self, purpose: Purpose, position: int = 1) -> str:
        """A genuine token."""
        return self.runtime.tokens.sign(purpose, self.campaign_id, position)

    def to(self, purpose: Purpose, position: int = 1) -> str:
        """The address of ours with a genuine token."""
        return plus(self.token(purpose, position))

    @property
    def database(self) -> Database:
        """Where it stands."""
        return self.runtime.database

    def delivery(self, position: int = 1) -> Delivery:
        """One of its deliveries, as it stands now."""
        with self.database.read() as db:
            return db.get_one(Delivery, (self.campaign_id, position))

    def address(self, position: int = 1) -> str:
        """Whom a letter went to."""
        return self._recipient(position).email

    def suppression(self, position: int = 1) -> Suppression | None:
        """Why and how far this recipient gets no more mail."""
        hashed = self._recipient(position).address_hash
        with self.database.read() as db:
            return find_suppression(db, hashed)

    def hash_of(self, position: int = 1) -> str:
        """The hash of a recipient's address."""
        return self._recipient(position).address_hash

    def events(self) -> list[TrackingEvent]:
        """What the event log knows."""
        with self.database.read() as db:
            return list(db.scalars(select(TrackingEvent)))

    def _recipient(self, position: int) -> Recipient:
        with self.database.read() as db:
            found = self.delivery(position).recipient_id
            return db.get_one(Recipient, found)


def mail_out(
    runtime: Runtime, states: dict[int, DeliveryState] | None = None, *, tracking: str = "personal"
) -> Mailing:
    """A campaign to three people, its letters sent unless told otherwise."""
    with runtime.database.write() as db:
        make_recipients(db, 2)  # so that positions are no ids
        campaign = sending(db, 3, tracking=tracking)
        finalise(db, campaign, states or {})
        return Mailing(runtime, campaign.id)


def plus(token: str) -> str:
    """The return path with something behind its plus sign."""
    return BOUNCES_TO.replace("@", f"+{token}@")


def bounce_message(
    to: str,
    address: str,
    *,
    status: str = "5.1.1",
    said: str = "550 5.1.1 no such user",
    message_id: str | None = None,
    action: str = "failed",
) -> bytes:
    """A delivery status notification (RFC 3464) as Postfix writes it."""
    about = f"Message-ID: {message_id}\n" if message_id else ""
    return f"""\
Return-Path: <>
From: MAILER-DAEMON@relay.example (Mail Delivery System)
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="cut"
Message-ID: <1@relay.example>

--cut
Content-Type: text/plain

I'm sorry to have to inform you that your message could not be delivered.

--cut
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example

Final-Recipient: rfc822; {address}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {said}

--cut
Content-Type: text/rfc822-headers

From: Center <brev@coi.example>
Subject: Invitation
{about}
--cut--
""".replace("\n", "\r\n").encode()


def complaint_message(message_id: str, *, to: str = BOUNCES_TO) -> bytes:
    """A report of a feedback loop (RFC 5965)."""
    return f"""\
From: <abuse@isp.example>
To: {to}
Subject: FW: Invitation
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="cut"

--cut
Content-Type: text/plain

This is an email abuse report.

--cut
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1

--cut
Content-Type: message/rfc822

From: Center <brev@coi.example>
To: somebody@isp.example
Subject: Invitation
Message-ID: {message_id}

Hello
--cut--
""".replace("\n", "\r\n").encode()


def mail(to: str, *, subject: str = "unsubscribe", text: str = "", **headers: str) -> bytes:
    """A message that somebody wrote, or a program for them."""
    message = EmailMessage()
    message["From"] = "Åse <aase@kommune.example>"
    message["To"], message["Subject"] = to, subject
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message.as_bytes()
