"""Formats of extracts, and their conversion to PBF.

`.osm.pbf` is read directly. libosmium first converts OSM XML, plain or compressed by gzip or bzip2,
to PBF without the users. Other recognized formats are rejected by name. So is a file that an editor
such as JOSM saved with changes that are not uploaded, because it is no state of the map.
"""

from __future__ import annotations

import bz2
import gzip
import mmap
import re
import zlib
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Format = Literal["osm.pbf", "osm", "osm.gz", "osm.bz2"]

_COMPRESSIONS: Mapping[bytes, tuple[Format, Callable[[Path], Any]]] = {
    b"\x1f\x8b": ("osm.gz", gzip.open),
    b"BZh": ("osm.bz2", bz2.open),
}
_OTHERS = {
    b"\xfd7zXZ\x00": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PK\x03\x04": "a zip file",
    b"7z\xbc\xaf\x27\x1c": "a 7z file",
    b"\xff\xe0": "an o5m file",
}
_HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 1 << 20
_XML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+"
    rb"(?:(?:<\?(?:(?!\?>).)*+\?>|<!--(?:(?!-->).)*+-->"
    rb"|<!DOCTYPE[^>\[]*+(?:\[[^\]]*+\]\s*+)?+>)\s*+)*+"
    rb"<(\w+)",
    re.DOTALL,
)
"""The beginning of XML up to its first element; without backtracking, so in linear time."""

_ACTION = re.compile(rb"\saction\s*=")
_OBJECTS = frozenset({"node", "way", "relation"})

ALWAYS_UNPACKED_BYTES = 1 << 30
"""The decompressed size that is allowed for even the smallest compressed file."""

MOST_UNPACKED_TIMES = 100
"""The allowed ratio of decompressed to compressed size for larger files. OSM XML has a ratio of 10
to 25; a decompression bomb has more than 1,000."""


class UnreadFormatError(Exception):
    """The format of the file is not supported."""


class DamagedFileError(Exception):
    """The file is truncated or damaged."""


def recognized(path: Path) -> Format:
    """Return the format of a file, by its content; PBF for unknown content.

    Raises:
        UnreadFormatError: Its format is not supported.
        DamagedFileError: It cannot be decompressed.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise UnreadFormatError(name)
    for magic, (compressed, _) in _COMPRESSIONS.items():
        if head.startswith(magic):
            with _opened(path, compressed) as file:
                inner = file.read(_HEAD_BYTES)
            if not _is_osm_xml(inner):
                raise UnreadFormatError(f"a file compressed as .{compressed} that is not OSM XML")
            return compressed
    return "osm" if _is_osm_xml(head) else "osm.pbf"


def _is_osm_xml(head: bytes) -> bool:
    found = _XML.match(head)
    root = found[1] if found else b""
    if root == b"osmChange":
        raise UnreadFormatError("a change file (osmChange)")
    return root == b"osm"


@contextmanager
def as_pbf(path: Path, *, always_unpacked: int = ALWAYS_UNPACKED_BYTES) -> Iterator[Path]:
    """Yield a file as PBF: itself, or a temporary one beside it.

    Args:
        path: The file.
        always_unpacked: The decompressed size that is allowed for even the smallest file.

    Raises:
        UnreadFormatError: Its format is not supported, it decompresses to too much, or it has
            changes that are not uploaded.
        DamagedFileError: It cannot be read to its end.
    """
    of = recognized(path)
    if of == "osm.pbf":
        yield path
        return
    import osmium

    with TemporaryDirectory(dir=path.parent) as folder:
        plain, target = Path(folder) / "extract.osm", Path(folder) / "extract.osm.pbf"
        most = max(always_unpacked, MOST_UNPACKED_TIMES * path.stat().st_size)
        with _opened(path, of) as compressed, plain.open("wb") as file:
            while chunk := compressed.read(_CHUNK_BYTES):
                file.write(chunk)
                if file.tell() > most:
                    raise UnreadFormatError(
                        f"a .{of} file that decompresses to more than {most} bytes"
                    )
        # Only with history does libosmium write which objects are deleted.
        options = "pbf,history=true,add_metadata=version+timestamp,pbf_compression=none"
        try:
            with osmium.SimpleWriter(osmium.io.File(str(target), options)) as writer:
                osmium.apply(osmium.io.Reader(osmium.io.File(str(plain), "osm")), writer)
        except (RuntimeError, ValueError, osmium.InvalidLocationError) as error:
            raise DamagedFileError(str(error)) from error
        _refuse_unsaved(plain)
        plain.unlink()
        yield target


def _refuse_unsaved(plain: Path) -> None:
    """Reject XML with objects that an editor changed, created or deleted and did not upload.

    libosmium ignores the attribute that marks them. The file is well-formed: libosmium has read it.
    """
    with plain.open("rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if _ACTION.search(content) is None:
                return

        def begin(name: str, attributes: dict[str, str]) -> None:
            if name in _OBJECTS and "action" in attributes:
                raise UnreadFormatError(
                    "a file with changes that are not uploaded: "
                    f"{name}/{attributes.get('id')} has action={attributes['action']!r}"
                )

        parser = expat.ParserCreate()
        parser.StartElementHandler = begin
        parser.ParseFile(file)


@contextmanager
def _opened(path: Path, of: Format) -> Iterator[Any]:
    openers = dict(_COMPRESSIONS.values())
    try:
        with openers.get(of, lambda path: path.open("rb"))(path) as file:
            yield file
    except (EOFError, zlib.error) as error:
        raise DamagedFileError(str(error)) from error
    except OSError as error:
        if error.errno is not None:  # an error of the disk, not of the compression
            raise
        raise DamagedFileError(str(error)) from error
