"""An extract is recognized by its content, and read the same in every format that is read."""

from __future__ import annotations

import bz2
import gzip
import lzma
from datetime import UTC, date, datetime, timedelta
from time import process_time
from typing import TYPE_CHECKING

import osmium
import pytest
import shapely

from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.lake.snapshots import Lake
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import ExtractCorrupt, ExtractError, ExtractUnsupported
from ingestion_pipeline.sources.pbf.extract import acquire, read
from ingestion_pipeline.sources.pbf.formats import UnreadFormatError, as_pbf, recognized

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingestion_pipeline.sources.base import Acquisition

WORLD = Area(Bbox(-180, -90, 180, 90), boundary_relation=9)
NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)

TOWN = """\
<?xml version='1.0' encoding='UTF-8'?>
<!-- invented -->
<osm version="0.6" generator="a hand">
  <bounds minlat="50" minlon="10" maxlat="51" maxlon="11"/>
  <node id="1" version="3" timestamp="2024-06-01T10:00:00Z" changeset="77" uid="42" user="mapper"
    lat="50.5" lon="10.5"><tag k="amenity" v="cafe"/><tag k="name" v="Кафе &amp; Co"/></node>
  <node id="2" version="1" timestamp="2024-05-01T10:00:00Z" lat="50" lon="10"/>
  <node id="3" version="1" timestamp="2024-05-01T10:00:00Z" lat="50" lon="11"/>
  <node id="4" version="1" timestamp="2024-05-01T10:00:00Z" lat="51" lon="11"/>
  <way id="5" version="2" timestamp="2024-05-01T10:00:00Z">
    <nd ref="2"/><nd ref="3"/><nd ref="4"/><nd ref="2"/><tag k="leisure" v="park"/></way>
  <relation id="9" version="1" timestamp="2024-05-01T10:00:00Z">
    <member type="way" ref="5" role="outer"/><tag k="type" v="boundary"/><tag k="name" v="Town"/>
  </relation>
</osm>
"""
RAW = TOWN.encode()


def in_two(compress: Callable[[bytes], bytes]) -> bytes:
    """Compress the town in two parts, one after the other, as parallel compressors do."""
    return compress(RAW[:500]) + compress(RAW[500:])


def pbf_of(path: Path, raw: bytes, options: str = "pbf") -> Path:
    path.with_suffix(".osm").write_bytes(raw)
    with osmium.SimpleWriter(osmium.io.File(str(path), options)) as writer:
        for item in osmium.FileProcessor(str(path.with_suffix(".osm"))):
            writer.add(item)
    return path


class StoppedClock:
    """A clock that shows noon."""

    def now(self) -> datetime:
        return NOON

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody should wait {seconds} s for a file")


def acquired(path: Path, tmp_path: Path) -> Acquisition:
    (workdir := tmp_path / "work").mkdir()
    return acquire(
        str(path),
        day=NOON.date(),
        clock=StoppedClock(),
        maximum_age=timedelta(hours=48),
        workdir=workdir,
    )


FORMATS = {
    "osm": RAW,
    "osm after a mark of byte order": b"\xef\xbb\xbf" + RAW,
    "osm with a document type": RAW.replace(b"<osm ", b"<!DOCTYPE osm SYSTEM 'osm.dtd'>\n<osm ", 1),
    "osm with a long comment": RAW.replace(b" invented ", b"x" * 10_000),
    "osm.gz": gzip.compress(RAW),
    "osm.bz2": bz2.compress(RAW),
    "osm.gz in two": in_two(gzip.compress),
    "osm.bz2 in two": in_two(bz2.compress),
}


@pytest.mark.parametrize("written", FORMATS)
def test_every_format_gives_the_same_whatever_the_files_name(written: str, tmp_path: Path) -> None:
    usual = read(pbf_of(tmp_path / "x.pbf", RAW), area=WORLD)
    path = tmp_path / "town.osm.pbf"  # as providers of one kind of file name it
    path.write_bytes(FORMATS[written])
    acquisition = acquired(path, tmp_path)
    (part,) = acquisition.parts
    reading = read(part.path, area=WORLD)

    assert reading.features.source_refs() == usual.features.source_refs() == ["node/1", "way/5"]
    assert list(reading.features.tags) == list(usual.features.tags)
    assert reading.features.version.tolist() == usual.features.version.tolist() == [3, 2]
    assert reading.features.timestamp.tolist() == usual.features.timestamp.tolist()
    assert shapely.equals(reading.features.geometry, usual.features.geometry).all()
    assert shapely.equals(reading.boundary, usual.boundary)
    assert reading.boundary_names == {"Town"}
    assert acquisition.evidence.as_of == datetime(2024, 6, 1, 10, tzinfo=UTC)
    assert acquisition.evidence.as_of_source == "newest_object"


