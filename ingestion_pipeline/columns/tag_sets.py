"""The tags of many objects, with equal sets held once.

Belongs here: that container. Does not belong here: what tags mean (`taxonomy.py`, `text/`).

Most objects of a city share their tags with others: benches, bus stops, waste baskets. What follows
from the tags alone is worked out once for each set of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class TagSets(Sequence[dict[str, str]]):
    """The tags of N objects; the i-th object's are `sets[set_of[i]]`.

    Attributes:
        sets: K dictionaries, exactly as upstream. Nobody may change them.
        set_of: (N,) positions in `sets`.
    """

    sets: Sequence[dict[str, str]]
    set_of: npt.NDArray[np.int64]

    @classmethod
    def of(cls, tags: Iterable[dict[str, str]]) -> Self:
        """Hold the tags of objects, equal ones once; the order of the keys tells none apart."""
        place: dict[frozenset[tuple[str, str]], int] = {}
        sets: list[dict[str, str]] = []
        seen: dict[int, int] = {}  # the very same dictionary need not be looked at again
        each_of: list[int] = []
        for each in (tags := list(tags)):
            found = seen.get(id(each))
            if found is None:
                found = place.setdefault(frozenset(each.items()), len(sets))
                seen[id(each)] = found
                if found == len(sets):
                    sets.append(each)
            each_of.append(found)
        return cls(sets, np.array(each_of, dtype=np.int64))

    @classmethod
    def joined(cls, parts: Iterable[TagSets]) -> Self:
        """Put the objects of several containers after one another."""
        parts = list(parts)
        offsets = np.cumsum([0, *(len(part.sets) for part in parts)])
        return cls(
            [each for part in parts for each in part.sets],
            np.concatenate(
                [
                    np.empty(0, dtype=np.int64),
                    *(part.set_of + offset for part, offset in zip(parts, offsets, strict=False)),
                ]
            ),
        )

    def take(self, rows: npt.NDArray[Any]) -> TagSets:
        """Give the objects at `rows` (integers, or a mask), in that order, and their sets alone."""
        set_of = self.set_of[rows]
        is_used = np.zeros(len(self.sets), dtype=np.bool_)
        is_used[set_of] = True
        used = np.flatnonzero(is_used)
        index = np.cumsum(is_used) - 1
        return TagSets([self.sets[each] for each in used.tolist()], index[set_of])

    def __len__(self) -> int:
        """Give N."""
        return len(self.set_of)

    @overload
    def __getitem__(self, row: int) -> dict[str, str]: ...

    @overload
    def __getitem__(self, row: slice) -> TagSets: ...

    def __getitem__(self, row: int | slice) -> dict[str, str] | TagSets:
        """Give the tags of one object, or of several."""
        if isinstance(row, slice):
            return TagSets(self.sets, self.set_of[row])
        position: int = self.set_of[row]
        return self.sets[position]
