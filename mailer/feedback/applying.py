"""What follows from a message that came back: for one delivery, by its token, once.

Anybody may write to the return path. So nothing follows from what a message says of itself: only a token
that stands in no letter but one names a delivery, and it does what it was signed for and nothing else.
The addresses that a report names are never acted on; the only address that can come to harm is the one
the letter went to.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import Row, exists, literal, select
from sqlalchemy.orm import Session

from mailer.campaigns.ledger import is_claimed, note_report, settle_uncertain
from mailer.campaigns.models import Campaign, Delivery, DeliveryState
from mailer.campaigns.refused_addresses import is_about_the_address
from mailer.feedback.findings import Finding, MailKind, ReportedRecipient
from mailer.smtp.replies import read_reply
from mailer.tracking.log import record
from mailer.tracking.models import Manner, TrackingEvent, TrackingKind
from mailer.tracking.sightings import Sighting
from mailer.tracking.tokens import BadToken, Grant, Purpose, Tokens
from recipients.addresses import parse_address
from recipients.errors import BadAddress
from recipients.models import Recipient, SuppressionReason, SuppressionScope
from recipients.suppression import suppress, unsubscribe

ACTED_ON = frozenset({MailKind.BOUNCE, MailKind.COMPLAINT, MailKind.UNSUBSCRIBE})
"""From a message of another kind nothing follows but that the letter it names had left."""
UNTOLD_BOUNCE = "a bounce message came back"
ANSWERED = "a message came back that names it"
COMPLAINED = "the recipient called it spam"
_AUTOMATIC = frozenset({MailKind.AUTO_REPLY, MailKind.UNKNOWN})
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_REPLY_CODE = re.compile(r"(?:smtp; ?)?([45]\d\d)[ -]+(.*)", re.IGNORECASE)
_REFUSED = 550


class Result(StrEnum):
    """What a message changed."""

    APPLIED = "applied"
    KNOWN = "known"
    """Nothing: letter and recipient are where it would lead them; mostly it was processed before."""
    WAITING = "waiting"
    """The letter's batch is still at work: it can be applied once that has ended."""
    UNVERIFIED = "unverified"
    """Nothing: it names no letter of ours by a token for this. Anybody can write such a message."""
    NOTHING = "nothing"
    """Nothing follows from such a message: a reply, an automatic one, a warning. Where nobody knew
    whether the letter it names had left, it is applied instead: it had."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one message."""

    result: Result
    campaign: str | None = None
    """The campaign's name, where the message names a delivery of ours."""
    position: int | None = None
    state: DeliveryState | None = None
    """Where the delivery stands by now."""


def recognise(finding: Finding, tokens: Tokens) -> Finding:
    """The finding; whatever a person writes to an address for unsubscribing asks for just that.

    The address is good for nothing else, and not everybody's mail program fills in the subject. Some
    mark what they write by our ``mailto:`` as automatic: where that is a bare wish, it is one too.
    """
    if finding.kind is MailKind.REPLY or (finding.kind in _AUTOMATIC and finding.is_bare_wish):
        wish = replace(finding, kind=MailKind.UNSUBSCRIBE)
        return wish if _verify(wish, tokens) else finding
    return finding


