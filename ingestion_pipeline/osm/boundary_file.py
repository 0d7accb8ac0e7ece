"""Boundary files: the bytes of a file that bounds a city, their digest, and its polygon.

A local file is read once, together with the cities file, so its digest and its polygon belong to
the same bytes. A URL includes its digest, `https://.../kazan.geojson#sha256=<64 hexadecimal
digits>`: every process reads the cities file, which must not need a network, and a city must not
change without a change of that file. The URL is fetched when a run needs it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from ingestion_pipeline.core.locations import redacted
from ingestion_pipeline.core.redirects import fsspec_options
from ingestion_pipeline.geometry.polygon_file import MAXIMUM_BYTES, outline_of, polygon_of
from ingestion_pipeline.osm.errors import (
    BoundaryBroken,
    BoundaryFileChanged,
    BoundaryFileUnreachable,
)

if TYPE_CHECKING:
    from pathlib import Path

    import shapely

_PINNED = re.compile(r"(?P<location>[^#]+)#sha256=(?P<sha256>[0-9a-f]{64})")


@dataclass(frozen=True)
class BoundaryFile:
    """A file that bounds a city.

    Attributes:
        location: Its path or URL.
        sha256: The hexadecimal digest of its bytes.
        content: Its bytes; None for a URL, which is fetched when needed.
    """

    location: str = field(repr=False)
    sha256: str
    content: bytes | None = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The location without secrets."""
        return redacted(self.location)

    @property
    def polygon(self) -> shapely.Geometry:
        """The polygon (EPSG:4326).

        Raises:
            BoundaryFileUnreachable: The file cannot be fetched.
            BoundaryFileChanged: Its digest is not the one in the cities file.
            BoundaryBroken: It contains no valid polygon.
        """
        return _polygon_in(self)


def boundary_file_at(text: str, *, folder: Path) -> BoundaryFile:
    """Return the file that a city's `boundary_file` refers to.

    Args:
        text: A path, or a URL with the digest of its bytes.
        folder: The folder for relative paths.

    Raises:
        ValueError: It cannot be used; the message gives the reason.
    """
    pinned = _PINNED.fullmatch(text)
    if "://" in text:
        if pinned is None:
            raise ValueError(
                "a URL must include the digest of its bytes: '<URL>#sha256=<64 hex digits>'"
            )
        return BoundaryFile(pinned["location"], pinned["sha256"], None)
    path = folder / text
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAXIMUM_BYTES:
        raise ValueError(f"{path} has more than {MAXIMUM_BYTES:,} bytes; simplify it")
    try:
        outline_of(content)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
    return BoundaryFile(str(path), hashlib.sha256(content).hexdigest(), content)


@cache
def _polygon_in(file: BoundaryFile) -> shapely.Geometry:
    content = _fetched(file) if file.content is None else file.content
    try:
        return polygon_of(outline_of(content))
    except ValueError as error:
        raise BoundaryBroken(
            f"The boundary file {file.name} cannot be used: {error}. Correct the file."
        ) from error


def _fetched(file: BoundaryFile) -> bytes:
    import fsspec

    try:
        with fsspec.open(file.location, "rb", **fsspec_options(file.location)) as stored:
            content: bytes = stored.read(MAXIMUM_BYTES)
    except Exception as error:  # noqa: BLE001 - every file system of fsspec has errors of its own
        raise BoundaryFileUnreachable(
            f"The boundary file {file.name} cannot be read ({type(error).__name__}). Check the "
            "city's boundary_file and the credentials, or try again later."
        ) from None
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        raise BoundaryFileChanged(
            f"The boundary file {file.name} has the SHA-256 {sha256}, but the cities file expects "
            f"{file.sha256}. Check what changed, and correct the city's boundary_file."
        )
    return content
