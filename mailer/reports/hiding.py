"""Groups too small to be shown, and nothing left from which they could be worked out.

A group of fewer than five recipients is put together with others. Of a larger one, what its people did
is hidden where fewer than five did it, or fewer than five of those who got the letter did not: then a
figure would nearly name them. (Who is registered is compared with the whole group: for that, no letter
need arrive.) Totals stand beside the groups, and a group may lie within another (an organisation within
a region, a mail domain beside its organisation), so that whoever subtracts what is shown from what it is
part of learns of the rest. The rest must therefore be no small group either, and never a single hidden
row: until that holds of every rest, further rows are hidden, the smallest first.

What is decided never depends on which dimensions somebody asked for: two reports tell no more than one.
Delivery (audience, sent, bounced) is what mail servers did and is shown for every group of five or more.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import chain
from typing import Any

from mailer.reports.nesting import NO_KINDS, Kinds
from mailer.reports.report import Dimension, Group
from mailer.reports.solving import System

FEWEST = 5
"""So many make a group."""
REST = "andre"
"""The value of the row that small groups are put together in."""
_ABOUT_THE_GROUP = ("value", "audience", "sent", "bounced", "groups")
_FOLLOWS = {"downloaded": "clicked", "registration_clicked": "clicked", "clicks": "clicked"}
"""Where the second is hidden, so is the first: it is part of it, or an upper bound."""
_KNOWN_OF_ALL = frozenset({"registered"})
"""What no tracking need tell: it is compared with everybody in the group."""
_WITHOUT_OWN_RULE = frozenset({"clicks"})
_MOST_EQUATIONS = 300
"""Beyond that, a table whose figures hang together so closely is not shown at all."""

Tables = Mapping[Dimension, Sequence[Group]]


Reachable = Mapping[Dimension, Mapping[str | None, int]]
"""Of each group, how many got the letter and may be known to have done something."""


def hide_small_groups(
    groups: Tables, kinds: Kinds = NO_KINDS, reachable: Reachable | None = None
) -> dict[Dimension, list[Group]]:
    """The tables as they may be shown: small groups merged, figures that tell too much None.

    Args:
        groups: by what recipients are; each table holds every recipient once.
        kinds: what recipients there are, which tells which groups lie within which others.
        reachable: whom what people did is compared with; without, with all who got the letter.
    """
    merged = {dimension: _merge(rows) for dimension, rows in groups.items()}
    tables = {dimension: rows for dimension, (rows, _) in merged.items()}
    members = {dimension: values for dimension, (_, values) in merged.items()}
    known = _count_reachable(tables, members, reachable)
    everybody = {dimension: [row.audience for row in rows] for dimension, rows in tables.items()}
    house = _House(members, kinds)
    hidden: dict[str, set[_Place]] = {}
    for column in _columns():
        before = hidden.get(_FOLLOWS.get(column, ""), set())
        if column in _WITHOUT_OWN_RULE:
            hidden[column] = before
        else:
            compared = everybody if column in _KNOWN_OF_ALL else known
            hidden[column] = _Column(tables, column, compared, house).hide(before)
    return {
        dimension: [
            _without(row, [column for column, places in hidden.items() if (dimension, number) in places])
            for number, row in enumerate(rows)
        ]
        for dimension, rows in tables.items()
    }


def _count_reachable(
    tables: Tables,
    members: Mapping[Dimension, Sequence[Sequence[str | None]]],
    reachable: Reachable | None,
) -> dict[Dimension, list[int]]:
    """Per row: how many got the letter and may be known."""
    if reachable is None:
        return {dimension: [row.sent for row in rows] for dimension, rows in tables.items()}
    return {
        dimension: [sum(reachable[dimension].get(value, 0) for value in values) for values in rows]
        for dimension, rows in members.items()
    }


def _without(row: Group, columns: Iterable[str]) -> Group:
    nothing: dict[str, Any] = dict.fromkeys(columns)
    return replace(row, **nothing)


def _columns() -> list[str]:
    """What people did; those that follow another come after it."""
    names = [field.name for field in fields(Group) if field.name not in _ABOUT_THE_GROUP]
    return sorted(names, key=lambda name: name in _FOLLOWS)


def _merge(rows: Sequence[Group]) -> tuple[list[Group], list[Sequence[str | None]]]:
    """The rows with the small ones put together, and the values behind each row."""
    small = [row for row in rows if row.audience < FEWEST]
    others = sorted((row for row in rows if row.audience >= FEWEST), key=lambda row: row.audience)
    if not small:
        return list(rows), [(row.value,) for row in rows]
    while others and (len(small) < 2 or sum(row.audience for row in small) < FEWEST):
        small.append(others.pop(0))
    apart = {id(row) for row in small}
    kept = [row for row in rows if id(row) not in apart]
    members: list[Sequence[str | None]] = [(row.value,) for row in kept]
    return [*kept, _sum(small)], [*members, tuple(row.value for row in small)]


def _sum(rows: Sequence[Group]) -> Group:
    """The rows as one; what is not known of them all is not known of it."""
    sums: dict[str, Any] = {}
    for field in fields(Group):
        if field.name not in {"value", "groups"}:
            counts = [getattr(row, field.name) for row in rows]
            sums[field.name] = None if None in counts else sum(counts)
    return Group(value=REST, groups=len(rows), **sums)


_Place = tuple[Dimension, int]
"""A row: its table, and its number there."""


class _House:
    """Where the rows of each table lie in the other tables."""

    def __init__(
        self, members: Mapping[Dimension, Sequence[Sequence[str | None]]], kinds: Kinds
    ) -> None:
        homes = kinds.homes()
        row_of = {
            dimension: {value: number for number, values in enumerate(rows) for value in values}
            for dimension, rows in members.items()
        }
        self._homes: dict[tuple[Dimension, Dimension], list[frozenset[int]]] = {}
        for inner, rows in members.items():
            known = homes.get(inner.value, {})
            for outer in members:
                if outer is not inner:
                    self._homes[inner, outer] = [
                        frozenset(
                            row_of[outer][home]
                            for value in values
                            for home in known.get(value, {}).get(outer.value, row_of[outer])
                        )
                        for values in rows
                    ]

        self.sizes = Counter[tuple[_Place, ...]]()
        """The kinds of people, as the rows they are in, and how many there are of each."""
        fields = [Dimension(field) for field in kinds.fields]
        for kind, size in kinds.sizes.items():
            places = zip(fields, kind, strict=True)
            self.sizes[tuple((field, row_of[field][value]) for field, value in places)] += size

    def homes(self, inner: Dimension, outer: Dimension) -> Sequence[frozenset[int]]:
        """Per row of the inner table: the rows of the outer one its people are in."""
        return self._homes[inner, outer]


@dataclass(frozen=True, slots=True)
class _Count:
    """A number of people: all, those whom the letter may tell of, and those who did something."""

    audience: int
    known: int
    did: int

    def __sub__(self, other: "_Count") -> "_Count":
        return _Count(self.audience - other.audience, self.known - other.known, self.did - other.did)

    def __add__(self, other: "_Count") -> "_Count":
        return _Count(self.audience + other.audience, self.known + other.known, self.did + other.did)

    @property
    def is_safe(self) -> bool:
        """Whether the figure may be known: nobody did it, or enough did and enough did not."""
        return not self.did or (self.did >= FEWEST and self.known - self.did >= FEWEST)


@dataclass(frozen=True, slots=True)
class _Whole:
    """What rows of a table are subtracted from: rows of another table taken together, or everybody."""

    count: _Count
    inside: Sequence[int]
    """Rows of the inner table that lie within it."""
    rows: Sequence[_Place]
    """The rows it is made of; none for everybody."""
    is_shown: bool
    """Whether it is one shown row, and could be hidden itself."""


class _Column:
    """One figure of all tables, and which of it is hidden."""

    def __init__(
        self, tables: Tables, column: str, known: Mapping[Dimension, Sequence[int]], house: _House
    ) -> None:
        self._house = house
        self._counts = {
            dimension: [
                _Count(row.audience, reachable, getattr(row, column))
                for row, reachable in zip(rows, known[dimension], strict=True)
            ]
            for dimension, rows in tables.items()
            if rows and all(getattr(row, column) is not None for row in rows)
        }
        self._hidden: set[_Place] = set()

    def hide(self, before: Iterable[_Place]) -> set[_Place]:
        """The rows to hide, those before among them."""
        for dimension, counts in self._counts.items():
            for number, count in enumerate(counts):
                if not count.is_safe or count.audience < FEWEST:
                    self._hide((dimension, number))
        for place in before:
            self._hide(place)
        while (
            self._hide_what_can_be_subtracted()
            or self._hide_what_can_be_solved()
            or self._hide_what_all_tables_tell()
        ):
            pass
        return self._hidden

    def _hide(self, place: _Place) -> bool:
        """Hide a row, unless it is everybody: that figure stands in the totals."""
        counts = self._counts.get(place[0])
        if counts is None or place in self._hidden:
            return False
        if len(counts) == 1 and counts[0].audience >= FEWEST:
            return False
        self._hidden.add(place)
        return True

    def _hide_what_can_be_subtracted(self) -> bool:
        before = len(self._hidden)
        for dimension in self._counts:
            for whole in list(self._wholes(dimension)):
                if not (whole.is_shown and whole.rows[0] in self._hidden):
                    self._make_safe(dimension, whole)
        return len(self._hidden) > before

    def _make_safe(self, inner: Dimension, whole: _Whole) -> None:
        """Hide rows until what is left, when what is shown is subtracted, tells of no small group."""
        counts = self._counts[inner]
        away = [number for number in whole.inside if (inner, number) in self._hidden]
        shown = [number for number in whole.inside if (inner, number) not in self._hidden]
        if whole.is_shown and not away and not shown:
            return  # nothing is subtracted
        left = whole.count - _sum_of(counts[number] for number in shown)
        for number in sorted(shown, key=lambda number: (counts[number].audience, number)):
            if _may_be_left(left, [counts[each] for each in away[:2]]):
                return
            if self._hide((inner, number)):
                away.append(number)
                left += counts[number]
        if _may_be_left(left, [counts[each] for each in away[:2]]):
            return
        if whole.is_shown:
            self._hide(whole.rows[0])
        elif whole.rows:  # hidden together they become another whole
            outer = whole.rows[0][0]
            self._hide_smallest(outer, range(len(self._counts[outer])))

    def _wholes(self, inner: Dimension) -> Iterator[_Whole]:
        """Everything whose figure is known and of which rows of this table are part."""
        counts = self._counts[inner]
        yield _Whole(_sum_of(counts), range(len(counts)), (), is_shown=False)
        for outer, around in self._counts.items():
            if outer is inner:
                continue
            homes = self._house.homes(inner, outer)
            away = frozenset(number for number in range(len(around)) if (outer, number) in self._hidden)
            parts = [frozenset({number}) for number in range(len(around)) if number not in away]
            parts += [away] if away else []
            for part, inside in _with_what_lies_inside(parts, homes):
                yield _Whole(
                    _sum_of(around[number] for number in part),
                    inside,
                    [(outer, number) for number in sorted(part)],
                    is_shown=len(part) == 1 and part != away,
                )

    def _hide_smallest(self, dimension: Dimension, numbers: Iterable[int]) -> bool:
        counts = self._counts[dimension]
        shown = [number for number in numbers if (dimension, number) not in self._hidden]
        return bool(shown) and self._hide(
            (dimension, min(shown, key=lambda number: (counts[number].audience, number)))
        )

    def _hide_what_can_be_solved(self) -> bool:
        """Look at all that is known of a table's hidden rows together (Gauss)."""
        before = len(self._hidden)
        for inner, counts in self._counts.items():
            sums = self._known_sums(inner)
            if len(sums) > _MOST_EQUATIONS:
                for number in range(len(counts)):
                    self._hide((inner, number))
                continue
            for numbers in _solvable(sums):
                count = _sum_of(counts[number] for number in numbers)
                if len(numbers) == 1 or not count.is_safe:
                    self._hide_beside(inner, numbers)
        return len(self._hidden) > before

    def _hide_what_all_tables_tell(self) -> bool:
        """Look at all that is shown together, down to kinds of people."""
        before = len(self._hidden)
        everybody = next((_sum_of(counts) for counts in self._counts.values()), _Count(0, 0, 0))
        if not self._hidden or everybody.did in {0, everybody.audience}:
            return False  # the totals tell everything, or there is nothing to tell
        inside: dict[_Place, set[int]] = {}
        for number, places in enumerate(self._house.sizes):
            for place in places:
                inside.setdefault(place, set()).add(number)
        sizes = list(self._house.sizes.values())
        shown = [
            (dimension, number)
            for dimension, counts in self._counts.items()
            for number in sorted(range(len(counts)), key=lambda number: counts[number].audience)
            if (dimension, number) not in self._hidden
        ]
        sums = [(inside.get(place, set()), self._counts[place[0]][place[1]].did) for place in shown]
        system = System(sizes, [*sums, (range(len(sizes)), everybody.did)])
        for place in sorted(self._hidden):
            cells = inside.get(place, set())
            if len(cells) in {0, len(sizes)} or not system.tells(cells):
                continue
            beside = [each for each in shown if cells & inside[each]] or shown
            for each in beside:
                if self._hide(each):
                    break
        return len(self._hidden) > before

    def _known_sums(self, inner: Dimension) -> set[frozenset[int]]:
        """The sets of hidden rows whose sum is known exactly."""
        sums = set()
        counts = self._counts[inner]
        for whole in self._wholes(inner):
            away = frozenset(number for number in whole.inside if (inner, number) in self._hidden)
            held = sum(counts[number].audience for number in whole.inside)
            if away and held == whole.count.audience:
                sums.add(away)
        return sums

    def _hide_beside(self, inner: Dimension, numbers: Iterable[int]) -> None:
        """Hide one more row beside these, in the narrowest place where there is one."""
        wanted = set(numbers)
        around = [whole for whole in self._wholes(inner) if wanted <= set(whole.inside)]
        for whole in sorted(around, key=lambda whole: whole.count.audience):
            if self._hide_smallest(inner, whole.inside):
                return
            if whole.is_shown and self._hide(whole.rows[0]):
                return


