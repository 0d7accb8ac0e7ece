"""A boundary from a file that is fetched: only bytes with the digest that is named."""

from __future__ import annotations

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest
import shapely

from ingestion_pipeline.core.boundary import PolygonBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.boundary import known_boundary
from ingestion_pipeline.osm.boundary_file import BoundaryFile, boundary_file_at
from ingestion_pipeline.osm.errors import (
    BoundaryBroken,
    BoundaryFileChanged,
    BoundaryFileUnreachable,
    BoundaryOutsideBbox,
)

if TYPE_CHECKING:
    from fsspec.implementations.memory import MemoryFileSystem

FOLDER = Path("/nowhere")


@pytest.fixture
def memory() -> MemoryFileSystem:
    """An empty remote place."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    return filesystem


def content(east: float, *, crossing: bool = False) -> bytes:
    corners = [[0, 0], [east, 0], [east, 1], [0, 1], [0, 0]]
    if crossing:
        corners[1], corners[2] = corners[2], corners[1]
    return json.dumps({"type": "Polygon", "coordinates": [corners]}).encode()


def remote(memory: MemoryFileSystem, name: str, stored: bytes, named: bytes) -> BoundaryFile:
    memory.pipe_file(f"/{name}", stored)
    digest = hashlib.sha256(named).hexdigest()
    return boundary_file_at(f"memory://{name}#sha256={digest}", folder=FOLDER)


def test_a_file_far_away_is_fetched_and_compared(memory: MemoryFileSystem) -> None:
    file = remote(memory, "a", content(2), content(2))
    assert shapely.bounds(file.polygon).tolist() == [0, 0, 2, 1]
    other = remote(memory, "b", content(3), content(2))
    with pytest.raises(BoundaryFileChanged, match="memory://b has the SHA-256") as caught:
        _ = other.polygon
    assert not caught.value.should_retry


@pytest.mark.server
def test_a_file_is_fetched_over_http(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_bytes(content(2))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/a.geojson"
        digest = hashlib.sha256(content(2)).hexdigest()
        try:
            file = boundary_file_at(f"{url}#sha256={digest}", folder=FOLDER)
            assert shapely.bounds(file.polygon).tolist() == [0, 0, 2, 1]
        finally:
            server.shutdown()
            thread.join()


def test_a_file_that_is_not_there_is_told_without_secrets(memory: MemoryFileSystem) -> None:
    memory.store.clear()  # files of other tests of this process
    url = "memory://user:hush@gone/x?token=hush"
    file = boundary_file_at(f"{url}#sha256={'0' * 64}", folder=FOLDER)
    with pytest.raises(BoundaryFileUnreachable, match="memory://gone/x cannot be read") as caught:
        _ = file.polygon
    assert "hush" not in str(caught.value)
    assert caught.value.should_retry


def test_a_polygon_that_crosses_itself_bounds_nothing(memory: MemoryFileSystem) -> None:
    wrong = content(2, crossing=True)
    with pytest.raises(BoundaryBroken, match=r"memory://c cannot be used: .*Self-intersection"):
        _ = remote(memory, "c", wrong, wrong).polygon


def test_it_is_the_boundary_if_it_lies_within_the_window(memory: MemoryFileSystem) -> None:
    file = remote(memory, "d", content(2), content(2))
    found = known_boundary(Area(Bbox(0, 0, 2, 1), None, file), city="town")
    assert found == PolygonBoundary(file.polygon)
    with pytest.raises(BoundaryOutsideBbox, match="The boundary memory://d of town spans"):
        known_boundary(Area(Bbox(0, 0, 1.9, 1), None, file), city="town")
