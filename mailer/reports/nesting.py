"""Which groups share recipients with which others: what whoever knows the country knows."""

from collections.abc import Mapping, Sequence, Set
from itertools import combinations

from sqlalchemy import String, cast, func, literal, select, union_all
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery
from recipients.models import Recipient

_UNKNOWN = "\x01"
"""Stands for a missing value in comparisons; no value is spelled so."""

Homes = Mapping[str, Mapping[str | None, Mapping[str, Set[str | None]]]]
"""Field, value, other field: the other field's values among the group's recipients."""


def find_homes(db: Session, campaign_id: int, fields: Sequence[str]) -> Homes:
    """For every group by every field: in which groups by the other fields its recipients are.

    One statement, grouped by the database: as many rows as there are pairs of groups that meet.
    """
    columns = {
        field: func.coalesce(cast(getattr(Recipient, field), String), _UNKNOWN) for field in fields
    }
    met = (
        select(*[column.label(field) for field, column in columns.items()])
        .select_from(Delivery)
        .outerjoin(Recipient, Recipient.id == Delivery.recipient_id)
        .where(Delivery.campaign_id == campaign_id)
        .distinct()
        .cte("met")
    )
    legs = [
        select(literal(one), literal(other), met.c[one], met.c[other]).distinct()
        for one, other in combinations(fields, 2)
    ]
    homes: dict[str, dict[str | None, dict[str, set[str | None]]]] = {field: {} for field in fields}
    for one, other, first, second in db.execute(union_all(*legs)):
        pair = _known(first), _known(second)
        homes[one].setdefault(pair[0], {}).setdefault(other, set()).add(pair[1])
        homes[other].setdefault(pair[1], {}).setdefault(one, set()).add(pair[0])
    return homes


def _known(value: str) -> str | None:
    return None if value == _UNKNOWN else value
