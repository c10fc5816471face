"""Everything one process has to do with one relay: its connections, and how the relay is doing."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mailer.smtp.connection import Connection
from mailer.smtp.envelope import Mail
from mailer.smtp.errors import RelayUnavailable, TooManyConnections
from mailer.smtp.feed import Feed
from mailer.smtp.health import Breaker, Limit, Losses, Refusals
from mailer.smtp.opening import open_connection, refusal
from mailer.smtp.patience import Patience
from mailer.smtp.relays import Relay
from mailer.smtp.replies import Reply
from mailer.smtp.slots import Slot, Slots

_MOST_LOSSES = 3
LOST_TOO_OFTEN = Reply(451, "4.4.2", "the connection was lost before the letter was taken")
"""Our own words for a mail whose connection went time and again: no relay said anything."""
STOPPED = "the sending was stopped"


class NoFeed:
    """Stands where a feed does while nothing is sent."""

    def next_mail(self, relay: Relay) -> Mail | None:
        """There is none."""

    def wait_seconds(self) -> float | None:
        """None will come."""

    def dot_leaves(self, mail: Mail, relay: Relay) -> bool:
        """No dot leaves unnoted."""
        del mail, relay
        return False

    def flush(self) -> None:
        """Nothing was told."""

    def answered(self, mail: Mail, relay: Relay, reply: Reply) -> None:
        """Nobody listens."""

    def not_sent(self, mail: Mail, relay: Relay, why: str) -> None:
        """Nobody listens."""

    def unfit(self, mail: Mail, relay: Relay, why: str) -> None:
        """Nobody listens."""

    def lost_after_dot(self, mail: Mail, relay: Relay) -> None:
        """Nobody listens."""

    def spared(self, mail: Mail, relay: Relay, reply: Reply) -> None:
        """Nobody listens."""

    def withdrawn(self, mails: Sequence[Mail], relay: Relay, why: str) -> None:
        """Nobody listens."""


class Line:
    """The connections to one relay; mail is given to them as they ask for it."""

    def __init__(
        self,
        relay: Relay,
        *,
        greet_as: str,
        processes: int,
        slots: Slots,
        patience: Patience,
        changed: Callable[[], None],
        failed: Callable[[Exception], None],
        not_noted: Callable[[Exception], None],
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            processes: that share the relay's connections on this machine.
            changed: called when a mail or a connection may have become free.
            failed: called with an error of the feed's or the program's own.
            not_noted: called with the error when the feed could not note what it was told.
        """
        self.relay = relay
        self.patience = patience
        self.feed: Feed[Mail] = NoFeed()
        self.lock_step = False
        self.failed = failed
        self.not_noted = not_noted
        self.served = 0.0
        """Mails given to this relay, divided by its weight."""
        self.stride = 1 / relay.weight
        self.most = -(-relay.connections // processes)
        """Connections this process may have at all ..."""
        self.share = self.most
        """... and as long as other relays can be used too."""
        self.is_stopped = False
        self.left = asyncio.Event()
        """Set while no connection is taking leave."""
        self.left.set()
        self.someone_else_first: Callable[[Line], bool] | None = None
        """Where there are several relays: whether another's turn it is."""
        self._greet_as = greet_as
        self._slots = slots
        self._changed = changed
        self._limit = Limit(self.most, patience)
        self._kept = relay.connections // processes
        self._breaker = Breaker(patience)
        self._refusals = Refusals()
        self._losses = Losses()
        self._ails = False
        """Whether an acceptance would be news."""
        self._connections: dict[Connection, Slot] = {}
        self._resting: list[Connection] = []
        self._opening: set[asyncio.Task[Any]] = set()
        self._has_opened = False
        self._on_trial = False
        self._is_dry = False
        self._is_starved = False

    @property
    def is_usable(self) -> bool:
        """Whether it may be given mail, now or as soon as what is under way is through."""
        return self._breaker.is_closed or self._on_trial or not self._breaker.seconds_left

    @property
    def has_room(self) -> bool:
        """Whether it could take one more mail at once, as far as is known."""
        if self.is_stopped or self._is_dry or self._is_starved:
            return False
        if not self._breaker.is_closed and (self._on_trial or self._breaker.seconds_left):
            return False
        if self._resting:
            return True
        if self._opening and not self._has_opened:
            return False  # a wrong password said on eight connections at once may lock the account
        return self._count < min(self._limit.now, self.share)

    @property
    def is_busy(self) -> bool:
        """Whether mail is under way, or will be when a connection has ended that takes leave."""
        makes_room = not self.left.is_set() and not (self.is_stopped or self._is_dry)
        return (
            makes_room
            or bool(self._opening)
            or any(connection.is_busy for connection in self._connections)
        )

    @property
    def is_dry(self) -> bool:
        """Whether the feed had no mail for it."""
        return self._is_dry

    @property
    def trouble(self) -> str | None:
        """Why it cannot be used, in words."""
        if not self.is_usable:
            return f"relay {self.relay.name}: {self._breaker.reason}"
        if self._is_starved and not self._count:
            return (
                f"relay {self.relay.name}: all {self.relay.connections} connections to the relay"
                " are in use by other processes"
            )
        return None

    @property
    def retry_in(self) -> float:
        """Seconds until it is worth trying again."""
        if self._is_starved and not self._count:
            return max(self.patience.slot, self._breaker.seconds_left)
        return self._breaker.seconds_left

    def ask_anew(self) -> None:
        """Forget that there was no mail, or no slot."""
        self._is_dry = self._is_starved = False

    def use(self, feed: Feed[Mail]) -> None:
        """Take mail from this feed from now on; nothing is under way."""
        self.feed = feed
        self.is_stopped = self._on_trial = False
        self._refusals.forget_mails()

    def start_one(self) -> None:
        """Give one mail to a connection that rests, or to a new one; there must be room."""
        slot = None
        if not self._resting:
            slot = self._slots.take()
            if slot is None:
                self._is_starved = True
                return
        mail = self._ask()
        if mail is None:
            self._is_dry = True
            if slot is not None:
                slot.release()
            return
        self.served += self.stride
        self._on_trial = not self._breaker.is_closed
        if slot is None:
            self._resting.pop().begin(mail)
            return
        task = asyncio.get_running_loop().create_task(self._open(mail, slot))
        self._opening.add(task)
        task.add_done_callback(partial(self._opening_ended, mail, slot))

    def look(self, now: float) -> bool:
        """Compare deadlines with the clock; whether time alone has made room."""
        for connection in tuple(self._connections):
            connection.look(now)
        made_room = self._limit.recover()
        waits = not self._breaker.is_closed and not self._on_trial and not self._breaker.seconds_left
        return made_room or waits or self._is_starved

    def stop(self) -> None:
        """Begin nothing more; wait only for the replies to dots that are out."""
        self.is_stopped = True
        for task in self._opening:
            task.cancel()
        for connection in tuple(self._connections):
            if connection.is_busy:
                connection.stop(STOPPED)

    def cut(self, why: str) -> None:
        """Drop every connection but those that rest or take leave."""
        for task in self._opening:
            task.cancel()
        for connection in tuple(self._connections):
            if connection not in self._resting and not connection.is_leaving:
                connection.lose(why, lost=False)

    def spare(self) -> None:
        """Tell of the refusals that may prove to be the relay's own once more mail is sent."""
        for mail, reply in self._refusals.spare():
            self.feed.spared(mail, self.relay, reply)

    def leave(self, *, keep: int | None = None) -> None:
        """Take leave on all connections but so many; as many as are this process's own by default."""
        for connection in self._resting[self._kept if keep is None else keep :]:
            connection.quit()
            self._resting.remove(connection)
            self.left.clear()

    def cut_leaving(self) -> None:
        """Do not wait for replies to farewells."""
        for connection in tuple(self._connections):
            if connection.is_leaving:
                connection.cut("we took leave")

    def take(self, connection: Connection) -> Mail | None:
        """The next mail for this connection, or None for now."""
        if connection.letters >= self.relay.letters or len(self._connections) > self._limit.now:
            connection.ending = True
            return None
        if self.is_stopped or self._breaker.reason is not None:
            return None
        if self.someone_else_first is not None and self.someone_else_first(self):
            return None
        mail = self._ask()
        if mail is not None:
            self.served += self.stride
        return mail

    def answered(self, mail: Mail, reply: Reply) -> None:
        """The relay decided about a mail."""
        self.feed.answered(mail, self.relay, reply)
        if reply.code < 400:
            if self._ails:
                self._refusals.clear()
                self._losses.end_row()
                self._losses.forget(mail)
                self._pass_trial()
                self._ails = not self._losses.is_empty
            return
        self._ails = True
        self._losses.end_row()
        self._losses.forget(mail)
        to_blame_for = self._refusals.add(mail, reply)
        if not to_blame_for:
            self._pass_trial()
            return
        why = f"it refuses everybody: {reply}"
        self._fail(why)
        self.feed.withdrawn(to_blame_for, self.relay, why)

    def not_sent(self, mail: Mail, why: str, *, lost: bool) -> None:
        """No dot left for this mail; the third time its connection was lost, others go first."""
        self._changed()
        if lost:
            self._ails = True
            times = self._losses.add(mail)
            if self._losses.are_many or self._on_trial:
                self._fail(f"it takes no letter: {why}")
            if times >= _MOST_LOSSES:
                self._losses.forget(mail)
                self.feed.spared(mail, self.relay, LOST_TOO_OFTEN)
                return
        self._on_trial = False
        self.feed.not_sent(mail, self.relay, why)

    def unfit(self, mail: Mail, why: str) -> None:
        """This relay cannot take the mail."""
        self._on_trial = False
        self._changed()
        self.feed.unfit(mail, self.relay, why)

    def lost_after_dot(self, mail: Mail) -> None:
        """The dot left and no reply was read."""
        self._ails = True
        self._losses.add_uncertain()
        if self._on_trial or self._losses.are_many:
            self._fail("connections are lost before it answers")
        self.feed.lost_after_dot(mail, self.relay)

    def sender_refused(self, reply: Reply) -> None:
        """MAIL was refused: the relay's fault."""
        error = refusal("our sender", reply)
        if isinstance(error, TooManyConnections) and self._count > 1:
            self._limit.halve(self._count)
        else:
            self._fail(str(error))

    def idle(self, connection: Connection) -> None:
        """The connection has nothing to do, or takes leave."""
        if connection.is_leaving:
            self.left.clear()
        else:
            self._resting.append(connection)
        self._changed()

    def gone(self, connection: Connection) -> None:
        """The connection is no more."""
        self._connections.pop(connection).release()
        if connection in self._resting:
            self._resting.remove(connection)
        if not any(other.is_leaving for other in self._connections):
            self.left.set()
        self._changed()

    def _ask(self) -> Mail | None:
        """The feed's next mail; where it fails to give one, no connection suffers for it."""
        try:
            return self.feed.next_mail(self.relay)
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the sending
            self.failed(error)
            return None

    @property
    def _count(self) -> int:
        return len(self._connections) + len(self._opening)

    async def _open(self, mail: Mail, slot: Slot) -> None:
        try:
            opened = await open_connection(self.relay, greet_as=self._greet_as, patience=self.patience)
        except RelayUnavailable as error:
            slot.release()
            task = asyncio.current_task()
            assert task is not None
            self._opening.discard(task)  # at once: the others are counted now
            self._blame(error, others=self._count)
            self.not_sent(mail, str(error), lost=False)
            return
        self._has_opened = True
        connection = Connection(self, opened)
        self._connections[connection] = slot
        connection.begin(mail)

    def _opening_ended(self, mail: Mail, slot: Slot, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._changed()
        if task.cancelled():
            slot.release()
            self.not_sent(mail, STOPPED, lost=False)
        elif (error := task.exception()) is not None:
            assert isinstance(error, Exception)
            if slot not in self._connections.values():
                slot.release()
            self.failed(error)

    def _blame(self, error: RelayUnavailable, *, others: int) -> None:
        """The relay failed us; where other connections work, it only gets fewer."""
        if others and isinstance(error, TooManyConnections):
            self._limit.halve(others + 1)
        elif others and not self._on_trial:
            self._limit.fit(others)
        else:
            self._fail(str(error))
            if not isinstance(error, TooManyConnections):
                self._limit.reset()

    def _fail(self, why: str) -> None:
        self._ails = True
        self._on_trial = False
        self._has_opened = False
        self._breaker.open(why)

    def _pass_trial(self) -> None:
        if self._on_trial:
            self._on_trial = False
            self._breaker.close()
            self._changed()
