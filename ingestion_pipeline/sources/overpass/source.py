"""Overpass as a source of a city's data.

Belongs here: the settings of a client, and the protocol. Does not belong here: how a server is
asked (`client.py`).
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from ingestion_pipeline.osm.errors import OverpassNotConfigured
from ingestion_pipeline.sources.base import Offer, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from pathlib import Path

    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.selection import Selection
    from ingestion_pipeline.sources.base import Acquisition, Asked
    from ingestion_pipeline.staging.upstream import Server


class OverpassSource(Source):
    """An Overpass server."""

    kind = "overpass"

    def offer(self, day: date, *, current: bool) -> Offer:
        """Return what a server can give, without asking it."""
        try:
            server = self.location(day)
        except OverpassNotConfigured as error:
            return Offer("none", str(error))
        if current:
            return Offer("current data", f"asks {server}")
        return Offer(
            "history", f"asks {server} for the day's end; it refuses if it keeps no history"
        )

    def location(self, day: date) -> str:  # noqa: ARG002 - a server has all days
        """Return the address of the server, without credentials.

        Raises:
            OverpassNotConfigured: OVERPASS_URL is not set, or is no URL.
        """
        from ingestion_pipeline.sources.overpass.client import endpoint_of

        return endpoint_of(self._url()).public

    def server(self, day: date) -> Server | None:  # noqa: ARG002 - a server has all days
        """Return the server; None if it is not configured."""
        from ingestion_pipeline.sources.overpass.client import endpoint_of
        from ingestion_pipeline.staging.upstream import Server

        with suppress(OverpassNotConfigured):
            return Server(self.kind, endpoint_of(self._url()).server)
        return None

    def acquire(self, day: date, asked: Asked) -> Acquisition:
        """Get the raw bytes of a day; see `OverpassClient.acquire`."""
        url = self._url()
        import httpx

        from ingestion_pipeline.sources.overpass.client import OverpassClient

        contact = self._settings.overpass_contact or "no contact given"
        with httpx.Client() as http:
            client = OverpassClient(
                url=url,
                http=http,
                clock=asked.clock,
                gate=asked.gate,
                user_agent=f"ingestion-pipeline/{version('ingestion-pipeline')} ({contact})",
                caller_retries=asked.caller_retries,
            )
            return client.acquire(
                self._city.area,
                day=day,
                maximum_age=self._city.maximum_age,
                workdir=asked.workdir,
                selection=asked.selection,
                histories=asked.histories,
            )

    @staticmethod
    def read(
        paths: Sequence[Path],
        *,
        areas: Sequence[Area],
        selection: Selection,
        origin: str,  # noqa: ARG004 - an answer names itself
    ) -> Iterable[Reading]:
        """Read answers, which are of one area."""
        from ingestion_pipeline.sources.overpass import client

        (area,) = areas
        return [client.read(paths, area=area, selection=selection)]

    def _url(self) -> str:
        if self._settings.overpass_url is None:
            raise OverpassNotConfigured(
                f"{self._city.slug} uses Overpass, and OVERPASS_URL is not set. Set it to the "
                "interpreter of a server that you may use, or give the city an extract in the "
                "cities file."
            )
        return self._settings.overpass_url.get_secret_value()
