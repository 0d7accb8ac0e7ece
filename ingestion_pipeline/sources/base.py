"""The interface of a source of OpenStreetMap data, and the values that it takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from ingestion_pipeline.osm.selection import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime
    from pathlib import Path

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.core.evidence import Coverage, SnapshotEvidence
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.errors import OsmError
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.selection import AnyOf, Selection
    from ingestion_pipeline.sources.gate import Gate
    from ingestion_pipeline.staging.upstream import Server

Way = Literal["staged", "snapshot", "dated extract", "history", "current data", "none"]
"""The evidence for staging a day, the cheapest first. `staged`: already staged from equal inputs.
"""


@dataclass(frozen=True)
class Offer:
    """The data that a source has for a day, as far as is known without a request.

    Attributes:
        way: The kind of evidence.
        words: Its origin; for `none`, the reason and what to do.
    """

    way: Way
    words: str


@dataclass(frozen=True)
class RawPart:
    """One file of raw bytes, as upstream sent them (after HTTP decompression), without user names.

    Attributes:
        path: Local file.
        query: The query sent to get it, or None for a file.
        requested_at: The time of the request (UTC).
        received_at: The time when its last byte arrived (UTC).
        sha256: The digest of the validated bytes, if another program may be writing the file; None
            if only this process can.
    """

    path: Path
    query: str | None
    requested_at: datetime
    received_at: datetime
    sha256: str | None = None


@dataclass(frozen=True)
class Acquisition:
    """Raw bytes that passed every check of their source, with their evidence.

    Attributes:
        parts: One part for an extract; one for each quarter of the bbox from Overpass, in order.
        evidence: The date and the origin of the data; the same for all parts.
    """

    parts: tuple[RawPart, ...]
    evidence: SnapshotEvidence


@dataclass(frozen=True)
class Asked:
    """The request to a source, and its dependencies.

    Attributes:
        selection: The selection of objects; a shared file contains all objects.
        clock: The clock, which also waits.
        workdir: An empty local folder for the bytes.
        gate: Admits requests to upstream.
        histories: By the location of a server, an earlier proof that its history reaches back to
            the end of the day.
        caller_retries: Whether the caller waits and retries if a server is busy.
    """

    selection: Selection | AnyOf
    clock: Clock
    workdir: Path
    gate: Gate
    histories: Mapping[str, str] = field(default_factory=dict)
    caller_retries: bool = False


class Source(ABC):
    """The source of a city's data. Its constructor sends no request.

    Attributes:
        kind: The name in the cities file, in settings and in evidence (`obtained`).
        shared: Whether its data covers an area that is independent of the city. Several cities may
            share such data, and its coverage of a city must be checked.
    """

    kind: ClassVar[str]
    shared: ClassVar[bool] = False

    def __init__(self, city: City, settings: Settings) -> None:
        """Create the source of a city; the settings have the locations of sources."""
        self._city = city
        self._settings = settings

    @abstractmethod
    def offer(self, day: date, *, current: bool) -> Offer:
        """Return the data that is available for a UTC day, without a request to upstream.

        Args:
            day: The day.
            current: Whether it is the current day.
        """

    @abstractmethod
    def location(self, day: date) -> str:
        """Return the location of a day's data; it may contain credentials.

        Raises:
            OsmError: The source is not configured.
        """

    def server(self, day: date) -> Server | None:  # noqa: ARG002 - used by sources with a server
        """Return the server that a day's data is requested from, as its requests are counted.

        Returns:
            None if no request is counted.
        """
        return None

    def state(self, day: date) -> str | None:  # noqa: ARG002 - used by shared sources
        """Return an identifier of the current state of a shared file, without fetching it.

        Returns:
            None if it is not known.

        Raises:
            OsmError: The file does not exist, or its server does not answer.
        """
        return None

    @abstractmethod
    def acquire(self, day: date, asked: Asked) -> Acquisition:
        """Fetch the raw bytes of a UTC day.

        Raises:
            OsmError: The source is not configured, or has no acceptable data.
        """

    def probe(self, day: date, *, clock: Clock, workdir: Path, gate: Gate) -> Acquisition:
        """Fetch what shows whether a city can be staged: its boundary, and nothing selected.

        A shared source fetches the file, and leaves it to the caller to check its date.

        Raises:
            OsmError: The source is not configured, or has no acceptable data.
        """
        return self.acquire(day, Asked(NOTHING, clock, workdir, gate))

    @staticmethod
    @abstractmethod
    def read(
        paths: Sequence[Path], *, areas: Sequence[Area], selection: Selection, origin: str
    ) -> Iterable[Reading | OsmError]:
        """Read the selected objects from raw bytes of this kind of source.

        Args:
            paths: The files.
            areas: The areas of cities; only shared sources accept several.
            selection: The selection of objects.
            origin: The origin of the files, for messages; in the lake, files are named by digest.

        Returns:
            For each area, in order, its reading, or the error of its boundary.

        Raises:
            OsmError: The files cannot be read.
        """

    @staticmethod
    def coverage_of(path: Path) -> Coverage | None:  # noqa: ARG004 - used by shared sources
        """Return the coverage of a stored file; None if the source is not shared."""
        return None
