"""Every letter of a campaign written and looked at, range by range, in several processes."""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from multiprocessing.connection import wait
from typing import Any

from sqlalchemy import Select, func, literal, null, select
from sqlalchemy.orm import Session

from mailer.campaigns.audience import is_suppressed
from mailer.campaigns.models import Delivery, DeliveryState
from mailer.foundation.database import Database, open_database
from mailer.foundation.settings import Settings
from mailer.rendering.compiled import Variant, read_uses
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.rendering.fields import FieldUse
from mailer.rendering.letter import Letter, RenderedLetter
from mailer.rendering.source import DEFAULT_LANGUAGE
from mailer.rendering.values import Attributes, RecipientValues
from mailer.sending.addressees import NOBODY, Addressee, Needs, addressees, read_addressee
from mailer.sending.findings import Example, Finding, Flaw, Gravity, masked
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import (
    LetterTools,
    letter_values,
    read_templates,
    render_letter,
    tracked_position,
    write_message,
)
from mailer.sending.oddities import oddity
from mailer.sending.reading import Reader
from mailer.sending.redaction import redact
from mailer.sending.writer import LetterWriter
from mailer.tracking.tokens import Tokens
from recipients.models import Recipient
from recipients.segments import select_segment

RANGE = 4_000
"""Recipients read at a time: so many rows are in memory, however large the audience."""
_WORTH_A_POOL = 20_000
_MOST_PROCESSES = 4
_MOST_EXAMPLES = 5
_TEXTS = ("name", "organisation", "workplace")
_ATTRIBUTES = "attributes."
TOO_LARGE_BYTES = 10_000_000
"""Most mail servers take no more (RFC 1870 lets each say how much it takes)."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Whose letters are examined, as plain values that another process can take."""

    campaign_id: int
    rule: str | None
    """The segment's; None is everybody."""
    frozen: bool
    """Whether the campaign is launched: then it is its pending deliveries."""

    def columns(self, *columns: Any) -> Select[Any]:
        """These columns of the recipients, and of their deliveries once the campaign is launched."""
        if not self.frozen:
            return select_segment(self.rule).with_only_columns(*columns).where(~is_suppressed())
        joined = select(*columns).join_from(Delivery, Recipient, Recipient.id == Delivery.recipient_id)
        return joined.where(
            Delivery.campaign_id == self.campaign_id, Delivery.state == DeliveryState.PENDING
        )

    @property
    def number(self) -> Any:
        """By what the audience is read in ranges: positions once frozen, else recipients' ids."""
        return Delivery.position if self.frozen else Recipient.id

    def reading(self, needs: Needs) -> Select[Any]:
        """The columns of ``addressees``, and the recipient's id behind them."""
        columns = list(addressees(needs).selected_columns)
        if not self.frozen:
            columns[:3] = [self.number, literal(0), null()]
        return self.columns(*columns, Recipient.id)

    def between(self, first: int, last: int, needs: Needs) -> Select[Any]:
        """The same of one range."""
        return self.reading(needs).where(self.number.between(first, last))