def apply_finding(
    db: Session, finding: Finding, *, tokens: Tokens, now: datetime, zone: ZoneInfo
) -> Applied:
    """Do what follows from a message; the same message again changes nothing.

    A bounce moves its delivery to bounced, and suppresses the address if that, by the report, is why. A
    complaint moves it to complained and suppresses the address. A report that does not move its delivery
    suppresses nobody: what has been lifted since stays so. A mail to the address for unsubscribing does
    what the one-click POST does (RFC 8058).

    Whoever got an answer from the recipient knows the letter's Message-ID: it stands in References. So
    a report that names the letter by it alone moves the delivery and suppresses nobody, unless it is a
    feedback loop's in due form, whose senders name it in no other way. Such a report can be forged; but
    who has been sent the letter itself could unsubscribe its recipient just as well, and the office sees
    it in the ledger and lifts it.

    Whatever else names a letter by its token or Message-ID, as a warning of delay or an answer to it
    does, settles an uncertain one: nobody can know of a letter that no relay took.

    Args:
        now: the clock people see.
        zone: in which a day begins and ends.
    """
    grant = _verify(finding, tokens)
    if finding.kind not in ACTED_ON:
        return _settle(db, grant, now=now) if grant else Applied(Result.NOTHING)
    found = _find(db, grant) if grant else None
    if grant is None or found is None:
        return Applied(Result.UNVERIFIED)
    state = None
    match finding.kind:
        case MailKind.BOUNCE:
            result, state = _apply_bounce(db, grant, found, finding, now=now)
        case MailKind.COMPLAINT:
            result, state = _apply_complaint(db, grant, found, finding, now=now)
        case _:
            result = _apply_unsubscribe(db, grant, found, finding, now=now, zone=zone)
    return Applied(result, found.campaign, grant.number, state or _state(db, grant))


def names_a_letter(finding: Finding, tokens: Tokens) -> bool:
    """Whether a message names a letter of ours by a token that says so."""
    return _verify(finding, tokens) is not None


def _verify(finding: Finding, tokens: Tokens) -> Grant | None:
    """The delivery that a message is about; None if no token of ours for its purpose says so.

    A Message-ID counts only where the address it came to has no token: feedback loops have one address
    for all letters. To unsubscribe, nothing counts but the address for it.
    """
    wants_no_more = finding.kind is MailKind.UNSUBSCRIBE
    try:
        if finding.token is not None:
            purpose = Purpose.UNSUBSCRIBE if wants_no_more else Purpose.BOUNCE
            return tokens.verify_from_address(purpose, finding.token)
        if finding.message_id is not None and not wants_no_more:
            left = finding.message_id.strip().strip("<>").partition("@")[0]
            return tokens.verify_from_address(Purpose.MESSAGE_ID, left)
    except BadToken:
        pass
    return None


def _find(db: Session, grant: Grant) -> Row[str, str, str] | None:
    """The campaign's name, and key and hash of the delivery's address: None if they are erased."""
    return db.execute(
        select(Campaign.name.label("campaign"), Recipient.email_key, Recipient.address_hash)
        .select_from(Delivery)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .outerjoin(Recipient, Recipient.id == Delivery.recipient_id)
        .where(Delivery.campaign_id == grant.campaign_id, Delivery.position == grant.number)
    ).one_or_none()


def _settle(db: Session, grant: Grant, *, now: datetime) -> Applied:
    """What follows from a message that shows no more than that the letter had left."""
    if (
        _state(db, grant) is not DeliveryState.UNCERTAIN
    ):  # as nearly all; to write looks at every other one
        return Applied(Result.NOTHING)
    named = select(literal(grant.campaign_id), literal(grant.number))
    if not settle_uncertain(db, named, evidence=ANSWERED, now=now):
        return Applied(Result.NOTHING)
    campaign = db.scalar(select(Campaign.name).where(Campaign.id == grant.campaign_id))
    return Applied(Result.APPLIED, campaign, grant.number, DeliveryState.SENT)


def _apply_bounce(
    db: Session, grant: Grant, found: Row[str, str, str], finding: Finding, *, now: datetime
) -> tuple[Result, DeliveryState | None]:
    told = _about(finding, found.email_key)
    code, reason = _words(told.reason) if told else (None, "")
    status = told.status if told and told.status and _STATUS.fullmatch(told.status) else None
    moved = note_report(
        db,
        grant.campaign_id,
        grant.number,
        DeliveryState.BOUNCED,
        reason=reason or UNTOLD_BOUNCE,
        now=now,
        code=code,
        enhanced_code=status,
    )
    if not moved:
        return _unmoved(db, grant), None
    is_its_own = told is not None and _key(told.address) == found.email_key
    if is_its_own and told and told.hard and is_about_the_address(status):
        _suppress(db, found, finding, SuppressionReason.BOUNCED, now=now)
    return Result.APPLIED, DeliveryState.BOUNCED


