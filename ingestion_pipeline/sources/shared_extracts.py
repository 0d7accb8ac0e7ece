"""Extracts that several cities share: fetched once, validated once, and read once for all of them.

The lake holds what one run leaves for others, so it does not matter in which process or on which
machine they run, or what started them:

    <lake>/extracts/<digest of the location>.json   the extract fetched from there, and its evidence
    <lake>/cuts/<day of creation>/<digest>.parquet  a city clip, until the city's run uses it

A city clip is a reading like any other. A run without one reads the whole extract and writes clips
for the other cities. They can be rebuilt, so unused ones are removed.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.datasets.provenance import code_of
from ingestion_pipeline.lake.errors import SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.frames import describe_table, read_table, write_table
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.lake.snapshots import KnownExtract
from ingestion_pipeline.osm.errors import OsmError
from ingestion_pipeline.sources.as_of import require_true_on
from ingestion_pipeline.sources.registry import SOURCES, source_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
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
"""How many days a city clip is kept for a late run."""


def sharing(city: City, day: date, *, cities: Iterable[City], settings: Settings) -> list[City]:
    """Return the other cities whose extract of the day is the same file."""
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
    """Record that the extract of a location was fetched and validated in this state."""
    lake.record_extract(location, KnownExtract(part, state, evidence))


@contextmanager
def fetching(lake: Lake, location: str, *, lock_dir: Path) -> Iterator[None]:
    """Let one run of the fleet at a time look for the extract of a location, and fetch it.

    Args:
        lake: The lake.
        location: The location; it may contain credentials.
        lock_dir: The folder of lock files of this machine.
    """
    with lake.one_at_a_time(f"fetch of extract {digest(location)}", lock_dir=lock_dir):
        yield


def known(
    lake: Lake, source: Source, day: date, *, clock: Clock, maximum_age: timedelta
) -> tuple[SnapshotEvidence, tuple[Part, ...]] | None:
    """Return the extract of a day, if another run has stored this very file in the lake.

    Args:
        lake: The lake.
        source: The city's source.
        day: The UTC day to stage.
        clock: The current time.
        maximum_age: The maximum age of current data.

    Returns:
        Its evidence and its bytes in the lake; None if it has to be fetched.

    Raises:
        WrongSnapshotDate: It is of another day.
        OsmError: Its server does not report its state.
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
    log.info("Using the extract that another run fetched and validated: %s", evidence.location)
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
        lake: The lake with the extract and the city clips.
        manifest: The city's snapshot.
        dataset: The dataset to read.
        city: The city.
        others: Cities that share the extract.
        lock_dir: The folder of lock files of this machine.
        today: The current UTC day.

    Raises:
        OsmError: It cannot be read, or lacks the boundary relation.
    """
    from ingestion_pipeline.sources import city_clip

    # Runs of the other cities wait, because this run does their work too.
    with lake.one_at_a_time(f"pass over extract {manifest.digest}", lock_dir=lock_dir):
        for day in (today, today - timedelta(days=DAYS_KEPT)):
            found = _take_clip(lake, _key(manifest, dataset, city.area, day))
            if found is not None:
                log.info("Using the city clip that another city's run made from the shared extract")
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
            if not isinstance(reading, OsmError):  # otherwise that city's own run reports it
                table, described = city_clip.to_table(reading)
                write_table(lake, _key(manifest, dataset, other.area, today), table, described)
    if isinstance(own, OsmError):
        raise own
    return own


def _key(manifest: Manifest, dataset: Dataset, area: Area, day: date) -> str:
    # A reading does not depend on a boundary file.
    window = [list(area.bbox), area.boundary_relation]
    of = [manifest.digest, dataset.selection.digest, list(code_of(dataset)), window]
    return f"cuts/{day.isoformat()}/{digest(of)}.parquet"


def _take_clip(lake: Lake, key: str) -> Reading | None:
    """Return a city clip and remove it."""
    from ingestion_pipeline.sources import city_clip

    try:
        reading = city_clip.from_table(read_table(lake, key), describe_table(lake, key))
    except (SnapshotMissing, SnapshotDamaged):
        return None
    lake.remove(key)
    return reading


def _remove_old(lake: Lake, today: date) -> None:
    oldest = (today - timedelta(days=DAYS_KEPT)).isoformat()
    for name in lake.names("cuts"):
        if name < oldest:
            lake.remove_folder(f"cuts/{name}")