@dataclass(slots=True)
class Tally:
    """What was found in some of the letters."""

    letters: int = 0
    """Those that could be written."""
    total: int = 0
    """Bytes of all of them."""
    smallest: int = 0
    largest: int = 0
    findings: dict[Finding, None] = field(default_factory=dict)
    """What is wrong with the letter, in the order in which it was found."""
    counts: dict[tuple[str, Gravity, str], int] = field(default_factory=dict)
    """What is wrong with recipients: check, gravity and words."""
    examples: dict[tuple[str, Gravity, str], list[tuple[int, str]]] = field(default_factory=dict)
    """A few ids and addresses of each."""
    flaws: list[Flaw] = field(default_factory=list)
    """All of them, where somebody asked."""
    texts: set[bytes] = field(default_factory=set)
    """A digest of each of the letter's variants."""
    because: str | None = None
    """Why it is rendered per recipient; None if it is compiled."""

    def weigh(self, size: int) -> None:
        """Count one letter that could be written."""
        self.smallest = min(self.smallest, size) if self.letters else size
        self.largest = max(self.largest, size)
        self.letters += 1
        self.total += size

    def add(self, other: "Tally") -> None:
        """Take in what was found in other letters; their flaws are not kept."""
        if other.letters:
            self.smallest = min(self.smallest, other.smallest) if self.letters else other.smallest
        self.largest = max(self.largest, other.largest)
        self.letters += other.letters
        self.total += other.total
        self.findings |= other.findings
        self.texts |= other.texts
        self.because = self.because or other.because
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
            kept = self.examples.setdefault(kind, [])
            kept += other.examples[kind][: _MOST_EXAMPLES - len(kept)]

    def about_recipients(self, *, show: bool) -> Iterator[Finding]:
        """What is wrong with recipients, most frequent first.

        Args:
            show: whether examples carry whole addresses.
        """
        for (check, gravity, detail), count in sorted(self.counts.items(), key=lambda item: -item[1]):
            shown = [
                Example(number, address if show else masked(address))
                for number, address in self.examples[check, gravity, detail]
            ]
            yield Finding(check, gravity, detail, count, tuple(shown))

    def errors(self) -> list[Finding]:
        """The errors among them, without examples."""
        return [
            replace(finding, examples=())
            for finding in self.about_recipients(show=False)
            if finding.gravity is Gravity.ERROR
        ]


@dataclass(frozen=True, slots=True)
class Task:
    """Everything a process needs to examine ranges; it can be pickled."""

    settings: Mapping[str, Any]
    folders: tuple[Any, ...]
    letter: Mapping[str, Any]
    """The fields of a ``CampaignLetter``, its source in place of its templates."""
    audience: Audience
    overhead: int
    """Bytes of the signatures, which are not made here: they cost more than the letters."""
    list_flaws: bool
    too_large_bytes: int


def seal(
    tools: LetterTools,
    letter: CampaignLetter,
    audience: Audience,
    *,
    overhead: int,
    list_flaws: bool,
    too_large_bytes: int = TOO_LARGE_BYTES,
) -> Task:
    """What another process needs to examine this letter."""
    settings = {name: getattr(tools.settings, name) for name in type(tools.settings).model_fields}
    values = {each.name: getattr(letter, each.name) for each in fields(letter)}
    values["letter"] = letter.letter.source
    return Task(settings, tools.folders, values, audience, overhead, list_flaws, too_large_bytes)


def split_audience(db: Session, audience: Audience, size: int = RANGE) -> list[tuple[int, int, int]]:
    """Ranges of about the same size: first, last, and how many; together the whole audience."""
    place = (func.row_number().over(order_by=audience.number) - 1) // size
    ids = audience.columns(audience.number.label("id"), place.label("range")).subquery()
    grouped = select(func.min(ids.c.id), func.max(ids.c.id), func.count()).group_by(ids.c.range)
    return [
        (first, last, count) for first, last, count in db.execute(grouped.order_by(func.min(ids.c.id)))
    ]


def examine_all(
    task: Task,
    database: Database,
    ranges: Sequence[tuple[int, int, int]],
    *,
    processes: int | None = None,
) -> Iterator[Tally]:
    """What was found in each range, in order.

    Args:
        processes: how many work at it; by default one for few letters, else as many as there are cores.
    """
    total = sum(count for _, _, count in ranges)
    if processes is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        processes = min(cores, _MOST_PROCESSES) if total > _WORTH_A_POOL else 1
    if processes == 1:
        examiner = Examiner(task)
        yield from (examiner.examine_range(database, first, last) for first, last, _ in ranges)
        return
    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=spawning, initializer=_begin, initargs=(task,))
    try:
        yield from pool.map(_examine, [(first, last) for first, last, _ in ranges])
    finally:
        pool.shutdown(cancel_futures=True)


