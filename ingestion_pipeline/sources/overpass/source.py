"""Overpass as a source of a city's data.

Belongs here: the settings of a client, and the protocol. Does not belong here: how a server is
asked (`client.py`).
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

from ingestion_pipeline.osm.errors import OsmError, OverpassNotConfigured
from ingestion_pipeline.sources.base import Offer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.selection import Selection
    from ingestion_pipeline.sources.base import Acquisition


class OverpassSource:
    """An Overpass server; see `sources.base.Source`."""

    kind: ClassVar[str] = "overpass"
    shared: ClassVar[bool] = False

    def __init__(self, city: City, settings: Settings) -> None:
        """Prepare; nothing is sent yet."""
        self._city = city
        self._settings = settings

    def offer(self, day: date, *, current: bool) -> Offer:  # noqa: ARG002 - of the protocol
        """Return what a server can give, without asking it."""
        from ingestion_pipeline.sources.overpass.client import endpoint_of

        try:
            server = endpoint_of(self._url()).public
        except OverpassNotConfigured as error:
            return Offer("none", str(error))
        if current:
            return Offer("current data", f"asks {server}")
        return Offer(
            "history", f"asks {server} for the day's end; it refuses if it keeps no history"
        )

    def location(self, day: date) -> str:  # noqa: ARG002 - of the protocol
        """Return the address of the server.

        Raises:
            OverpassNotConfigured: OVERPASS_URL is not set, or is no URL.
        """
        from ingestion_pipeline.sources.overpass.client import endpoint_of

        return endpoint_of(self._url()).public

    def state(self, day: date) -> str | None:  # noqa: ARG002 - of the protocol
        """Return None: an answer is of one city."""
        return None

    def acquire(
        self,
        day: date,
        *,
        selection: Selection,
        clock: Clock,
        workdir: Path,
        histories: Mapping[str, str] | None = None,
    ) -> Acquisition:
        """Get the raw bytes of a day; see `OverpassClient.acquire`."""
        url = self._url()
        import httpx

        from ingestion_pipeline.sources.overpass.client import OverpassClient

        contact = self._settings.overpass_contact or "no contact given"
        with httpx.Client() as http:
            client = OverpassClient(
                url=url,
                http=http,
                clock=clock,
                lock_dir=self._settings.state_dir / "locks",
                user_agent=f"ingestion-pipeline/{version('ingestion-pipeline')} ({contact})",
            )
            return client.acquire(
                self._city.area,
                day=day,
                maximum_age=self._city.maximum_age,
                workdir=workdir,
                selection=selection,
                histories=histories,
            )

    @staticmethod
    def read(
        paths: Sequence[Path],
        *,
        areas: Sequence[Area],
        selection: Selection,
        origin: str,  # noqa: ARG004 - of the protocol
    ) -> Iterator[Reading | OsmError]:
        """Read answers, which are of one area."""
        from ingestion_pipeline.sources.overpass import client

        (area,) = areas
        yield client.read(paths, area=area, selection=selection)

    @staticmethod
    def coverage_of(path: Path) -> None:
        """Return None: an answer is of the area that was asked for."""

    def _url(self) -> str:
        if self._settings.overpass_url is None:
            raise OverpassNotConfigured(
                f"{self._city.slug} comes from Overpass and OVERPASS_URL is not set; set it to the "
                "interpreter of a server that you may use (docs/operations.md), or give the city "
                "an extract in the cities file"
            )
        return self._settings.overpass_url.get_secret_value()
