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

from sqlalchemy import Select, false, func, literal, null, select
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
from mailer.rendering.values import RecipientValues
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
from mailer.sending.redaction import Redaction, told
from mailer.sending.slots import Deciding, mark_slots, read_deciding
from mailer.sending.writer import LetterWriter
from mailer.tracking.tokens import Tokens
from recipients.models import Recipient
from recipients.segments import select_segment

RANGE = 4_000
"""Recipients read at a time: so many rows are in memory, however large the audience."""
_WORTH_A_POOL = 20_000
_MOST_PROCESSES = 4
_MOST_EXAMPLES = 5
_MOST_DISTINCT = 1_000
"""Findings told apart; what comes after them is told without its words."""
_KEPT = 10_000
"""Copies of a variant that are known to have been read."""
_TEXTS = ("name", "organisation", "workplace", "region")
_ATTRIBUTES = "attributes."
_AND_MORE = "in more ways than are told"
_FOR_SMTPUTF8 = "the address has letters before the @ that only relays with SMTPUTF8 take (RFC 6531)"
ADDRESS_SIGN = "//"
"""Without it a value holds no address."""
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
        return self.columns(*self._read(needs), Recipient.id)

    def between(self, first: int, last: int, needs: Needs) -> Select[Any]:
        """The same of one range, of a draft the suppressed as well; before the id, whether they are."""
        if self.frozen:
            chosen = self.columns(*self._read(needs), false(), Recipient.id)
        else:
            columns = (*self._read(needs), is_suppressed(), Recipient.id)
            chosen = select_segment(self.rule).with_only_columns(*columns)
        return chosen.where(self.number.between(first, last))

    def left_out(self) -> Select[int]:
        """The ids of those whom a draft's segment has and its audience has not: they are suppressed."""
        return select_segment(self.rule).where(is_suppressed())

    def _read(self, needs: Needs) -> list[Any]:
        columns = list(addressees(needs).selected_columns)
        if not self.frozen:
            columns[:3] = [self.number, literal(0), null()]
        return columns


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
    left_out: set[int] = field(default_factory=set)
    """Ids of those of a draft's segment whose letters were not looked at: they are suppressed."""

    def weigh(self, size: int) -> None:
        """Count one letter that could be written."""
        self.smallest = min(self.smallest, size) if self.letters else size
        self.largest = max(self.largest, size)
        self.letters += 1
        self.total += size

    def find(self, finding: Finding) -> None:
        """Keep what is wrong with the letter; words beyond the most that are told apart are left out."""
        if finding not in self.findings and len(self.findings) >= _MOST_DISTINCT:
            finding = replace(finding, detail=_AND_MORE)
        self.findings[finding] = None

    def count(
        self, kind: tuple[str, Gravity, str], count: int, examples: Sequence[tuple[int, str]]
    ) -> None:
        """Count what is wrong with some recipients; as with findings, so many are told apart."""
        if kind not in self.counts and len(self.counts) >= _MOST_DISTINCT:
            kind = (*kind[:2], _AND_MORE)
        self.counts[kind] = self.counts.get(kind, 0) + count
        kept = self.examples.setdefault(kind, [])
        kept += examples[: _MOST_EXAMPLES - len(kept)]

    def add(self, other: "Tally") -> None:
        """Take in what was found in other letters; their flaws are not kept."""
        if other.letters:
            self.smallest = min(self.smallest, other.smallest) if self.letters else other.smallest
        self.largest = max(self.largest, other.largest)
        self.letters += other.letters
        self.total += other.total
        self.texts |= other.texts
        self.because = self.because or other.because
        self.left_out |= other.left_out
        for finding in other.findings:
            self.find(finding)
        for kind, count in other.counts.items():
            self.count(kind, count, other.examples[kind])

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


