"""The half-yearly meetings of the parties, as far as something was written down about them."""

from datetime import date, datetime

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.foundation.database import Base


class Meeting(Base):
    """One meeting of the parties: what they are to talk about, and the report that went before it.

    The dates themselves are data (``meetings.toml``); a row comes into being when there is something to
    keep.
    """

    __tablename__ = "meetings"

    held_on: Mapped[date] = mapped_column(primary_key=True)
    challenges: Mapped[str | None] = mapped_column(Text)
    """What staff wrote about challenges, for the report."""
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id"))
    """The letter the report went with; None while it has not gone."""
    late: Mapped[bool] = mapped_column(default=False)
    sent_at: Mapped[datetime | None]
    """The clock people see."""
