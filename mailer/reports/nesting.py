"""Which groups share recipients with which others: what whoever knows the country knows."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery
from recipients.models import Recipient

Homes = Mapping[str, Mapping[str | None, Mapping[str, Set[str | None]]]]
"""Field, value, other field: the other field's values among the group's recipients."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds of recipients there are: the values of all fields together, and how many have them."""

    fields: Sequence[str]
    sizes: Mapping[tuple[str | None, ...], int]

    def homes(self) -> Homes:
        """For every group by every field: in which groups by the other fields its recipients are."""
        homes: dict[str, dict[str | None, dict[str, set[str | None]]]] = {
            field: {} for field in self.fields
        }
        for kind in self.sizes:
            for field, value in zip(self.fields, kind, strict=True):
                met = homes[field].setdefault(value, {})
                for other, home in zip(self.fields, kind, strict=True):
                    if other != field:
                        met.setdefault(other, set()).add(home)
        return homes


NO_KINDS = Kinds((), {})


def find_kinds(db: Session, campaign_id: int, fields: Sequence[str]) -> Kinds:
    """The kinds of recipients a campaign has, grouped by the database."""
    columns = [getattr(Recipient, field) for field in fields]
    counted = (
        select(*[cast(column, String) for column in columns], func.count())
        .select_from(Delivery)
        .outerjoin(Recipient, Recipient.id == Delivery.recipient_id)
        .where(Delivery.campaign_id == campaign_id)
        .group_by(*columns)
    )
    return Kinds(fields, {tuple(kind): size for *kind, size in db.execute(counted)})
