"""Extracts that several cities share: fetched once, proved once, and read once for all of them.

Belongs here: finding out that another city's run has done the work already, and leaving it for the
next. Does not belong here: the work itself (`pbf/extract.py`), keeping bytes (`lake/`), and
which source a city has (`registry.py`).

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
from typing import TYPE_CHECKING

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.core.file_lock import one_at_a_time
from ingestion_pipeline.datasets.provenance import code_of
from ingestion_pipeline.lake.errors import SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.frames import describe_table, read_table, write_table
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.lake.snapshots import KnownExtract
from ingestion_pipeline.osm.errors import OsmError
from ingestion_pipeline.sources.as_of import require_true_on
from ingestion_pipeline.sources.registry import SOURCES, source_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.core.evidence import SnapshotEvidence
    from ingestion_pipeline.datasets.base import Dataset
    from ingestion_pipeline.lake.snapshots import Lake, Manifest, Part
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.sources.base import Source

log = logging.getLogger(__name__)

DAYS_KEPT = 1
"""How many days after its own a cut is kept for a run that is late."""


def sharing(city: City, day: date, *, cities: Iterable[City], settings: Settings) -> list[City]:
    """List the other cities whose extract of the day is the very same file."""
    location = _location(city, day, settings)
    return [
        other
        for other in cities
        if other.slug != city.slug
        and location is not None
        and _location(other, day, settings) == location
    ]


def _location(city: City, day: date, settings: Settings) -> str | None:
    source = source_for(city, settings)
    if not source.shared:
        return None
    try:
        return source.location(day)
    except OsmError:
        return None  # that city's own run reports it


def keep(lake: Lake, location: str, state: str, evidence: SnapshotEvidence, part: Part) -> None:
    """Record that the extract of a location was fetched in this state, and checked."""
    lake.record_extract(location, KnownExtract(part, state, evidence))


def known(
    lake: Lake, source: Source, day: date, *, clock: Clock, maximum_age: timedelta
) -> tuple[SnapshotEvidence, tuple[Part, ...]] | None:
    """Return the extract of a day, if another run has brought the same file to the lake.

    Args:
        lake: Where it would be.
        source: Where it would be fetched from.
        day: The UTC day that it would stand for.
        clock: Tells the current moment.
        maximum_age: How old current data may be.

    Returns:
        Its evidence and its bytes in the lake; None where it has to be fetched.

    Raises:
        WrongSnapshotDate: It shows another time than the day.
        OsmError: Its server does not say in what state it is.
    """
    found = lake.known_extract(source.location(day))
    if found is None or found.state != source.state(day):
        return None
    evidence = found.evidence
    require_true_on(
        day,
        as_of=evidence.as_of,
        now=clock.now(),
        maximum_age=maximum_age,
        origin=f"extract {evidence.location}",
    )
    log.info("Use the extract that another run fetched and checked: %s", evidence.location)
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

    # Runs of the other cities would only do the same work beside this one.
    with one_at_a_time(f"pass over extract {manifest.digest}", lock_dir=lock_dir):
        for day in (today, today - timedelta(days=DAYS_KEPT)):
            found = _taken(lake, _key(manifest, dataset, city.area, day))
            if found is not None:
                log.info("Another city's run has cut this city out of the shared extract already")
                return found
        with scratch_folder() as folder:
            (part,) = manifest.parts
            own, *rest = SOURCES[manifest.obtained].read(
                [lake.restore(part, folder)],
                areas=[each.area for each in (city, *others)],
                selection=dataset.selection,
                origin=manifest.location,
            )
        _remove_old(lake, today)
        for other, reading in zip(others, rest, strict=True):
            if not isinstance(reading, OsmError):  # else that city's own run will say so
                table, described = cut.to_table(reading)
                write_table(lake, _key(manifest, dataset, other.area, today), table, described)
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
        reading = cut.from_table(read_table(lake, key), describe_table(lake, key))
    except (SnapshotMissing, SnapshotDamaged):
        return None
    lake.remove(key)
    return reading


def _remove_old(lake: Lake, today: date) -> None:
    oldest = (today - timedelta(days=DAYS_KEPT)).isoformat()
    for name in lake.names("cuts"):
        if name < oldest:
            lake.remove(f"cuts/{name}")