@dataclass(slots=True)
class _Copies:
    """The copies of one variant of a letter, and which of them have been read."""

    variant: Variant
    """Kept, so that no other has its identity."""
    whole: tuple[str, ...]
    """Printed fields whose every value is read."""
    attributes: tuple[str, ...]
    """Printed attributes besides: what in them is an address stands as one in the text part."""
    read: set[tuple[object, ...]] = field(default_factory=set)

    def is_new(self, values: RecipientValues, blank: tuple[str, ...]) -> bool:
        """Whether no copy was read that is the same in all that decides what is found in it.

        Args:
            blank: the printed fields that are empty.
        """
        copy: tuple[object, ...] = blank
        if self.whole:
            copy += tuple(str(_value(values, name)) for name in self.whole)
        if self.attributes:
            copy += tuple(str(_value(values, name)) for name in self.addressed(values))
        if copy in self.read:
            return False
        if len(self.read) >= _KEPT:
            self.read.clear()
        self.read.add(copy)
        return True

    def addressed(self, values: RecipientValues) -> list[str]:
        """Those of its attributes that hold an address."""
        return [name for name in self.attributes if ADDRESS_SIGN in str(_value(values, name))]


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
        self._copies: dict[int, _Copies] = {}
        self._readers: dict[tuple[str, ...], Reader] = {}
        self._redaction = Redaction(self._letter, settings.public_url)
        self.deciding = Deciding()
        """Printed fields that decided what was found in copies so far."""

    @property
    def needs(self) -> Needs:
        """What has to be read of recipients."""
        return self._writer.needs

    def examine_range(self, database: Database, first: int, last: int) -> Tally:
        """What is wrong with the letters of one range."""
        with database.read() as db:
            rows = db.execute(self._task.audience.between(first, last, self.needs)).all()
        tally = self.examine([row for row in rows if not row[-2]])
        tally.left_out.update(row[-1] for row in rows if row[-2])
        return tally

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
        found, blank = self._look_at(to)
        try:
            size = self._weigh(tally, to, blank) + self._task.overhead
        except RecipientValueError as lacking:
            found.append(("lacking", Gravity.ERROR, told(lacking, self._letter.letter.source)))
        except LetterError as broken:
            found.append(("letter", Gravity.ERROR, told(broken, self._letter.letter.source)))
        except UnicodeError:
            found.append(
                ("address", Gravity.ERROR, "no relay could take the address: its domain is no name")
            )
        else:
            tally.weigh(size)
            if size > self._tools.settings.largest_letter:
                found.append(self._oversize(size))
        for kind in found:
            tally.count(kind, count, ((recipient, to.email),))
            if self._task.list_flaws:
                tally.flaws.append(Flaw(recipient, to.email, *kind))

    def _weigh(self, tally: Tally, to: Addressee, blank: tuple[str, ...]) -> int:
        """The bytes of one letter; one that may read as no other did is read as by its reader."""
        if self._writer.per_recipient_because is None:
            variant, size = self._writer.weigh(to)
            if variant is not None:
                copies = self._copies.get(id(variant)) or self._meet(tally, variant, to)
                if copies.is_new(to.values, blank):
                    self._read(tally, blank, read_templates(self._tools, self._letter, to))
                    if addressed := copies.addressed(to.values):
                        self.deciding |= Deciding(frozenset(addressed))
                return size
        rendered = render_letter(self._tools, self._letter, to)
        self._read(tally, blank, rendered)
        return len(write_message(self._tools, self._letter, to, rendered).data)

    def _meet(self, tally: Tally, variant: Variant, to: Addressee) -> _Copies:
        """Take note of a variant, and of what is decided by the values that its copies print."""
        use, marked = self._use_of(to), self._marked(to)
        deciding = read_deciding(marked, use)
        others = {name for name in use.slots if name.startswith(_ATTRIBUTES)} - deciding.whole
        copies = _Copies(variant, tuple(sorted(deciding.whole)), tuple(sorted(others)))
        self._copies[id(variant)] = copies
        self.deciding |= deciding
        text = f"{marked.subject}\0{marked.text}\0{marked.html}"
        tally.texts.add(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())
        return copies

    def _read(self, tally: Tally, blank: tuple[str, ...], rendered: RenderedLetter) -> None:
        """Read one as its reader would; one that says nothing has the same links as others that do."""
        reader = self._readers.get(blank)
        if reader is None:
            reader = self._readers[blank] = Reader(self._letter, self._tools.settings.public_url)
        for finding in reader.read(rendered):
            tally.find(self._redaction.of(finding))

    def _look_at(self, to: Addressee) -> tuple[list[tuple[str, Gravity, str]], tuple[str, ...]]:
        """What is odd about a recipient, whether or not the letter can be written; the empty fields."""
        found, blank = [], []
        if not to.email.isascii() and not to.email.rpartition("@")[0].isascii():
            found.append(("smtputf8", Gravity.WARNING, _FOR_SMTPUTF8))
        values = to.values
        printed, needed, holes = self._fields.get(values.language) or self._fields[DEFAULT_LANGUAGE]
        for name in printed:
            value = _value(values, name)
            if value is None or (isinstance(value, str) and (not value or value.isspace())):
                if value or name in holes:
                    blank.append(name)
                if name in needed and not self._is_lacking(name, to):
                    found.append(
                        ("empty", Gravity.WARNING, f"{name} is empty, and the letter prints it")
                    )
            elif isinstance(value, str) and (odd := oddity(name, value)):
                found.append(("odd", Gravity.WARNING, f"{name}: {odd}"))
        return found, tuple(blank)

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

    def _marked(self, to: Addressee) -> RenderedLetter:
        """The letter with marks for what is printed, and links that name nobody."""
        nobody = replace(to, position=NOBODY)
        tracked_as = tracked_position(self._letter.tracking, nobody)
        values = letter_values(self._tools, self._letter, nobody, tracked_as)
        links = replace(values.links, pass_on="…")  # noqa: S106 - an address, by region within a variant
        shown = replace(values, recipient=mark_slots(to.values, self._use_of(to)), links=links)
        return RenderedLetter(*self._letter.letter.render_parts(shown))

    def _use_of(self, to: Addressee) -> FieldUse:
        return self._uses.get(to.values.language) or self._uses[DEFAULT_LANGUAGE]


def _value(values: RecipientValues, name: str) -> object:
    """A printed field's value; None also for an attribute the recipient does not have."""
    if name.startswith(_ATTRIBUTES):
        return values.attributes.get(name.removeprefix(_ATTRIBUTES))
    return getattr(values, name)


def _fields_of(use: FieldUse) -> tuple[tuple[str, ...], frozenset[str], frozenset[str]]:
    """Which of a letter's fields may hold anything, those whose absence leaves a hole in it, and might.

    The name counts always: it stands in every letter's To.
    """
    used = {"name", *use.slots, *use.keys, *(_TEXTS if use.whole else ())}
    told = sorted(name for name in used if name in _TEXTS or name.startswith(_ATTRIBUTES))
    needed = use.slots - use.presence
    return tuple(told), needed, needed | use.keys.keys() | set(_TEXTS if use.whole else ())


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
