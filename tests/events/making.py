"""Rows that the tests of events need."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, CampaignState, Delivery, Link
from mailer.events.models import Event, EventState
from mailer.events.reminders import PlannedReminder, plan_reminders
from mailer.rendering.source import LetterSource
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from recipients.models import Recipient, Role, TrackingChoice

NOW = datetime(2014, 3, 7, 8, 0, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Copenhagen")
GRACE = timedelta(hours=24)
EARLY = LetterSource("paamindelse", {}, {"leads": ["14 days", "7 days"], "needs": ["place"]})
LAST = LetterSource("dagen-foer", {}, {"leads": ["1 day"], "needs": ["place", "time"]})

_numbers = count(1)


def new_event(
    slug: str = "aalborg",
    *,
    day: date = date(2014, 6, 16),
    start: time | None = None,
    place: str | None = "Medicinerhuset",
    timezone: str = "Europe/Copenhagen",
) -> Event:
    return Event(
        slug=slug,
        title=f"Møde i {slug}",
        date=day,
        time=start,
        place=place,
        timezone=timezone,
        state=EventState.OPEN,
        sequence=0,
        created_at=NOW,
        updated_at=NOW,
    )


def make_event(db: Session, slug: str = "aalborg", **values: Any) -> Event:
    event = new_event(slug, **values)
    db.add(event)
    db.flush()
    return event


def make_recipient(db: Session, *, tracking: TrackingChoice | None = None) -> Recipient:
    number = next(_numbers)
    email = f"tr{number}@kommune.example"
    recipient = Recipient(
        email=email,
        email_key=email,
        address_hash=f"{number:032x}",
        domain="kommune.example",
        role=Role.UNION_REPRESENTATIVE,
        tracking=tracking,
        created_at=NOW,
        updated_at=NOW,
    )
    db.add(recipient)
    db.flush()
    return recipient


def make_campaign(
    db: Session,
    recipients: Sequence[Recipient],
    *,
    event_slug: str,
    tracking: str = "personal",
) -> Campaign:
    """A campaign in the hands of its recipients: link 1 is the programme, link 2 the registration."""
    campaign = Campaign(
        name=f"brev-{next(_numbers)}",
        letter="startpakke",
        state=CampaignState.FINISHED,
        tracking=tracking,
        created_at=NOW,
    )
    db.add(campaign)
    db.flush()
    for position, recipient in enumerate(recipients, start=1):
        db.add(Delivery(campaign_id=campaign.id, position=position, recipient_id=recipient.id))
    for number, (key, kind) in enumerate(
        [("programme", "link"), ("registration", "registration")], start=1
    ):
        db.add(
            Link(
                campaign_id=campaign.id,
                number=number,
                key=f"events.{key}/{event_slug}",
                kind=kind,
                event_slug=event_slug,
                target=f"/events/{event_slug}",
            )
        )
    db.flush()
    return campaign


def click(
    db: Session,
    campaign: Campaign,
    position: int,
    *,
    link_number: int = 2,
    label: Label = Label.PERSON,
    at: datetime = NOW,
) -> None:
    db.add(
        TrackingEvent(
            kind=TrackingKind.CLICK,
            campaign_id=campaign.id,
            position=position,
            link_number=link_number,
            label=label,
            reason="test",
            at=at,
        )
    )
    db.flush()


def plan(
    db: Session,
    now: datetime = NOW,
    *,
    letters: Sequence[LetterSource] = (EARLY, LAST),
    grace: timedelta = GRACE,
) -> dict[tuple[str, str], PlannedReminder]:
    planned = plan_reminders(db, letters, now=now, zone=ZONE, grace=grace)
    return {(one.event_slug, one.lead): one for one in planned}


def write_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "events.toml"
    path.write_text(text, encoding="utf-8")
    return path


def toml_entry(**fields: str) -> str:
    values = {"slug": '"kolding"', "title": '"Kolding"', "date": "2014-05-12", **fields}
    return "[[event]]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