class Examiner:
    """Writes letters as the sender would, and looks at each."""

    def __init__(self, task: Task) -> None:
        """Read the letter and how it uses its recipients."""
        settings = Settings.model_construct(**{**task.settings, "dkim": None})
        source = task.letter["letter"]
        self._letter = CampaignLetter(**{**task.letter, "letter": Letter(source)})
        self._tools = LetterTools(settings, Tokens(settings.signing_keys), task.folders)
        self._task = task
        self._writer = LetterWriter(self._tools, self._letter)
        self._uses = read_uses(source)
        self._fields = {language: _fields_of(use) for language, use in self._uses.items()}
        self._variants: dict[int, Variant] = {}
        self._reader = Reader(self._letter, settings.public_url)

    @property
    def needs(self) -> Needs:
        """What has to be read of recipients."""
        return self._writer.needs

    def examine_range(self, database: Database, first: int, last: int) -> Tally:
        """What is wrong with the letters of one range."""
        with database.read() as db:
            rows = db.execute(self._task.audience.between(first, last, self.needs)).all()
        return self.examine(rows)

    def examine(
        self, rows: Iterable[Sequence[Any]], stands_for: Mapping[int, int] | None = None
    ) -> Tally:
        """What is wrong with these letters.

        Args:
            rows: as ``Audience.reading`` has them.
            stands_for: by recipient, how many get a letter like theirs; each counts for one without.
        """
        tally = Tally()
        for row in rows:
            recipient = row[-1]
            count = 1 if stands_for is None else stands_for[recipient]
            self._examine_one(tally, read_addressee(row), recipient, count)
        tally.because = self._writer.per_recipient_because
        return tally

    def _examine_one(self, tally: Tally, to: Addressee, recipient: int, count: int) -> None:
        found = list(self._flaws_of(to))
        try:
            size = self._weigh(tally, to) + self._task.overhead
        except RecipientValueError as lacking:
            found.append(("lacking", Gravity.ERROR, str(lacking)))
        except LetterError as broken:
            found.append(("letter", Gravity.ERROR, redact(str(broken), to)))
        except UnicodeError as unfit:
            found.append(("address", Gravity.ERROR, f"no relay could take the address: {unfit}"))
        else:
            tally.weigh(size)
            if size > self._tools.settings.largest_letter:
                found.append(self._oversize(size))
        for flaw in found:
            self._note(tally, to, recipient, flaw, count)

    def _weigh(self, tally: Tally, to: Addressee) -> int:
        """The bytes of one letter; each variant, and each rendered alone, is read as by its reader."""
        if self._writer.per_recipient_because is None:
            variant, size = self._writer.weigh(to)
            if variant is not None:
                if id(variant) not in self._variants:
                    self._variants[id(variant)] = variant
                    self._read(tally, to, read_templates(self._tools, self._letter, to))
                    tally.texts.add(self._digest(to))
                return size
        rendered = render_letter(self._tools, self._letter, to)
        self._read(tally, to, rendered)
        return len(write_message(self._tools, self._letter, to, rendered).data)

    def _read(self, tally: Tally, to: Addressee, rendered: RenderedLetter) -> None:
        for finding in self._reader.read(rendered):
            tally.findings[replace(finding, detail=redact(finding.detail, to))] = None

    def _flaws_of(self, to: Addressee) -> Iterator[tuple[str, Gravity, str]]:
        """What is odd about a recipient, whether or not the letter can be written."""
        if not to.email.isascii() and not to.email.rpartition("@")[0].isascii():
            yield (
                "smtputf8",
                Gravity.WARNING,
                "the address has letters before the @ that only relays with SMTPUTF8 take (RFC 6531)",
            )
        values = to.values
        printed, needed = self._fields.get(values.language) or self._fields[DEFAULT_LANGUAGE]
        for name in printed:
            value = (
                values.attributes.get(name.removeprefix(_ATTRIBUTES))
                if name.startswith(_ATTRIBUTES)
                else getattr(values, name)
            )
            if value is None or value == "":
                if name in needed and not self._is_lacking(name, to):
                    yield "empty", Gravity.WARNING, f"{name} is empty, and the letter prints it"
            elif isinstance(value, str) and (odd := oddity(name, value)):
                yield "odd", Gravity.WARNING, f"{name}: {odd}"

    def _is_lacking(self, name: str, to: Addressee) -> bool:
        """Whether it is an attribute the recipient does not even have: such a letter is not written."""
        key = name.removeprefix(_ATTRIBUTES)
        return key != name and key not in to.values.attributes

    def _oversize(self, size: int) -> tuple[str, Gravity, str]:
        if size > self._task.too_large_bytes:
            most = self._task.too_large_bytes / 1e6
            return "size", Gravity.ERROR, f"the letter is larger than {most:.0f} MB"
        limit = self._tools.settings.largest_letter
        return (
            "size",
            Gravity.WARNING,
            f"the letter is larger than {limit / 1000:.0f} KB: mail clients cut it off",
        )

    def _digest(self, to: Addressee) -> bytes:
        """What tells the variants of the letter apart, in every process alike."""
        nobody = replace(to, position=NOBODY)
        tracked_as = tracked_position(self._letter.tracking, nobody)
        values = letter_values(self._tools, self._letter, nobody, tracked_as)
        links = replace(values.links, pass_on="…")  # noqa: S106 - an address, by region within a variant
        shown = replace(values, recipient=self._anybody_like(to), links=links)
        text = "\0".join(self._letter.letter.render_parts(shown))
        return blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()

    def _anybody_like(self, to: Addressee) -> RecipientValues:
        """What the templates see of somebody who gets the same variant, whatever is only printed."""
        values, plain = to.values, dict[str, Any]()
        attributes = Attributes(values.attributes)
        for name in self._use_of(to).slots:
            if name.startswith(_ATTRIBUTES):
                key = name.removeprefix(_ATTRIBUTES)
                attributes[key] = "…" if attributes.get(key) else attributes.get(key)
            elif getattr(values, name):
                plain[name] = "…"
        return replace(values, attributes=attributes, **plain)

    def _use_of(self, to: Addressee) -> FieldUse:
        return self._uses.get(to.values.language) or self._uses[DEFAULT_LANGUAGE]

    def _note(
        self, tally: Tally, to: Addressee, recipient: int, kind: tuple[str, Gravity, str], count: int
    ) -> None:
        tally.counts[kind] = tally.counts.get(kind, 0) + count
        examples = tally.examples.setdefault(kind, [])
        if len(examples) < _MOST_EXAMPLES:
            examples.append((recipient, to.email))
        if self._task.list_flaws:
            tally.flaws.append(Flaw(recipient, to.email, *kind))


def _fields_of(use: FieldUse) -> tuple[tuple[str, ...], frozenset[str]]:
    """Which of a letter's fields may hold anything, and those whose absence leaves a hole in it.

    The name counts always: it stands in every letter's To.
    """
    used = {"name", *use.slots, *use.keys, *(_TEXTS if use.whole else ())}
    told = sorted(name for name in used if name in _TEXTS or name.startswith(_ATTRIBUTES))
    return tuple(told), use.slots - use.presence


def _begin(task: Task) -> None:
    """Prepare a process of the pool; it ends with the one that began it, and leaves Ctrl-C to it."""
    global _examine_here  # noqa: PLW0603 - what a pool's process knows of its task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    database_url = Settings.model_construct(**task.settings).database
    _examine_here = functools.partial(Examiner(task).examine_range, open_database(database_url))


_examine_here: Callable[[int, int], Tally] | None = None


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _examine(numbers: tuple[int, int]) -> Tally:
    assert _examine_here is not None
    return _examine_here(*numbers)
