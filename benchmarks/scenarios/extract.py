"""An extract to classified rows, beside osm2pgsql, pyrosm and osmnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from benchmarks import peers
from benchmarks.harness import Comparison, Contender, Values, measure, process, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.inputs import Input

TITLE = "Extract to normalized, classified rows"
LARGE = (25_000, 100_000, 1_000_000)
RENAMED = 100_000
RATIOS = ("wall s", "peak MB")


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare on the sample; in full on all real extracts and on large ones too."""
    inputs = bench.inputs
    yield _comparison(bench, inputs.sample())
    if not bench.full:
        return
    for extract in inputs.real():
        yield _comparison(bench, extract)
    merged = inputs.merged()
    yield _comparison(bench, merged, _osmnx(bench, merged))
    for pois in LARGE:
        yield _comparison(bench, inputs.large(pois))
    yield _comparison(bench, inputs.large(RENAMED, renamed=True))


def _comparison(bench: Bench, extract: Input, *others: Contender) -> Comparison:
    ours = process("ours", program("extract_to_frame", extract.path))
    pyrosm = process(
        "pyrosm get_pois",
        program("peer_pyrosm", extract.path),
        missing=peers.missing_package("pyrosm"),
    )
    return Comparison(extract, [ours, _osm2pgsql(bench, extract), pyrosm, *others], RATIOS)


def _osmnx(bench: Bench, extract: Input) -> Contender:
    missing = peers.missing_package("osmnx")
    command = [] if missing else program("peer_osmnx", bench.inputs.xml(extract))
    return process("osmnx features_from_xml", command, missing=missing)


def _osm2pgsql(bench: Bench, extract: Input) -> Contender:
    """Load the same selection into PostGIS, with its GiST index."""

    def run() -> Values:
        url = bench.new_database()
        style = bench.new_folder() / "poi.lua"
        style.write_text(peers.osm2pgsql_style(), encoding="utf-8")
        options = ["--create", "--output=flex", f"--style={style}", f"--database={url}"]
        values = bench.with_server(lambda: measure(["osm2pgsql", *options, extract.path]))
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT count(*) FROM poi")).scalar_one()
        engine.dispose()
        return values | {"rows": rows}

    missing = peers.missing_program("osm2pgsql") or peers.missing_postgresql()
    return Contender("osm2pgsql flex, loaded", run, missing)
