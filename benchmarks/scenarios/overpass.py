"""An Overpass answer to classified rows, beside osm2geojson and osmnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.harness import Comparison, process, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.inputs import Input

TITLE = "Overpass JSON to normalized, classified rows"
LARGE = 100_000


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare on the sample; in full on the merged extract and on a large one too."""
    yield _comparison(bench, bench.inputs.sample())
    if bench.full:
        yield _comparison(bench, bench.inputs.merged())
        yield _comparison(bench, bench.inputs.large(LARGE))
        yield _comparison(bench, bench.inputs.large(LARGE, renamed=True))


def _comparison(bench: Bench, extract: Input) -> Comparison:
    answer, recursed = bench.inputs.overpass(extract)
    contenders = [
        process("ours", program("overpass_to_frame", answer.path)),
        process(
            "osm2geojson json2geojson",
            program("peer_osm2geojson", answer.path),
            missing=peers.missing_package("osm2geojson"),
        ),
        process(
            "osmnx",
            program("peer_osmnx", recursed),
            missing=peers.missing_package("osmnx"),
        ),
    ]
    return Comparison(answer, contenders, ("wall s", "peak MB"))
