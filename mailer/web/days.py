"""Which day a moment falls on, asked with every request."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


class LocalDays:
    """Local days of moments, the last answer remembered: a day begins on a whole minute everywhere."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._since = self._until = datetime.min.replace(tzinfo=UTC)
        self._day = date.min

    def day_of(self, moment: datetime) -> date:
        """The local date of a moment."""
        if not self._since <= moment < self._until:
            self._since = moment.astimezone(UTC).replace(second=0, microsecond=0)
            self._until = self._since + timedelta(minutes=1)
            self._day = moment.astimezone(self._zone).date()
        return self._day
