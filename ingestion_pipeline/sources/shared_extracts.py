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
"""How many days a city clip is kept for a late run."""


def sharing(city: City, day: date, *, cities: Iterable[City], settings: Settings) -> list[City]:
    """Return the other cities whose extract of the day is the same file."""
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
        return None  # that city's own run reports it


def keep(lake: Lake, location: str, state: str, evidence: Evidence, part: Part) -> None:
    """Record that the extract of a location was fetched and validated in this state."""
    assert evidence.coverage is not None  # set for every extract
    lake.keep_extract(
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
    """Return the extract of a location, if another run has stored this very file in the lake.

    Args:
        lake: The lake.
        location: A path or URL.
        day: The UTC day to stage.
        clock: The current time.
        maximum_age: The maximum age of current data.

    Returns:
        Its evidence and its bytes in the lake; None if it has to be fetched.

    Raises:
        WrongSnapshotDate: It is of another day.
        OsmError: Its server does not report its state.
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
    log.info("Using the extract that another run fetched and validated: %s", found.location)
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
    from ingestion_pipeline.sources.pbf import extract

    # Runs of the other cities wait, because this run does their work too.
    with one_at_a_time(f"pass over extract {manifest.digest}", lock_dir=lock_dir):
        for day in (today, today - timedelta(days=DAYS_KEPT)):
            found = _take_clip(lake, _key(manifest, dataset, city.area, day))
            if found is not None:
                log.info("Using the city clip that another city's run made from the shared extract")
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
            if not isinstance(reading, OsmError):  # otherwise that city's own run reports it
                table, described = city_clip.to_table(reading)
                write_frame(lake, _key(manifest, dataset, other.area, today), table, described)
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
        reading = city_clip.from_table(read_frame(lake, key), describe_frame(lake, key))
    except (SnapshotMissing, SnapshotDamaged):
        return None
    lake.remove(key)
    return reading


def _remove_old(lake: Lake, today: date) -> None:
    oldest = (today - timedelta(days=DAYS_KEPT)).isoformat()
    for name in lake.names("cuts"):
        if name < oldest:
            lake.remove(f"cuts/{name}")
