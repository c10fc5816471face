"""What follows from sums of numbers that are known: numbers that must be so, whatever the others are."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

_PRIME = 2**61 - 1
"""Reckoning is modulo this: quick, and exact for all but one system in billions of billions."""

_MOST_TIMES = 60
"""A small whole number; many fractions become one when taken so many times at most."""
_MOST_ROUNDS = 10
"""Bounds narrow each other in a few rounds, or step by step for ever."""

Row = dict[int, int]
"""Number of an unknown, and how many times it is taken."""


class System:
    """Unknown whole numbers, each from nought to its most, of which some sums are known."""

    def __init__(self, most: Sequence[int], sums: Iterable[tuple[Collection[int], int]]) -> None:
        self._fixed: dict[int, int] = {}
        """Unknowns that can be but one number."""
        self._most = most
        self._low, self._high = [0] * len(most), list(most)
        """Between which numbers each unknown must lie."""
        self._pivots: dict[int, tuple[Row, int]] = {}
        known = sorted(sums, key=lambda known: len(known[0]))
        while True:
            before = len(self._fixed)
            self._eliminate(known)
            rows = [(dict.fromkeys(unknowns, 1), total) for unknowns, total in known]
            rows += [_in_whole_numbers(row, total) for row, total in self._pivots.values()]
            for _ in range(_MOST_ROUNDS):
                if not any([self._narrow(row, total) for row, total in rows]):  # noqa: C419 - all of them
                    break
            self._narrow_differences(known)
            if len(self._fixed) == before:
                return

    def tells(self, unknowns: Iterable[int]) -> bool:
        """Whether the sum of these follows from what is known."""
        return not self._reduce(dict.fromkeys(unknowns, 1), 0)[0]

    def _eliminate(self, known: Iterable[tuple[Collection[int], int]]) -> None:
        self._pivots = {}
        for unknowns, total in known:
            row, left = self._reduce(dict.fromkeys(unknowns, 1), total)
            if row:
                pivot = min(row)
                scale = pow(row[pivot], -1, _PRIME)
                self._pivots[pivot] = (
                    {number: times * scale % _PRIME for number, times in row.items()},
                    left * scale % _PRIME,
                )

    def _reduce(self, row: Row, total: int) -> tuple[Row, int]:
        """The sum without fixed unknowns and pivots."""
        total -= sum(self._fixed[number] for number in row if number in self._fixed)
        left = {number: times for number, times in row.items() if number not in self._fixed}
        waiting = list(left)
        while waiting:
            number = waiting.pop()
            times = left.get(number, 0)
            if not times or number not in self._pivots:
                continue
            other, worth = self._pivots[number]
            total = (total - times * worth) % _PRIME
            for each, often in other.items():
                rest = (left.get(each, 0) - times * often) % _PRIME
                if rest:
                    left[each] = rest
                    waiting.append(each)
                else:
                    left.pop(each, None)
        return left, total

    def _narrow(self, row: Mapping[int, int], total: int) -> bool:
        """Narrow the unknowns of a sum by what the others leave for each; whether any was."""
        ends = []
        for number, often in row.items():
            one, other = often * self._low[number], often * self._high[number]
            ends.append((number, often, min(one, other), max(one, other)))
        least, highest = sum(each[2] for each in ends), sum(each[3] for each in ends)
        narrowed = False
        for number, often, low, high in ends:
            part = (total - (highest - high), total - (least - low))
            one, other = part if often > 0 else part[::-1]
            lowest = max(self._low[number], -(-one // often))
            most = min(self._high[number], other // often)
            if (lowest, most) == (self._low[number], self._high[number]) or lowest > most:
                continue
            self._low[number], self._high[number] = lowest, most
            narrowed = True
            if lowest == most:
                self._fixed[number] = lowest
        return narrowed

    def _narrow_differences(self, known: Sequence[tuple[Collection[int], int]]) -> None:
        """Narrow what two sums that share unknowns tell when one is subtracted from the other."""
        free: list[set[int]] = []
        sums_of: dict[int, list[int]] = {}
        for nth, (unknowns, _) in enumerate(known):
            free.append({number for number in unknowns if number not in self._fixed})
            for number in free[nth]:
                sums_of.setdefault(number, []).append(nth)
        left = [
            total - sum(self._fixed.get(number, 0) for number in unknowns) for unknowns, total in known
        ]
        most = [sum(self._most[number] for number in unknowns) for unknowns in free]
        shared = Counter[tuple[int, int]]()
        for number, nths in sums_of.items():
            for pair in combinations(nths, 2):
                shared[pair] += self._most[number]
        for (one, other), both in shared.items():
            difference = left[one] - left[other]
            if difference in {most[one] - both, both - most[other]}:
                row = dict.fromkeys(free[one] - free[other], 1)
                self._narrow(row | dict.fromkeys(free[other] - free[one], -1), difference)


def _in_whole_numbers(row: Row, total: int) -> tuple[Row, int]:
    """The sum so many times that every number in it is taken a small whole number of times.

    What is taken half a time is, modulo the prime, taken very often, and tells nothing of bounds. A sum
    of other fractions is left out.
    """
    for times in range(1, _MOST_TIMES + 1):
        whole = {number: _signed(often * times) for number, often in row.items()}
        if all(abs(often) <= _MOST_TIMES for often in whole.values()):
            return whole, _signed(total * times)
    return {}, 0


def _signed(number: int) -> int:
    """The number nearest to nought that is the same modulo the prime."""
    return (number + _PRIME // 2) % _PRIME - _PRIME // 2
