"""What must hold of every campaign at any moment, and of how many deliveries and batches it does not."""

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    Delivery,
    DeliveryState,
)
from recipients.models import Recipient

_ATTEMPTED = (
    DeliveryState.SENT,
    DeliveryState.BOUNCED,
    DeliveryState.COMPLAINED,
    DeliveryState.UNCERTAIN,
)
_TO_COME = (DeliveryState.PENDING, DeliveryState.DEFERRED)
_DATED = (DeliveryState.DEFERRED, DeliveryState.UNCERTAIN)
_EXPLAINED = (DeliveryState.SUPPRESSED, DeliveryState.FAILED, DeliveryState.UNCERTAIN)


def find_problems(db: Session, campaign: Campaign) -> Sequence[str]:
    """Everything that is wrong with a campaign's account, in words; each is counted, none is named.

    A few statements, each over the whole campaign: nothing passes through Python.
    """
    return [
        *_numbering_problems(db, campaign),
        *_delivery_problems(db, campaign),
        *_stranded_problems(db, campaign),
        *_batch_problems(db, campaign),
    ]


def _numbering_problems(db: Session, campaign: Campaign) -> Iterator[str]:
    rows, lowest, highest, people, known = db.execute(
        select(
            func.count(),
            func.min(Delivery.position),
            func.max(Delivery.position),
            func.count(Delivery.recipient_id.distinct()),
            func.count(Delivery.recipient_id),
        ).where(Delivery.campaign_id == campaign.id)
    ).one()
    if rows != campaign.audience:
        yield f"{rows} deliveries for an audience of {campaign.audience}"
    if rows and (lowest, highest) != (1, rows):
        yield f"positions run from {lowest} to {highest} for {rows} deliveries"
    if people != known:
        yield f"{known - people} recipients have more than one delivery"


def _delivery_problems(db: Session, campaign: Campaign) -> Iterator[str]:
    state = Delivery.state
    unanswered = or_(Delivery.relay.is_(None), Delivery.code.is_(None))
    wrong: dict[str, ColumnElement[bool]] = {
        "deferred deliveries have no next attempt": and_(
            state == DeliveryState.DEFERRED, Delivery.due_at.is_(None)
        ),
        "uncertain deliveries do not say since when": and_(
            state == DeliveryState.UNCERTAIN, Delivery.due_at.is_(None)
        ),
        "deliveries have a next attempt and wait for none": and_(
            state.not_in(_DATED), Delivery.due_at.is_not(None)
        ),
        "sent deliveries name neither relay and reply nor what else shows it": and_(
            state == DeliveryState.SENT, unanswered, Delivery.reason.is_(None)
        ),
        "deliveries were offered and count no attempt": and_(
            state.in_(_ATTEMPTED), Delivery.attempts < 1
        ),
        "deliveries do not say why": and_(state.in_(_EXPLAINED), Delivery.reason.is_(None)),
        "deliveries came to their state at no known time": and_(
            state != DeliveryState.PENDING, Delivery.at.is_(None)
        ),
        "deliveries name a recipient who is gone": and_(
            Delivery.recipient_id.is_not(None), Recipient.id.is_(None)
        ),
    }
    if campaign.state == CampaignState.FINISHED:
        wrong["deliveries are to come, and the campaign is finished"] = state.in_(_TO_COME)
    counts = db.execute(
        select(*[func.count().filter(rule) for rule in wrong.values()])
        .select_from(Delivery)
        .outerjoin(Recipient, Recipient.id == Delivery.recipient_id)
        .where(Delivery.campaign_id == campaign.id)
    ).one()
    for what, count in zip(wrong, counts, strict=True):
        if count:
            yield f"{count} {what}"


def _stranded_problems(db: Session, campaign: Campaign) -> Iterator[str]:
    """Each statement starts from the batches, of which there are few."""
    deliveries = select(func.count()).select_from(Delivery)
    ours = Delivery.campaign_id == campaign.id
    pending = and_(ours, Delivery.state == DeliveryState.PENDING)
    open_batch = and_(Batch.campaign_id == campaign.id, Batch.state != BatchState.DONE)
    in_range = and_(
        Delivery.batch_id.is_(None), Delivery.position.between(Batch.first, Batch.last), open_batch
    )
    retry = and_(Batch.campaign_id == campaign.id, Batch.first.is_(None))
    counts = db.execute(
        select(
            deliveries.where(pending).scalar_subquery(),
            select(func.count())
            .select_from(Batch)
            .join(Delivery, and_(pending, in_range))
            .scalar_subquery(),
            deliveries.join(Batch, Batch.id == Delivery.batch_id)
            .where(pending, open_batch)
            .scalar_subquery(),
            deliveries.outerjoin(Batch, and_(Batch.id == Delivery.batch_id, retry))
            .where(ours, Delivery.batch_id.is_not(None), Batch.id.is_(None))
            .scalar_subquery(),
        )
    ).one()
    everywhere, in_ranges, in_retries, astray = counts
    stranded = everywhere - in_ranges - in_retries
    if stranded:
        yield f"{stranded} pending deliveries are in no open batch"
    if astray:
        yield f"{astray} deliveries name a retry batch that is not the campaign's"


def _batch_problems(db: Session, campaign: Campaign) -> Iterator[str]:
    named = or_(Batch.owner.is_(None), Batch.host.is_(None), Batch.lease_until.is_(None))
    ranges = and_(Batch.first.is_not(None), Batch.last.is_not(None))
    unowned, undated, covered, lowest, highest = db.execute(
        select(
            func.count().filter(Batch.state == BatchState.CLAIMED, named),
            func.count().filter(Batch.due_at.is_(None), Batch.planned_at.is_(None)),
            func.coalesce(func.sum(Batch.last - Batch.first + 1).filter(ranges), 0),
            func.min(Batch.first),
            func.max(Batch.last),
        ).where(Batch.campaign_id == campaign.id)
    ).one()
    if unowned:
        yield f"{unowned} batches are claimed by nobody"
    if undated:
        yield f"{undated} batches are due at no time"
    if covered != campaign.audience or (covered and (lowest, highest) != (1, covered)):
        yield f"the batches cover {covered} positions for an audience of {campaign.audience}"
