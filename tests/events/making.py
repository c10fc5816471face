"""Rows that the tests of events need."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, CampaignState, Delivery, Link
from mailer.events.audiences import AudienceRule
from mailer.events.models import (
    Event,
    EventState,
    Registration,
    RegistrationSource,
    RegistrationState,
    ReminderRequest,
)
from mailer.events.policy import ReminderPolicy
from mailer.events.reminders import PlannedReminder, plan_reminders
from mailer.rendering.source import LetterSource
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from recipients.models import Recipient, Role, TrackingChoice

NOW = datetime(2014, 3, 7, 8, 0, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Copenhagen")
GRACE = timedelta(hours=24)
SEATED, WAITING, GIVEN_BACK = RegistrationState
EARLY = LetterSource("paamindelse", {}, {"leads": ["14 days", "7 days"], "needs": ["place"]})
LAST = LetterSource("dagen-foer", {}, {"leads": ["1 day"], "needs": ["place", "time"]})
SEE_YOU = LetterSource(
    "vi-ses",
    {},
    {
        "rules": ["registered"],
        "leads": ["14 days", "7 days", "1 day"],
        "optional_leads": ["2 hours"],
        "needs": ["place"],
        "needs_at": {"1 day": ["place", "time"]},
    },
)
STILL_SEATS = LetterSource(
    "stadig-plads", {}, {"rules": ["clicked"], "leads": ["14 days", "7 days", "1 day"]}
)
AGAIN = LetterSource("invitation-igen", {}, {"rules": ["region"]})
ALL = (EARLY, LAST, SEE_YOU, STILL_SEATS, AGAIN)

_numbers = count(1)


def new_event(
    slug: str = "aalborg",
    *,
    day: date = date(2014, 6, 16),
    start: time | None = None,
    place: str | None = "Medicinerhuset",
    timezone: str = "Europe/Copenhagen",
    **more: Any,
) -> Event:
    return Event(
        slug=slug,
        title=f"Møde i {slug}",
        date=day,
        time=start,
        place=place,
        timezone=timezone,
        **{
            "state": EventState.OPEN,
            "sequence": 0,
            "created_at": NOW,
            "updated_at": NOW,
            **more,
        },
    )


def make_event(db: Session, slug: str = "aalborg", **values: Any) -> Event:
    event = new_event(slug, **values)
    db.add(event)
    db.flush()
    return event


def make_recipient(
    db: Session, *, tracking: TrackingChoice | None = None, region: str | None = None
) -> Recipient:
    number = next(_numbers)
    email = f"tr{number}@kommune.example"
    recipient = Recipient(
        email=email,
        email_key=email,
        address_hash=f"{number:032x}",
        domain="kommune.example",
        role=Role.UNION_REPRESENTATIVE,
        region=region,
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


def ask(db: Session, event: Event, *recipients: Recipient, at: datetime = NOW) -> None:
    for recipient in recipients:
        db.add(ReminderRequest(event_id=event.id, recipient_id=recipient.id, asked_at=at))
    db.flush()


def seat(
    db: Session,
    event: Event,
    *recipients: Recipient | None,
    state: RegistrationState = SEATED,
    at: datetime = NOW,
) -> None:
    """Register people; None is somebody on an attendance list whom no list of recipients has."""
    for recipient in recipients:
        db.add(
            Registration(
                event_id=event.id,
                recipient_id=recipient.id if recipient else None,
                state=state,
                source=RegistrationSource.HOSTED,
                number=next(_numbers),
                registered_at=at,
                changed_at=at,
            )
        )
    db.flush()


def policy(letters: Sequence[LetterSource] = ALL, *, grace: timedelta = GRACE) -> ReminderPolicy:
    return ReminderPolicy(letters, ZONE, grace, warning=timedelta(days=7))


def plan_by_rule(
    db: Session,
    now: datetime = NOW,
    *,
    letters: Sequence[LetterSource] = ALL,
    grace: timedelta = GRACE,
) -> dict[tuple[str, AudienceRule], PlannedReminder]:
    """The reminders of one event, by lead and rule."""
    planned = plan_reminders(db, policy(letters, grace=grace), now=now)
    return {(one.lead, one.rule): one for one in planned}


def plan(
    db: Session,
    now: datetime = NOW,
    *,
    letters: Sequence[LetterSource] = (EARLY, LAST),
    grace: timedelta = GRACE,
) -> dict[tuple[str, str], PlannedReminder]:
    planned = plan_reminders(db, policy(letters, grace=grace), now=now)
    return {(one.event_slug, one.lead): one for one in planned}


def write_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "events.toml"
    path.write_text(text, encoding="utf-8")
    return path


def toml_entry(**fields: str) -> str:
    values = {"slug": '"kolding"', "title": '"Kolding"', "date": "2014-05-12", **fields}
    return "[[event]]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
