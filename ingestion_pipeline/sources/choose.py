"""Which source a city's data comes from, and calling it.

Belongs here: choosing between Overpass and extracts by the city and the settings, before anything
is asked of the network. Does not belong here: how a source works (`sources/overpass/client.py`,
`sources/pbf/extract.py`).
"""

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
    """Tell where a city's data comes from."""
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
    caller_retries: bool = False,
) -> Acquisition:
    """Get the raw bytes of a city-day from the city's source.

    Args:
        city: The city.
        day: The UTC day.
        selection: Which objects to ask for; an extract holds all there are.
        settings: Addresses of the sources.
        clock: The time, and the way to wait.
        workdir: An empty local folder for the bytes.
        histories: See `OverpassClient.acquire`.
        caller_retries: See `OverpassClient`.

    Raises:
        OverpassNotConfigured: The city needs OVERPASS_URL; nothing was sent.
        ExtractNotConfigured: The city needs an extract.
        OsmError: The source has no acceptable data; see `osm/errors.py`.
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
            caller_retries=caller_retries,
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
    """Read the selected objects out of raw bytes of either source.

    Args:
        obtained: The source.
        paths: The files.
        area: The city's area.
        selection: Which objects.
        origin: Where an extract is from, for messages: its file in the lake is named by a digest.

    Raises:
        OsmError: They cannot be read, or the boundary relation is not in them.
    """
    if obtained == "overpass":
        from ingestion_pipeline.sources.overpass import client as overpass

        return overpass.read(paths, area=area, selection=selection)
    from ingestion_pipeline.sources.pbf import extract

    (path,) = paths
    return extract.read(path, area=area, selection=selection, origin=origin)


def overpass_url(city: City, settings: Settings) -> str:
    """Return the address of the Overpass server that the city comes from.

    Raises:
        OverpassNotConfigured: OVERPASS_URL is not set.
    """
    if settings.overpass_url is None:
        raise OverpassNotConfigured(
            f"{city.slug} comes from Overpass and OVERPASS_URL is not set; set it to the "
            "interpreter of a server that you may use, or give the city an "
            "extract in the cities file"
        )
    return settings.overpass_url.get_secret_value()


def extract_template(city: City, settings: Settings) -> str:
    """Return the template of the location of the city's extracts.

    Raises:
        ExtractNotConfigured: Neither the city nor OSM_EXTRACT names one.
    """
    template = city.osm_extract or settings.osm_extract
    if template is None:
        raise ExtractNotConfigured(
            f"{city.slug} comes from an extract and names none, and OSM_EXTRACT is not set; give "
            "the city an osm_extract in the cities file, or set OSM_EXTRACT"
        )
    return template


def extract_location(city: City, day: date, settings: Settings) -> str:
    """Return the location of the city's extract of a day.

    Raises:
        ExtractNotConfigured: There is no template, or it cannot be filled in.
    """
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
    caller_retries: bool,
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
            caller_retries=caller_retries,
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
