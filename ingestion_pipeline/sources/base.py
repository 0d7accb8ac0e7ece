"""The protocol of a source of OpenStreetMap data, and the values that it takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

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
    from ingestion_pipeline.osm.selection import Selection

Way = Literal["staged", "snapshot", "dated extract", "history", "current data", "none"]
"""What a day would be staged from, the cheapest first; `staged`: it is, from equal inputs."""


@dataclass(frozen=True)
class Offer:
    """What a source can give for a day, as far as is known without asking it.

    Attributes:
        way: From which evidence.
        words: From where; for `none`, why not and what to do.
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
    """What is asked of a source, and what it works with.

    Attributes:
        selection: Which objects; a shared file holds all there are.
        clock: The time, and the way to wait.
        workdir: An empty local folder for the bytes.
        histories: By the location of a server, what proved before that its history reaches back to
            the end of the day.
        caller_retries: Whether the caller waits and tries again where a server is busy.
    """

    selection: Selection
    clock: Clock
    workdir: Path
    histories: Mapping[str, str] = field(default_factory=dict)
    caller_retries: bool = False


class Source(ABC):
    """The source of a city's data; nothing is asked of the network before it is told to.

    Attributes:
        kind: Its name in the cities file, in settings and in evidence (`obtained`).
        shared: Whether what it gives covers an area of its own: several cities may share it, and
            whether it covers a city has to be checked.
    """

    kind: ClassVar[str]
    shared: ClassVar[bool] = False

    def __init__(self, city: City, settings: Settings) -> None:
        """Take the city whose data is asked for, and where sources are."""
        self._city = city
        self._settings = settings

    @abstractmethod
    def offer(self, day: date, *, current: bool) -> Offer:
        """Return what can be had for a UTC day, without asking upstream.

        Args:
            day: The day.
            current: Whether it is the current day.
        """

    @abstractmethod
    def location(self, day: date) -> str:
        """Return where a day's data is; the address may hold credentials.

        Raises:
            OsmError: It is not configured.
        """

    def state(self, day: date) -> str | None:  # noqa: ARG002 - of those that are shared
        """Return what identifies the current state of a shared file, without fetching it.

        Returns:
            None where that is not known.

        Raises:
            OsmError: There is no such file, or its server does not answer.
        """
        return None

    @abstractmethod
    def acquire(self, day: date, asked: Asked) -> Acquisition:
        """Get the raw bytes of a UTC day.

        Raises:
            OsmError: The source is not configured, or has no acceptable data.
        """

    @staticmethod
    @abstractmethod
    def read(
        paths: Sequence[Path], *, areas: Sequence[Area], selection: Selection, origin: str
    ) -> Iterable[Reading | OsmError]:
        """Read the selected objects out of raw bytes of this kind of source.

        Args:
            paths: The files.
            areas: The areas of cities; several only where the source is shared.
            selection: Which objects.
            origin: Where a file is from, for messages: in the lake it is named by a digest.

        Returns:
            For each area, in order, its reading, or why its boundary cannot be had.

        Raises:
            OsmError: The files cannot be read.
        """

    @staticmethod
    def coverage_of(path: Path) -> Coverage | None:  # noqa: ARG004 - of those that are shared
        """Return what a stored file covers; None where the source answers for what was asked."""
        return None
