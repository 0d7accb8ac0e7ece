"""Extracts that several cities share: fetched once, proved once, and read once for all of them.

Belongs here: finding out that another city's run has done the work already, and leaving it for the
next. Does not belong here: the work itself (`pbf/extract.py`), keeping bytes (`lake/`), and
which source a city has (`choose.py`).

What is left for other runs lies in the lake, so it makes no difference which process or machine
they are in, nor whether a schedule, a backfill or a person started them:

    <lake>/extracts/<digest of the location>.json   what was fetched from there, and its proofs
    <lake>/cuts/<day of making>/<digest>.parquet    a city's part of an extract, until its run comes

A cut is a reading like any other; whoever finds none makes the pass and leaves one for each of the
other cities. Nothing is lost with a cut, so those that nobody has come for are removed.
"""

from __future__ import annotations

import logging
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, cast

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.core.evidence import Coverage
from ingestion_pipeline.core.file_lock import one_at_a_time
from ingestion_pipeline.datasets.provenance import code_of
from ingestion_pipeline.lake.errors import SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.frames import describe_frame, read_frame, write_frame
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.lake.snapshots import KnownExtract
from ingestion_pipeline.osm.errors import ExtractNotConfigured, OsmError
from ingestion_pipeline.sources.as_of import require_true_on
from ingestion_pipeline.sources.choose import extract_location, source_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.core.evidence import Evidence
    from ingestion_pipeline.datasets.registry import Dataset
    from ingestion_pipeline.lake.snapshots import Lake, Manifest, Part
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.features import Reading

log = logging.getLogger(__name__)

DAYS_KEPT = 1
"""How many days after its own a cut is kept for a run that is late."""


def sharing(city: City, day: date, *, cities: Iterable[City], settings: Settings) -> list[City]:
    """List the other cities whose extract of the day is the very same file."""
    location = extract_location(city, day, settings)
    return [
        other
        for other in cities
        if other.slug != city.slug and _location(other, day, settings) == location
    ]


def _location(city: City, day: date, settings: Settings) -> str | None:
    if source_of(city, settings) != "extract":
        return None
    try:
        return extract_location(city, day, settings)
    except ExtractNotConfigured:
        return None  # that city's own run will say so


def keep(lake: Lake, location: str, state: str, evidence: Evidence, part: Part) -> None:
    """Leave word that the extract of a location has been fetched in this state, and proved."""
    assert evidence.coverage is not None  # an extract's evidence has it
    lake.record_extract(
        location,
        KnownExtract(
            part=part,
            state=state,
            as_of=evidence.as_of,
            as_of_source=evidence.as_of_source,
            location=evidence.location,
            licence=evidence.licence,
            attribution=evidence.attribution,
            coverage=evidence.coverage,
        ),
    )


def known(
    lake: Lake, location: str, *, day: date, clock: Clock, maximum_age: timedelta
) -> tuple[Evidence, tuple[Part, ...]] | None:
    """Return the extract of a location, if another run has brought just this file to the lake.

    Args:
        lake: Where it would be.
        location: A path or URL.
        day: The UTC day that it would stand for.
        clock: Tells the current moment.
        maximum_age: How old current data may be.

    Returns:
        Its evidence and its bytes in the lake; None where it has to be fetched.

    Raises:
        WrongSnapshotDate: It shows another time than the day.
        OsmError: Its server does not say in what state it is.
    """
    from ingestion_pipeline.core.evidence import Evidence
    from ingestion_pipeline.sources.pbf import extract

    found = lake.known_extract(location)
    if found is None or found.state != extract.state_of(location):
        return None
    require_true_on(
        day,
        as_of=found.as_of,
        now=clock.now(),
        maximum_age=maximum_age,
        origin=f"extract {found.location}",
    )
    log.info("The extract is the one that another run has fetched and proved: %s", found.location)
    evidence = Evidence(
        as_of=found.as_of,
        as_of_source=cast("Any", found.as_of_source),
        obtained="extract",
        location=found.location,
        query=None,
        licence=found.licence,
        attribution=found.attribution,
        coverage=Coverage(*cast("Any", found.coverage)),
    )
    return evidence, (found.part,)


def read(
    lake: Lake,
    manifest: Manifest,
    dataset: Dataset,
    city: City,
    others: Sequence[City],
    *,
    lock_dir: Path,
    today: date,
) -> Reading:
    """Read a city's part of an extract that it shares with others.

    Args:
        lake: Where the extract is, and the cuts.
        manifest: The city's snapshot.
        dataset: What is read of it.
        city: The city.
        others: Those that share the extract.
        lock_dir: The folder of lock files of this machine.
        today: The current UTC day.

    Raises:
        OsmError: It cannot be read, or the boundary relation is not in it.
    """
    from ingestion_pipeline.sources import city_clip as cut
    from ingestion_pipeline.sources.pbf import extract

    # Runs of the other cities would only do the same work beside this one.
    with one_at_a_time(f"pass over extract {manifest.digest}", lock_dir=lock_dir):
        for day in (today, today - timedelta(days=DAYS_KEPT)):
            found = _taken(lake, _key(manifest, dataset, city.area, day))
            if found is not None:
                log.info("Another city's run has cut this city out of the shared extract already")
                return found
        with scratch_folder() as folder:
            (part,) = manifest.parts
            own, *rest = extract.read_each(
                lake.restore(part, folder),
                areas=[each.area for each in (city, *others)],
                selection=dataset.selection,
                origin=manifest.location,
            )
        _remove_old(lake, today)
        for other, reading in zip(others, rest, strict=True):
            if not isinstance(reading, OsmError):  # else that city's own run will say so
                table, described = cut.to_table(reading)
                write_frame(lake, _key(manifest, dataset, other.area, today), table, described)
    if isinstance(own, OsmError):
        raise own
    return own


def _key(manifest: Manifest, dataset: Dataset, area: Area, day: date) -> str:
    # A boundary file is no part of a reading.
    window = [list(area.bbox), area.boundary_relation]
    of = [manifest.digest, dataset.selection.digest, list(code_of(dataset)), window]
    return f"cuts/{day.isoformat()}/{digest(of)}.parquet"


def _taken(lake: Lake, key: str) -> Reading | None:
    """Return a cut, and remove it: its city has come for it."""
    from ingestion_pipeline.sources import city_clip as cut

    try:
        reading = cut.from_table(read_frame(lake, key), describe_frame(lake, key))
    except (SnapshotMissing, SnapshotDamaged):
        return None
    lake.remove(key)
    return reading


def _remove_old(lake: Lake, today: date) -> None:
    oldest = (today - timedelta(days=DAYS_KEPT)).isoformat()
    for name in lake.names("cuts"):
        if name < oldest:
            lake.remove(f"cuts/{name}")
