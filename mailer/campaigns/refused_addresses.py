"""Addresses that are no good: refused for good, and for no other reason than the address itself."""

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Delivery
from recipients.models import Recipient, SuppressionReason
from recipients.suppression import suppress

_ABOUT_THE_ADDRESS = re.compile(r"5\.1\.(?!(?:7|8)$)\d{1,3}")
_AT_ONCE = 500


def is_about_the_address(enhanced_code: str | None) -> bool:
    """Whether a refusal is for good and the recipient's address is why (RFC 3463 §3.2).

    X.1.7 and X.1.8 are about the sender's address.
    """
    return enhanced_code is not None and _ABOUT_THE_ADDRESS.fullmatch(enhanced_code) is not None


def suppress_refused(db: Session, campaign_id: int, positions: Sequence[int], *, now: datetime) -> int:
    """Let the addresses of deliveries that were refused so get no more mail; return how many are new.

    In the order of their hashes, so that two batches at once wait for each other but never both.

    Args:
        now: the clock people see.
    """
    hashes: set[str] = set()
    for begin in range(0, len(positions), _AT_ONCE):
        chosen = Delivery.position.in_(positions[begin : begin + _AT_ONCE])
        hashes.update(
            db.scalars(
                select(Recipient.address_hash)
                .join(Delivery, Delivery.recipient_id == Recipient.id)
                .where(Delivery.campaign_id == campaign_id, chosen)
            )
        )
    return sum(suppress(db, each, SuppressionReason.BOUNCED, now=now) for each in sorted(hashes))
