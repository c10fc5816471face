"""Takes the database away or kills processes while readers click, and counts every click.

Every link of every letter is asked for at most once, by readers who write down what was answered. When
all is quiet again the books are compared: an answered click stands in the database once, a click that
was sent and never answered once or not at all, and nothing else stands there. Half of the readers have a
letter with personal tracking, where each click is a row, the others one where clicks are only counted.

outage       PostgreSQL is stopped in the midst of it for most of the time, the web process killed
             meanwhile and begun again without its database, and PostgreSQL begun at last
kill         SIGKILL to the web process, again and again
drainer      SIGKILL to the drainer, again and again; the web process begins a new one
unsubscribe  somebody says no while PostgreSQL is down; the web process is killed at once after its
             200, everything begun again, and ``mailer recipient show`` asked
"""

import argparse
import http.client
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from time import monotonic, sleep

from measuring import begin_measurement, options, say
from readers import Book, Readers, Request
from stage import Stage, StageFailed
from webstage import (
    FIREFOX,
    Mailing,
    asking,
    mail,
    open_web_stage,
    start_web,
    wait_for_drainer,
    wait_until_moved,
)

from mailer.embedded.services import LOOPBACK, free_port

VARIANTS = ("outage", "kill", "drainer", "unsubscribe")
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": FIREFOX}
_PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Account:
    """The readers' books against the database; ``problems`` is empty if every click is accounted for."""

    answered: int = 0
    unanswered: int = 0
    """Sent, and the connection broke before the answer."""
    counted: int = 0
    lost: int = 0
    """Answered, and not in the database."""
    twice: int = 0
    """In the database more than once."""
    unexplained: int = 0
    """In the database, and never asked for."""
    refused: int = 0
    """Answered with another status than a redirect or a pixel."""
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Round:
    """One variant in play."""

    stage: Stage
    port: int
    personal: Mailing
    anonymous: Mailing
    seconds: float
    faults: int
    rng: random.Random
    asked: Iterator[tuple[Request, str]]
    connections: int
    depth: int

    def play(self, variant: str) -> tuple[Account, dict[str, float]]:
        """Read, strike, and take the account.

        Raises:
            StageFailed: something did not come back.
        """
        blows: dict[str, Callable[[Book], dict[str, float]]] = {
            "outage": self._outage,
            "kill": self._kill_web,
            "drainer": lambda _: self._kill_drainer(),
        }
        readers = Readers(self.port, self.asked, connections=self.connections, depth=self.depth)
        rows, counted = _read_rows(self.stage, self.personal), _read_counts(self.stage, self.anonymous)
        began = monotonic()
        with readers.reading() as book:
            told = blows[variant](book)
        seconds = monotonic() - began
        if readers.ran_out:
            raise StageFailed("every link was asked for: more --letters or fewer --seconds are needed")
        moving = wait_until_moved(self.stage)
        account = compare(
            book,
            self.personal.name,
            _read_rows(self.stage, self.personal) - rows,
            _read_counts(self.stage, self.anonymous) - counted,
        )
        rate = len(book.answered) / seconds
        return account, {"answered_per_second": rate, "moved_after_seconds": moving, **told}

    def _outage(self, book: Book) -> dict[str, float]:
        """A sixth of the time with the database, two thirds without, a sixth with it again."""
        assert self.stage.postgres is not None
        sleep(self.seconds / 6)
        self.stage.postgres.stop(self.rng.choice(("fast", "immediate")))
        began = monotonic()
        self._wait_for_answers(book, len(book.answered))
        sleep(self.seconds / 3)
        self._kill_and_begin_web()
        self._wait_for_answers(book, len(book.answered))
        sleep(self.seconds / 3)
        ended = monotonic()
        self.stage.postgres.begin()
        sleep(self.seconds / 6)
        return {
            "answered_in_outage": book.answered_between(began, ended),
            "outage_seconds": ended - began,
        }

    def _kill_web(self, book: Book) -> dict[str, float]:
        for _ in range(self.faults):
            sleep(self.rng.uniform(0.5, 1.5) * self.seconds / (self.faults + 1))
            before = len(book.answered)
            self._kill_and_begin_web()
            self._wait_for_answers(book, before)
        sleep(self.seconds / (self.faults + 1))
        return {"kills": self.faults}

    def _kill_drainer(self) -> dict[str, float]:
        killed = None
        for _ in range(self.faults):
            sleep(self.rng.uniform(0.5, 1.5) * self.seconds / (self.faults + 1))
            killed = wait_for_drainer(self.stage.programs["web"], other_than=killed)
            os.kill(killed, signal.SIGKILL)
        wait_for_drainer(self.stage.programs["web"], other_than=killed)
        sleep(self.seconds / (self.faults + 1))
        return {"kills": self.faults}

    def _kill_and_begin_web(self) -> None:
        kill_web(self.stage)
        start_web(self.stage, self.port)

    def _wait_for_answers(self, book: Book, before: int) -> None:
        deadline = monotonic() + _PATIENCE_SECONDS
        while len(book.answered) <= before:
            if monotonic() > deadline:
                raise StageFailed("nobody is answered any more")
            sleep(0.02)


