"""The source of a city's data, chosen by the city and the settings, and calls of that source."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from ingestion_pipeline.osm.errors import ExtractNotConfigured, OverpassNotConfigured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from ingestion_pipeline.config.cities import City, OsmSource
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.selection import Selection
    from ingestion_pipeline.sources.base import Acquisition


def source_of(city: City, settings: Settings) -> OsmSource:
    """Return the source of a city's data."""
    return city.osm_source or settings.osm_source


def acquire(
    city: City,
    day: date,
    *,
    selection: Selection,
    settings: Settings,
    clock: Clock,
    workdir: Path,
    histories: Mapping[str, str] | None = None,
) -> Acquisition:
    """Acquire the raw bytes of a city-day from the city's source.

    Args:
        city: The city.
        day: The UTC day.
        selection: The objects to query; an extract contains all.
        settings: Addresses of the sources.
        clock: The time, and waiting.
        workdir: An empty local folder for the bytes.
        histories: See `OverpassClient.acquire`.

    Raises:
        OverpassNotConfigured: The city needs OVERPASS_URL; nothing was sent.
        ExtractNotConfigured: The city needs an extract.
        OsmError: The source has no usable data; see `osm/errors.py`.
    """
    if source_of(city, settings) == "overpass":
        return _acquire_from_overpass(
            city,
            day,
            selection=selection,
            settings=settings,
            clock=clock,
            workdir=workdir,
            histories=histories,
        )
    return _acquire_from_extract(city, day, settings=settings, clock=clock, workdir=workdir)


def read(
    obtained: OsmSource,
    paths: Sequence[Path],
    *,
    area: Area,
    selection: Selection,
    origin: str,
) -> Reading:
    """Read the selected objects from raw bytes of either source.

    Args:
        obtained: The source.
        paths: The files.
        area: The city's area.
        selection: The objects to select.
        origin: The location of an extract, for messages: its file in the lake is named by a digest.

    Raises:
        OsmError: They cannot be read, or lack the boundary relation.
    """
    if obtained == "overpass":
        from ingestion_pipeline.sources.overpass import client as overpass

        return overpass.read(paths, area=area, selection=selection)
    from ingestion_pipeline.sources.pbf import extract

    (path,) = paths
    return extract.read(path, area=area, selection=selection, origin=origin)


def overpass_url(city: City, settings: Settings) -> str:
    """Return the URL of the city's Overpass server."""
    if settings.overpass_url is None:
        raise OverpassNotConfigured(
            f"{city.slug} uses Overpass, but OVERPASS_URL is not set. Set it to the interpreter of "
            "a server that you may use (docs/operations.md), or give the city an extract in the "
            "cities file."
        )
    return settings.overpass_url.get_secret_value()


def extract_template(city: City, settings: Settings) -> str:
    """Return the template of the location of the city's extracts."""
    template = city.osm_extract or settings.osm_extract
    if template is None:
        raise ExtractNotConfigured(
            f"{city.slug} uses an extract, but has no osm_extract and OSM_EXTRACT is not set. Give "
            "the city an osm_extract in the cities file, or set OSM_EXTRACT."
        )
    return template


def extract_location(city: City, day: date, settings: Settings) -> str:
    """Return the location of the city's extract of a day."""
    from ingestion_pipeline.sources.pbf import extract

    return extract.resolve(extract_template(city, settings), region=city.osm_region, day=day)


def _acquire_from_overpass(
    city: City,
    day: date,
    *,
    selection: Selection,
    settings: Settings,
    clock: Clock,
    workdir: Path,
    histories: Mapping[str, str] | None,
) -> Acquisition:
    url = overpass_url(city, settings)
    import httpx

    from ingestion_pipeline.sources.overpass.client import OverpassClient

    contact = settings.overpass_contact or "no contact given"
    with httpx.Client() as http:
        client = OverpassClient(
            url=url,
            http=http,
            clock=clock,
            lock_dir=settings.state_dir / "locks",
            user_agent=f"ingestion-pipeline/{version('ingestion-pipeline')} ({contact})",
        )
        return client.acquire(
            city.area,
            day=day,
            maximum_age=city.maximum_age,
            workdir=workdir,
            selection=selection,
            histories=histories,
        )


def _acquire_from_extract(
    city: City, day: date, *, settings: Settings, clock: Clock, workdir: Path
) -> Acquisition:
    from ingestion_pipeline.sources.pbf import extract

    return extract.acquire(
        extract_location(city, day, settings),
        day=day,
        clock=clock,
        maximum_age=city.maximum_age,
        workdir=workdir,
    )