def _may_be_left(left: _Count, away: Sequence[_Count]) -> bool:
    """Whether a difference may be known: of nobody, or of a group of five with a safe figure.

    Args:
        away: the hidden rows that are part of what is left, or the first two of them.
    """
    if not left.audience:
        return True
    if away and not left.did:
        return False
    if len(away) == 1 and left.audience == away[0].audience:
        return False
    return left.audience >= FEWEST and left.is_safe


def _sum_of(counts: Iterable[_Count]) -> _Count:
    audience = known = did = 0
    for count in counts:
        audience, known, did = audience + count.audience, known + count.known, did + count.did
    return _Count(audience, known, did)


def _with_what_lies_inside(
    parts: Sequence[frozenset[int]], homes: Sequence[frozenset[int]]
) -> Iterator[tuple[frozenset[int], list[int]]]:
    """The parts of a table, each with the inner rows that lie in it alone.

    Parts that inner rows lie across are given once more as one, since together they hold them whole.
    """
    part_of = {number: nth for nth, part in enumerate(parts) for number in part}
    touched = [{part_of[number] for number in rows} for rows in homes]
    tied = list(range(len(parts)))

    def root(nth: int) -> int:
        while tied[nth] != nth:
            tied[nth] = tied[tied[nth]]
            nth = tied[nth]
        return nth

    alone: list[list[int]] = [[] for _ in parts]
    for number, nths in enumerate(touched):
        first, *others = sorted(nths)
        if not others:
            alone[first].append(number)
        for other in others:
            tied[root(other)] = root(first)
    yield from zip(parts, alone, strict=True)
    together: dict[int, list[int]] = {}
    for nth in range(len(parts)):
        together.setdefault(root(nth), []).append(nth)
    inside: dict[int, list[int]] = {}
    for number, nths in enumerate(touched):
        inside.setdefault(root(min(nths)), []).append(number)
    for head, nths_together in together.items():
        if 1 < len(nths_together) < len(parts):
            whole = frozenset(chain.from_iterable(parts[nth] for nth in nths_together))
            yield whole, inside.get(head, [])


