"""The tags of many objects, with equal sets stored once.

Most objects of a city share their tags with others: benches, bus stops, waste baskets. Values that
depend on the tags alone are computed once for each set.
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
    """The tags of N objects; those of object i are `sets[set_of[i]]`.

    Attributes:
        sets: K dictionaries, exactly as upstream. Must not be changed.
        set_of: (N,) positions in `sets`.
    """

    sets: Sequence[dict[str, str]]
    set_of: npt.NDArray[np.int64]

    @classmethod
    def of(cls, tags: Iterable[dict[str, str]]) -> Self:
        """Return the tags of objects, equal sets once; the order of keys does not matter."""
        place: dict[frozenset[tuple[str, str]], int] = {}
        sets: list[dict[str, str]] = []
        seen: dict[int, int] = {}  # each dictionary is compared once
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
        """Return the objects of several containers, one container after the other."""
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
        """Return the objects at `rows` (integers or a mask), in that order, and only their sets."""
        set_of = self.set_of[rows]
        is_used = np.zeros(len(self.sets), dtype=np.bool_)
        is_used[set_of] = True
        used = np.flatnonzero(is_used)
        index = np.cumsum(is_used) - 1
        return TagSets([self.sets[each] for each in used.tolist()], index[set_of])

    def __len__(self) -> int:
        """Return N."""
        return len(self.set_of)

    @overload
    def __getitem__(self, row: int) -> dict[str, str]: ...

    @overload
    def __getitem__(self, row: slice) -> TagSets: ...

    def __getitem__(self, row: int | slice) -> dict[str, str] | TagSets:
        """Return the tags of one object or of several."""
        if isinstance(row, slice):
            return TagSets(self.sets, self.set_of[row])
        position: int = self.set_of[row]
        return self.sets[position]
