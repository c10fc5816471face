"""Rows to count, inserted directly: campaigns, their letters, and what was done with them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, CampaignState, Delivery, DeliveryState, Link
from mailer.events.models import Event, Registration, RegistrationSource, RegistrationState
from mailer.reports.figures import count_report, tell_report
from mailer.reports.report import CampaignReport, Dimension
from mailer.tracking.models import Label, TrackingCount, TrackingEvent, TrackingKind
from recipients.models import Recipient, Region, Role, Sector
from tests.conftest import NOW

COPENHAGEN = ZoneInfo("Europe/Copenhagen")


def make_campaign(db: Session, name: str = "startpakke-2014", *, tracking: str = "personal") -> Campaign:
    campaign = Campaign(
        name=name,
        letter="startpakke",
        state=CampaignState.FINISHED,
        tracking=tracking,
        created_at=NOW,
        queued_at=NOW,
        dated_at=NOW,
    )
    db.add(campaign)
    db.flush()
    return campaign


def campaign_report(
    db: Session, campaign: Campaign, dimensions: Iterable[Dimension] = tuple(Dimension)
) -> CampaignReport:
    """The campaign's report as it may be shown."""
    return tell_report(count_report(db, campaign, now=NOW, dimensions=dimensions))


def make_recipient(
    db: Session,
    address: str,
    *,
    role: Role = Role.EMPLOYEE,
    sector: Sector = Sector.MUNICIPALITY,
    region: Region | None = Region.MIDTJYLLAND,
    organisation: str | None = "Aarhus Kommune",
) -> Recipient:
    recipient = Recipient(
        email=address,
        email_key=address.casefold(),
        address_hash=address[:32],
        domain=address.rpartition("@")[2],
        role=role,
        sector=sector,
        region=region,
        organisation=organisation,
        created_at=NOW,
        updated_at=NOW,
    )
    db.add(recipient)
    db.flush()
    return recipient


def deliver(
    db: Session,
    campaign: Campaign,
    recipient: Recipient | None,
    state: DeliveryState = DeliveryState.SENT,
) -> int:
    """Add a delivery and return its position."""
    campaign.audience += 1
    delivery = Delivery(
        campaign_id=campaign.id,
        position=campaign.audience,
        recipient_id=recipient.id if recipient else None,
        state=state,
        at=NOW,
    )
    db.add(delivery)
    db.flush()
    return delivery.position


def make_event(db: Session, slug: str, title: str, *, days_ahead: int = 17) -> Event:
    event = Event(
        slug=slug,
        title=title,
        date=(NOW + timedelta(days=days_ahead)).date(),
        created_at=NOW,
        updated_at=NOW,
    )
    db.add(event)
    db.flush()
    return event


def register(
    db: Session,
    event: Event,
    recipient: Recipient | None,
    state: RegistrationState = RegistrationState.SEATED,
) -> None:
    db.add(
        Registration(
            event_id=event.id,
            recipient_id=recipient.id if recipient else None,
            state=state,
            source=RegistrationSource.LIST,
            number=len(db.scalars(select(Registration.id)).all()) + 1,
            registered_at=NOW,
            changed_at=NOW,
        )
    )
    db.flush()


def make_link(
    db: Session, campaign: Campaign, key: str, *, kind: str = "link", event: str | None = None
) -> int:
    """Add a link and return its number."""
    existing = db.scalars(select(Link.number).where(Link.campaign_id == campaign.id)).all()
    number = max(existing, default=0) + 1
    db.add(
        Link(
            campaign_id=campaign.id,
            number=number,
            key=key,
            kind=kind,
            event_slug=event,
            target=f"https://maal.example/{number}",
        )
    )
    db.flush()
    return number


def act(
    db: Session,
    campaign: Campaign | None,
    kind: TrackingKind,
    position: int | None = None,
    *,
    link: int | None = None,
    label: Label = Label.PERSON,
    at: datetime = NOW,
    subject: str | None = None,
) -> None:
    """Append to the event log; without a position or a campaign it is only counted."""
    if campaign is None or position is None:
        _count(db, campaign, kind, link=link, label=label, at=at, subject=subject)
        return
    db.add(
        TrackingEvent(
            kind=kind,
            campaign_id=campaign.id,
            position=position,
            link_number=link,
            subject=subject,
            label=label,
            reason="test",
            at=at,
        )
    )
    db.flush()


def _count(
    db: Session,
    campaign: Campaign | None,
    kind: TrackingKind,
    *,
    link: int | None,
    label: Label,
    at: datetime,
    subject: str | None,
) -> None:
    key = {
        "campaign_id": campaign.id if campaign else 0,
        "day": at.astimezone(COPENHAGEN).date(),
        "kind": kind,
        "link_number": link or 0,
        "subject": subject or "",
        "label": label,
        "reason": "test",
    }
    counted = db.get(TrackingCount, key)
    if counted is None:
        db.add(TrackingCount(**key, total=1))
    else:
        counted.total += 1
    db.flush()
