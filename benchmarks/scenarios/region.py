"""Cities that share a regional extract: one pass for all of them, beside one city's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import Comparison, process, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

TITLE = "Cities out of one regional extract"
CITIES = 8
LARGE = 100_000


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare on the sample; in full on a region of eight copies of the merged extract."""
    extract = bench.inputs.large(LARGE) if bench.full else bench.inputs.sample()
    size = "large" if bench.full else "sample"

    yield Comparison(
        extract,
        [
            process("one city", program("region", extract.path, "1", "together", size)),
            process(
                f"{CITIES} cities, one pass",
                program("region", extract.path, str(CITIES), "together", size),
            ),
            process(
                f"{CITIES} cities, a pass each",
                program("region", extract.path, str(CITIES), "apart", size),
            ),
        ],
    )
