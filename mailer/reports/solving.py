"""What follows from sums of numbers that are known: numbers that must be so, whatever the others are."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

_PRIME = 2**61 - 1
"""Reckoning is modulo this: quick, and exact for all but one system in billions of billions."""

Row = dict[int, int]
"""Number of an unknown, and how many times it is taken."""


class System:
    """Unknown whole numbers, each from nought to its most, of which some sums are known."""

    def __init__(self, most: Sequence[int], sums: Iterable[tuple[Collection[int], int]]) -> None:
        self._fixed: dict[int, int] = {}
        """Unknowns that can only be nought or the most they may be, since a sum is."""
        self._most = most
        self._pivots: dict[int, tuple[Row, int]] = {}
        known = sorted(sums, key=lambda known: len(known[0]))
        while True:
            before = len(self._fixed)
            self._eliminate(known)
            for unknowns, total in known:
                self._fix(dict.fromkeys(unknowns, 1), total)
            for row, total in self._pivots.values():
                self._fix(row, total)
            self._fix_differences(known)
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

    def _fix(self, row: Mapping[int, int], total: int) -> None:
        """Fix the unknowns of a sum that is as small, or as large, as it can be."""
        times = {number: _signed(often) for number, often in row.items()}
        left = _signed(total - sum(self._fixed.get(n, 0) * often for n, often in times.items()))
        free = {number: often for number, often in times.items() if number not in self._fixed}
        least = sum(often * self._most[number] for number, often in free.items() if often < 0)
        highest = sum(often * self._most[number] for number, often in free.items() if often > 0)
        if left in {least, highest}:
            for number, often in free.items():
                is_nought = (often > 0) == (left == least)
                self._fixed[number] = 0 if is_nought else self._most[number]

    def _fix_differences(self, known: Sequence[tuple[Collection[int], int]]) -> None:
        """Fix what two sums that share unknowns tell when one is subtracted from the other."""
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
                self._fix(row | dict.fromkeys(free[other] - free[one], -1), difference)


def _signed(number: int) -> int:
    """The number nearest to nought that is the same modulo the prime."""
    return (number + _PRIME // 2) % _PRIME - _PRIME // 2
