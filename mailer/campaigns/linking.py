"""Where a campaign's links lead, and leading one elsewhere after the letters left, on record."""

import os
import pwd
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from mailer.campaigns.errors import LinkNotFound, NotAllowedNow
from mailer.campaigns.models import Campaign, Link, LinkChange

LONGEST_REASON = 300
_LONGEST_ACCOUNT = 100


def list_links(db: Session, campaign: Campaign) -> list[Link]:
    """The campaign's links by number.

    Raises:
        NotAllowedNow: it was not launched yet, so it has none.
    """
    links = list(db.scalars(select(Link).where(Link.campaign_id == campaign.id).order_by(Link.number)))
    if not links:
        raise NotAllowedNow(f"{campaign.name} is {campaign.state}: its links are made at the launch")
    return links


def list_changes(db: Session, campaign: Campaign) -> list[LinkChange]:
    """Who led which link of the campaign elsewhere, oldest first."""
    made = select(LinkChange).where(LinkChange.campaign_id == campaign.id)
    return list(db.scalars(made.order_by(LinkChange.id)))


def pick_link(links: Sequence[Link], wanted: str) -> Link:
    """The link of that number or key.

    Raises:
        LinkNotFound: there is none.
    """
    for link in links:
        if wanted in {str(link.number), link.key}:
            return link
    raise LinkNotFound(f"no link {wanted!r}: name it by the number or the key it has in the list")


def retarget(
    db: Session, link: Link, target: str, *, reason: str | None, now: datetime, by: str | None = None
) -> LinkChange | None:
    """Lead a link elsewhere, on record; None if it leads there already.

    Args:
        target: fit for a redirect, which is the caller's to see to.
        now: real time.
        by: by default the account this process runs as.

    Raises:
        NotAllowedNow: somebody else changed it meanwhile; nothing was changed.
    """
    old = link.target
    if old == target:
        return None
    moved = db.execute(
        update(Link)
        .where(Link.campaign_id == link.campaign_id, Link.number == link.number, Link.target == old)
        .values(target=target)
    )
    assert isinstance(moved, CursorResult)
    if moved.rowcount != 1:
        raise NotAllowedNow(f"link {link.number} was changed by somebody else just now; look again")
    change = LinkChange(
        campaign_id=link.campaign_id,
        number=link.number,
        old_target=old,
        new_target=target,
        by=(by or this_account())[:_LONGEST_ACCOUNT],
        reason=reason,
        at=now,
    )
    db.add(change)
    db.flush()
    return change


def this_account() -> str:
    """The account on the machine that this process runs as; no variable can say another."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run as a number nobody has
        return f"uid {number}"