def _solvable(sums: Iterable[frozenset[int]]) -> list[list[int]]:
    """The sets of unknowns whose sum follows from these; those that always go together are one."""
    equations = sorted(sums, key=sorted)
    alike: dict[tuple[int, ...], list[int]] = {}
    for unknown in sorted(set(chain.from_iterable(equations))):
        signature = tuple(place for place, members in enumerate(equations) if unknown in members)
        alike.setdefault(signature, []).append(unknown)
    rows = [
        {nth: Fraction(1) for nth, signature in enumerate(alike) if place in signature}
        for place in range(len(equations))
    ]
    classes = list(alike.values())
    return [classes[next(iter(row))] for row in _reduced(rows) if len(row) == 1]


def _reduced(rows: list[dict[int, Fraction]]) -> list[dict[int, Fraction]]:
    """The reduced row echelon form, rows of nothing left out."""
    done: list[tuple[int, dict[int, Fraction]]] = []
    for row in rows:
        left = dict(row)
        for pivot, known in done:
            _subtract(left, known, left.get(pivot, Fraction(0)))
        if not left:
            continue
        pivot = min(left)
        scale = left[pivot]
        left = {place: value / scale for place, value in left.items()}
        for _, known in done:
            _subtract(known, left, known.get(pivot, Fraction(0)))
        done.append((pivot, left))
    return [row for _, row in done]


def _subtract(row: dict[int, Fraction], other: Mapping[int, Fraction], times: Fraction) -> None:
    if times:
        for place, value in other.items():
            rest = row.get(place, Fraction(0)) - times * value
            if rest:
                row[place] = rest
            else:
                row.pop(place, None)