def compare(book: Book, personal: str, rows: Counter[tuple[int, int]], counted: int) -> Account:
    """Hold the readers' book against the database.

    Args:
        personal: the campaign whose clicks are rows; those of the other one are only counted.
        rows: how often each position and link stands in the database.
        counted: what the counts of the other campaign add up to.
    """
    answered = {request[1:] for request in book.answered if request[0] == personal}
    perhaps = {request[1:] for request in book.unanswered if request[0] == personal}
    nobodys = len(book.answered) - len(answered)
    most = nobodys + len(book.unanswered) - len(perhaps)
    account = Account(
        answered=len(book.answered),
        unanswered=len(book.unanswered),
        counted=rows.total() + counted,
        lost=len(answered - rows.keys()) + max(nobodys - counted, 0),
        twice=sum(1 for times in rows.values() if times > 1),
        unexplained=len(rows.keys() - answered - perhaps) + max(counted - most, 0),
        refused=sum(book.refused.values()),
    )
    for wrong in ("lost", "twice", "unexplained", "refused"):
        if count := getattr(account, wrong):
            account.problems.append(f"{count} {wrong}")
    if book.given_up:
        account.problems.append(f"{book.given_up} connections on which no answer came")
    if book.refused:
        account.problems.append(f"other answers: {book.refused}")
    return account


def kill_web(stage: Stage) -> None:
    """SIGKILL the web process; its drainer must not outlive it for long."""
    program = stage.programs.pop("web")
    program.child.kill()
    program.child.wait()


def say_no(
    stage: Stage, port: int, mailing: Mailing, position: int
) -> tuple[list[str], dict[str, float]]:
    """Unsubscribe with PostgreSQL down, kill the web at once, begin everything again; what is wrong.

    Returns:
        Problems, and the seconds until the no was in force once everything had been begun.

    Raises:
        StageFailed: something did not come back.
    """
    assert stage.postgres is not None
    with asking(stage) as database:
        (row,) = database.execute(
            "SELECT email FROM recipients JOIN deliveries ON recipient_id = recipients.id"
            " WHERE campaign_id = %s AND position = %s",
            [mailing.campaign_id, position],
        ).fetchall()
    email = str(row[0])
    if stage.read("recipient", "show", email)["suppressed"]:
        raise StageFailed("the recipient is suppressed already")
    stage.postgres.stop("fast")
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    connection.request("POST", mailing.unsubscribe(position), b"List-Unsubscribe=One-Click", _FORM)
    status = connection.getresponse().status
    kill_web(stage)
    connection.close()
    start_web(stage, port)
    stage.postgres.begin()
    began = monotonic()
    suppressed = False
    while not suppressed and monotonic() - began < _PATIENCE_SECONDS:
        suppressed = bool(stage.read("recipient", "show", email)["suppressed"])
    problems = [] if status == 200 else [f"the no was answered with {status}"]
    if not suppressed:
        problems.append("the no was lost")
    return problems, {"status": status, "in_force_after_seconds": monotonic() - began}


def every_click(personal: Mailing, anonymous: Mailing) -> Iterator[tuple[Request, str]]:
    """Every pixel and link of every letter once, the mailings by turns.

    All letters of the anonymous one carry the same addresses, which are nobody's.
    """
    for link in (0, *personal.links):
        for position in range(1, personal.audience + 1):
            for mailing, whose in ((personal, position), (anonymous, 0)):
                path = mailing.click(whose, link) if link else mailing.open_pixel(whose)
                yield (mailing.name, position, link), path


def main() -> None:
    """Play the variants; exit 1 if a click or a no is not accounted for."""
    parser = options(__doc__, letters=30_000, rounds=1)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seconds", type=float, default=60.0, help="of reading, for each variant")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--depth", type=int, default=4, help="requests on their way on a connection")
    asked = parser.parse_args()
    measurement = begin_measurement("webchaos", asked)
    problems: list[str] = []
    with open_web_stage(asked.letters, seed=asked.seed) as stage:
        personal, anonymous = mail(stage, "spring"), mail(stage, "summer", tracking="anonymous")
        port = free_port()
        clicks = every_click(personal, anonymous)
        rng = random.Random(asked.seed)
        start_web(stage, port)
        for number in range(asked.rounds):
            for variant in asked.variant:
                if variant == "unsubscribe":
                    found, told = say_no(stage, port, personal, number + 1)
                    measurement.add_round(variant=variant, problems=found, **told)
                else:
                    played = Round(
                        *(stage, port, personal, anonymous, asked.seconds, asked.kills, rng, clicks),
                        connections=asked.connections,
                        depth=asked.depth,
                    )
                    account, told = played.play(variant)
                    found = account.problems
                    measurement.add_round(variant=variant, **asdict(account), **told)
                problems += [f"{variant}: {problem}" for problem in found]
    measurement.finish(problems=len(problems), rounds=len(measurement.rounds))
    for problem in problems:
        say(f"webchaos: {problem}")
    sys.exit(1 if problems else 0)


def _read_rows(stage: Stage, mailing: Mailing) -> Counter[tuple[int, int]]:
    with asking(stage) as database:
        rows = database.execute(
            "SELECT position, coalesce(link_number, 0), count(*) FROM tracking_events"
            " WHERE campaign_id = %s AND kind IN ('open', 'click') GROUP BY 1, 2",
            [mailing.campaign_id],
        ).fetchall()
    return Counter({(int(str(at)), int(str(link))): int(str(times)) for at, link, times in rows})


def _read_counts(stage: Stage, mailing: Mailing) -> int:
    with asking(stage) as database:
        (row,) = database.execute(
            "SELECT coalesce(sum(total), 0) FROM tracking_counts"
            " WHERE campaign_id = %s AND kind IN ('open', 'click')",
            [mailing.campaign_id],
        ).fetchall()
    return int(str(row[0]))


if __name__ == "__main__":
    main()