def _apply_complaint(
    db: Session, grant: Grant, found: Row[str, str, str], finding: Finding, *, now: datetime
) -> tuple[Result, DeliveryState | None]:
    names = (grant.campaign_id, grant.number)
    moved = note_report(db, *names, DeliveryState.COMPLAINED, reason=COMPLAINED, now=now)
    result = Result.APPLIED if moved else _unmoved(db, grant)
    if result in (Result.APPLIED, Result.WAITING):  # no further letter leaves meanwhile
        _suppress(db, found, finding, SuppressionReason.COMPLAINED, now=now)
    return result, DeliveryState.COMPLAINED if moved else None


def _unmoved(db: Session, grant: Grant) -> Result:
    """What a report comes to that did not move its delivery."""
    is_at_work = is_claimed(db, grant.campaign_id, grant.number)
    return Result.WAITING if is_at_work else Result.KNOWN


def _suppress(
    db: Session, found: Row[str, str, str], finding: Finding, reason: SuppressionReason, *, now: datetime
) -> None:
    """Suppress the letter's address; its delivery comes first, so that no two wait for each other."""
    if found.address_hash and (finding.token is not None or finding.formal):
        suppress(db, found.address_hash, reason, now=now)


def _apply_unsubscribe(
    db: Session,
    grant: Grant,
    found: Row[str, str, str],
    finding: Finding,
    *,
    now: datetime,
    zone: ZoneInfo,
) -> Result:
    """As the one-click POST: no more mail of any kind, counted once, and the page can take it back."""
    everything = SuppressionScope.EVERYTHING
    if not found.address_hash or _is_heard(db, grant, finding):
        return Result.KNOWN
    if not unsubscribe(db, found.address_hash, everything, now=now):
        return Result.KNOWN
    seen = Sighting(
        TrackingKind.UNSUBSCRIBE,
        now,
        grant.campaign_id,
        grant.number,
        manner=Manner.MAIL,
        scope=everything,
    )
    record(db, [seen], zone=zone)
    return Result.APPLIED


def _is_heard(db: Session, grant: Grant, finding: Finding) -> bool:
    """Whether a wish was written before one was last acted on: the same mail, given again.

    Only where the event log keeps persons. A mail without a date is a new wish: better one too many.
    """
    if finding.written_at is None:
        return False
    later = exists().where(
        TrackingEvent.campaign_id == grant.campaign_id,
        TrackingEvent.position == grant.number,
        TrackingEvent.kind == TrackingKind.UNSUBSCRIBE,
        TrackingEvent.manner == Manner.MAIL,
        TrackingEvent.at >= finding.written_at,
    )
    return bool(db.scalar(select(later)))


def _about(finding: Finding, email_key: str | None) -> ReportedRecipient | None:
    """What the report says of the letter's own recipient, else of the first it names.

    A letter that was forwarded comes back from an address that is not ours to judge.
    """
    own = [each for each in finding.recipients if email_key and _key(each.address) == email_key]
    return next(iter([*own, *finding.recipients]), None)


def _key(address: str) -> str | None:
    try:
        return parse_address(address).key
    except BadAddress:
        return None


def _words(reason: str) -> tuple[int | None, str]:
    """Reply code and text of what a mail server said, without addresses, as the ledger keeps them."""
    answer = _REPLY_CODE.fullmatch(reason.strip())
    code, text = (int(answer[1]), answer[2]) if answer else (None, reason)
    return code, read_reply(code or _REFUSED, text.encode("utf-8", "replace")).text


def _state(db: Session, grant: Grant) -> DeliveryState | None:
    return db.scalar(
        select(Delivery.state).where(
            Delivery.campaign_id == grant.campaign_id, Delivery.position == grant.number
        )
    )
