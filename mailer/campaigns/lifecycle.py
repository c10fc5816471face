"""A campaign's life: made, launched, paused, resumed, cancelled, finished."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import exists, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.campaigns.errors import CampaignNotFound, NotAllowedNow
from mailer.campaigns.ledger import UNFINISHED, cancel_unclaimed, is_deferred, will_be_resent
from mailer.campaigns.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    Delivery,
    UncertainPolicy,
)

_MOVING = frozenset({CampaignState.SENDING, CampaignState.SCHEDULED})
_OPEN = (BatchState.READY, BatchState.CLAIMED)


def create_campaign(
    db: Session,
    name: str,
    *,
    letter: str,
    segment: str | None,
    tracking: str,
    legal_basis: str | None,
    now: datetime,
    on_uncertain: UncertainPolicy = UncertainPolicy.HOLD,
    auto_submitted: bool = False,
) -> Campaign:
    """Make a draft.

    Raises:
        NotAllowedNow: there is a campaign of that name already.
    """
    campaign = Campaign(
        name=name,
        letter=letter,
        segment=segment,
        tracking=tracking,
        legal_basis=legal_basis,
        on_uncertain=on_uncertain,
        auto_submitted=auto_submitted,
        created_at=now,
    )
    try:
        with db.begin_nested():
            db.add(campaign)
    except IntegrityError as error:
        raise NotAllowedNow(f"there is a campaign {name!r} already; choose another name") from error
    return campaign


def find_campaign(db: Session, name: str) -> Campaign:
    """The campaign of that name.

    Raises:
        CampaignNotFound: there is none.
    """
    campaign = db.scalar(select(Campaign).where(Campaign.name == name))
    if campaign is None:
        raise CampaignNotFound(f"no campaign {name!r}; see  mailer campaign list")
    return campaign


def list_campaigns(db: Session) -> Sequence[Campaign]:
    """All campaigns, newest first."""
    return db.scalars(select(Campaign).order_by(Campaign.id.desc())).all()


def pause_campaign(db: Session, campaign: Campaign) -> None:
    """Hold a campaign; a running batch stops within two seconds and hands back what it has not begun.

    Raises:
        NotAllowedNow: it is neither sending nor scheduled.
    """
    _move(db, campaign, CampaignState.PAUSED, _MOVING)


def resume_campaign(db: Session, campaign: Campaign) -> None:
    """Let a paused campaign go on; one that waits for its time goes on waiting.

    Raises:
        NotAllowedNow: it is not paused.
    """
    waits = campaign.due_at is not None and campaign.started_at is None
    after = CampaignState.SCHEDULED if waits else CampaignState.SENDING
    _move(db, campaign, after, {CampaignState.PAUSED})


def cancel_campaign(db: Session, campaign: Campaign, *, now: datetime, real_now: datetime) -> int:
    """End a campaign; letters in a claimed batch follow when the batch is finalised.

    Args:
        now: the clock people see.
        real_now: real time.

    Returns:
        How many letters will now never be sent.

    Raises:
        NotAllowedNow: it has ended already.
    """
    alive = {
        CampaignState.DRAFT,
        CampaignState.SCHEDULED,
        CampaignState.SENDING,
        CampaignState.PAUSED,
    }
    _move(db, campaign, CampaignState.CANCELLED, alive, finished_at=real_now)
    return cancel_unclaimed(db, campaign.id, now=now)


def start_due(db: Session, *, now: datetime) -> None:
    """Let scheduled campaigns begin whose time has come.

    Args:
        now: the clock people see.
    """
    db.execute(
        update(Campaign)
        .where(Campaign.state == CampaignState.SCHEDULED, Campaign.due_at <= now)
        .values(state=CampaignState.SENDING)
    )


def finish_done(db: Session, *, now: datetime) -> None:
    """Mark as finished every sending campaign that has nothing pending, claimed or deferred.

    Batches tell at no cost which campaigns can be done; only those are counted through.

    Args:
        now: real time.
    """
    ours = Delivery.campaign_id == Campaign.id
    waiting = exists().where(ours, or_(is_deferred(), will_be_resent()))
    at_work = exists().where(Batch.campaign_id == Campaign.id, Batch.state.in_(_OPEN))
    sending = Campaign.state == CampaignState.SENDING
    # Whoever offers letters again holds this lock: what is counted below cannot change meanwhile.
    done = db.scalars(
        select(Campaign.id)
        .where(sending, ~at_work, ~waiting)
        .with_for_update(of=Campaign, skip_locked=True)
    ).all()
    if done:
        left = exists().where(ours, or_(Delivery.state.in_(UNFINISHED), will_be_resent()))
        db.execute(
            update(Campaign)
            .where(Campaign.id.in_(done), sending, ~left)
            .values(state=CampaignState.FINISHED, finished_at=now, waiting_for=None)
        )


def pause_all(db: Session) -> list[str]:
    """Hold every campaign that is sending or waits for its time; return their names."""
    paused = db.scalars(
        update(Campaign)
        .where(Campaign.state.in_(_MOVING))
        .values(state=CampaignState.PAUSED)
        .returning(Campaign.name)
    )
    return sorted(paused)


def _move(
    db: Session,
    campaign: Campaign,
    after: CampaignState,
    allowed: Collection[CampaignState],
    **values: object,
) -> None:
    moved = db.execute(
        update(Campaign)
        .where(Campaign.id == campaign.id, Campaign.state.in_(allowed))
        .values(state=after, **values)
    )
    assert isinstance(moved, CursorResult)
    if moved.rowcount == 0:
        db.refresh(campaign)
        allowed_words = " or ".join(sorted(allowed))
        raise NotAllowedNow(f"campaign {campaign.name!r} is {campaign.state}, not {allowed_words}")
    db.refresh(campaign)
