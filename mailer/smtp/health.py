"""Whether a relay can be used, as it shows from what happens."""

import re
from collections import OrderedDict, deque
from collections.abc import Sequence
from time import monotonic

from mailer.smtp.envelope import Mail
from mailer.smtp.patience import Patience
from mailer.smtp.replies import Reply

_MANY_DOMAINS, _SEVERAL_DOMAINS = 20, 3
_MOST_WITHDRAWN = 1_000
"""Mails kept in case that what refused them proves to be the relay's fault: tens of KB each."""
_MANY_LOSSES = 12
_MOST_LOST_MAILS = 1_000
_WITH_DIGITS = re.compile(r"\S*\d\S*")


class Breaker:
    """Leaves a relay alone for a while after it failed, longer each time; then one mail may try it."""

    def __init__(self, patience: Patience) -> None:
        self.reason: str | None = None
        """Why the relay is left alone; None while all is well."""
        self._patience = patience
        self._until = 0.0
        self._pause = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether all is well."""
        return self.reason is None

    @property
    def seconds_left(self) -> float:
        """Until one mail may try the relay."""
        return 0.0 if self.reason is None else max(0.0, self._until - monotonic())

    def open(self, reason: str) -> None:
        """The relay failed; while it is left alone already, nothing is added."""
        if self.reason is not None and self.seconds_left:
            return
        self.reason = reason
        self._pause = min(self._pause * 2 or self._patience.first_pause, self._patience.longest_pause)
        self._until = monotonic() + self._pause

    def close(self) -> None:
        """The relay works."""
        self.reason = None
        self._pause = 0.0


class Refusals:
    """The same refusal again and again: is it the recipients', or the relay's own?"""

    def __init__(self) -> None:
        self._key: tuple[int, str | None, str] | None = None
        self._domains: set[str] = set()
        self._refused: deque[tuple[Mail, Reply]] = deque(maxlen=_MOST_WITHDRAWN)

    @property
    def is_empty(self) -> bool:
        """Whether the last answer was no refusal."""
        return self._key is None

    def add(self, mail: Mail, reply: Reply) -> Sequence[Mail]:
        """Note a refusal; the mails refused in this way, once the relay is to blame for them."""
        domain = mail.envelope.recipient.rpartition("@")[2].lower()
        words = _WITH_DIGITS.sub("", reply.text.lower().replace(domain, ""))
        key = (reply.code, reply.enhanced_code, " ".join(words.split()))
        if key != self._key:
            self.clear()
            self._key = key
        if len(self._domains) < _MANY_DOMAINS:
            self._domains.add(domain)
        self._refused.append((mail, reply))
        if len(self._domains) < _MANY_DOMAINS:
            return ()
        refused = tuple(mail for mail, _ in self._refused)
        self._refused.clear()
        return refused

    def spare(self) -> Sequence[tuple[Mail, Reply]]:
        """The last mails of a sending, refused alike at several domains, and what was said of each.

        Too few to know whose fault it is: the next answers will tell.
        """
        return tuple(self._refused) if len(self._domains) >= _SEVERAL_DOMAINS else ()

    def clear(self) -> None:
        """Another answer came."""
        self._key = None
        self._domains.clear()
        self._refused.clear()

    def forget_mails(self) -> None:
        """What was told of the mails so far stands: it has been acted on."""
        self._refused.clear()


class Losses:
    """Connections lost while a mail was being offered, by mail; and in a row, after a dot too."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._in_a_row = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was lost lately."""
        return not (self._counts or self._in_a_row)

    @property
    def are_many(self) -> bool:
        """Whether so many were lost in a row that it cannot be the mails' fault."""
        return self._in_a_row >= _MANY_LOSSES

    def add(self, mail: Mail) -> int:
        """Note that a mail lost its connection; how often it now has."""
        key = (mail.envelope.sender, mail.envelope.recipient)
        self._in_a_row += 1
        count = self._counts[key] = self._counts.pop(key, 0) + 1
        if len(self._counts) > _MOST_LOST_MAILS:
            self._counts.popitem(last=False)
        return count

    def add_uncertain(self) -> None:
        """Note a connection lost after a dot: too many in a row make too many letters uncertain."""
        self._in_a_row += 1

    def end_row(self) -> None:
        """The relay decided about a mail."""
        self._in_a_row = 0

    def forget(self, mail: Mail) -> None:
        """A mail was decided about."""
        self._counts.pop((mail.envelope.sender, mail.envelope.recipient), None)


class Limit:
    """How many connections a relay is given, of those it may have."""

    def __init__(self, most: int, patience: Patience) -> None:
        self.most = most
        self.now = most
        self._patience = patience
        self._changed_at = 0.0

    def halve(self, connections: int) -> None:
        """The relay wanted fewer than these; several saying so at once count once."""
        if self.now <= connections:
            self.now = max(1, connections // 2)
        self._changed_at = monotonic()

    def fit(self, connections: int) -> None:
        """No more than these could be opened."""
        self.now = max(1, min(self.now, connections))
        self._changed_at = monotonic()

    def recover(self) -> bool:
        """Give back one connection each time long enough has passed; whether one was."""
        if self.now >= self.most or monotonic() - self._changed_at < self._patience.next_connection:
            return False
        self.now += 1
        self._changed_at = monotonic()
        return True

    def reset(self) -> None:
        """Whatever was learned no longer holds."""
        self.now = self.most