@pytest.mark.parametrize(
    ("written", "suffix"),
    [("osm", ".osm.zst"), ("osm.gz", ".gz"), ("osm.bz2", ".bz2")],
)
def test_the_lake_keeps_what_upstream_sent(written: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "town"
    path.write_bytes(FORMATS[written])
    (part,) = acquired(path, tmp_path).parts
    lake = Lake(str(tmp_path / "lake"))
    stored = lake.store(part.path, query=None, requested_at=NOON, received_at=NOON)

    assert stored.key.endswith(suffix)
    restored = lake.restore(stored, tmp_path)
    assert restored.read_bytes() == FORMATS[written]
    assert len(read(restored, area=WORLD).features) == 2


DELETED = RAW.replace(b'<node id="1" ', b'<node id="1" visible="false" ')
CHANGES = RAW.replace(b"<osm ", b"<osmChange ").replace(b"</osm>", b"</osmChange>")

WRONG_VALUES = {
    "a long value": (b'v="cafe"', b'v="%b"' % (b"x" * 1025)),
    "a long key": (b'k="amenity"', b'k="%b"' % (b"x" * 1025)),
    "a long role": (b'role="outer"', b'role="%b"' % (b"x" * 1025)),
    "an id that is no number": (b'id="1"', b'id="abc"'),
    "an id above 64 bits": (b'id="1"', b'id="99999999999999999999"'),
    "a version above 32 bits": (b'version="3"', b'version="99999999999"'),
    "a timestamp that is none": (b"2024-06-01T10:00:00Z", b"yesterday"),
    "an unknown visibility": (b'<node id="1"', b'<node visible="xx" id="1"'),
    "a negative user": (b'uid="42"', b'uid="-7"'),
    "a latitude that is no number": (b'lat="50.5"', b'lat="x"'),
    "a bound that is no number": (b'minlat="50"', b'minlat="x"'),
}
"""What libosmium refuses: what is written, and what is written instead."""

REFUSED: dict[str, tuple[bytes, type[ExtractError], str]] = {
    "a change file": (CHANGES, ExtractUnsupported, r"is a change file \(osmChange\)"),
    "a packed change file": (
        gzip.compress(CHANGES),
        ExtractUnsupported,
        r"is a change file \(osmChange\)",
    ),
    "deleted objects": (DELETED, ExtractUnsupported, "node/1 is deleted"),
    "an object that an editor deleted": (
        RAW.replace(b'<node id="1" ', b'<node id="1" action="delete" '),
        ExtractUnsupported,
        "node/1 has action='delete'",
    ),
    "an object that an editor made": (
        gzip.compress(RAW.replace(b'<way id="5" ', b"<way action = 'modify' id='-5' ")),
        ExtractUnsupported,
        "way/-5 has action='modify'",
    ),
    "xz": (lzma.compress(RAW), ExtractUnsupported, "is an xz file"),
    "zip": (b"PK\x03\x04" + bytes(100), ExtractUnsupported, "is a zip file"),
    "o5m": (b"\xff\xe0\x04o5m2", ExtractUnsupported, "is an o5m file"),
    "packed PBF": (
        gzip.compress(b"\0\0\0\x0d\n\tOSMHeader"),
        ExtractUnsupported,
        "compressed as .osm.gz that is not OSM XML",
    ),
    "cut XML": (RAW[:-30], ExtractCorrupt, "not a complete OSM PBF or OSM XML"),
    "cut gzip": (
        gzip.compress(RAW)[:-20],
        ExtractCorrupt,
        "not a complete OSM PBF or OSM XML",
    ),
    "cut bzip2": (
        bz2.compress(RAW)[:-20],
        ExtractCorrupt,
        "not a complete OSM PBF or OSM XML",
    ),
    "cut at once": (
        gzip.compress(RAW)[:12],
        ExtractCorrupt,
        "not a complete OSM PBF or OSM XML",
    ),
    "damaged gzip": (
        gzip.compress(RAW)[:-8] + bytes(8),
        ExtractCorrupt,
        "not a complete OSM PBF or OSM XML",
    ),
    "a page": (b"<html><osm></html>", ExtractCorrupt, "not a complete OSM PBF or OSM XML"),
    "nothing": (b"", ExtractCorrupt, "not a complete OSM PBF or OSM XML"),
} | {
    fault: (
        RAW.replace(written, wrong, 1),
        ExtractCorrupt,
        "not a complete OSM PBF or OSM XML",
    )
    for fault, (written, wrong) in WRONG_VALUES.items()
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_read_is_named_when_it_comes_and_when_it_is_read(
    fault: str, tmp_path: Path
) -> None:
    raw, error, said = REFUSED[fault]
    path = tmp_path / "town.osm.pbf"
    path.write_bytes(raw)
    with pytest.raises(error, match=said) as caught:
        acquired(path, tmp_path)
    assert "town.osm.pbf" in str(caught.value)
    assert caught.value.should_retry == (error is ExtractCorrupt)
    with pytest.raises(error, match=said):
        read(path, area=WORLD)


def test_a_tag_that_speaks_of_an_action_is_no_editors_mark(tmp_path: Path) -> None:
    path = tmp_path / "town.osm"
    path.write_bytes(RAW.replace(b'v="cafe"', b'v="cafe action=delete"'))
    assert len(read(path, area=WORLD).features) == 2


@pytest.mark.parametrize(
    "head",
    [
        b"<?xml version='1.0'?>" + b"<!--a-->" * 5000 + b"<!--a-",
        b"<?x?>" * 8000 + b"<?x",
        b"<!DOCTYPE a>" * 5000 + b"<!DOCTYPE a [",
    ],
)
def test_a_beginning_without_an_end_is_told_from_xml_at_once(head: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "town.osm").write_bytes(head)
    before = process_time()
    assert recognized(path) == "osm.pbf"
    assert process_time() - before < 2


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_small_file_that_unpacks_to_a_large_one_is_refused(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "town.osm"
    path.write_bytes(compress(RAW + b" " * (1 << 23)))
    with (
        pytest.raises(UnreadFormatError, match=r"that decompresses to more than \d+ bytes"),
        as_pbf(path, always_unpacked=1 << 20),
    ):
        pass
    with as_pbf(path):
        pass


def test_users_of_xml_reach_nothing_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "town.osm"
    path.write_bytes(RAW)
    assert "mapper" not in repr(vars(read(path, area=WORLD).features))


def test_a_day_is_that_of_the_newest_object(tmp_path: Path) -> None:
    path = tmp_path / "town.osm"
    path.write_bytes(RAW)
    assert acquired(path, tmp_path).evidence.as_of.date() == date(2024, 6, 1)
