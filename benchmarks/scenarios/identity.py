"""Features that are gone and the new ones that replace them: how long the matcher takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import Comparison, process, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

TITLE = "Matching a residue of two days"
NUMBER, LARGE = 1_000, 10_000


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare places all over a city with as many in one block; in full with more places too."""
    for number in (NUMBER, *((LARGE,) if bench.full else ())):
        rows = bench.inputs.rows(number)
        contenders = [
            process("in a city", program("match", rows.path, str(number), "city")),
            process("in one block", program("match", rows.path, str(number), "block")),
        ]
        # In a block each place has all the others as candidates.
        yield Comparison(rows, contenders if number == NUMBER else contenders[:1], ("match s",))
