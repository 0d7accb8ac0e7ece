"""An extract is read the same in whatever form its bytes are, and for any number of areas."""

import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import osmium
import pyarrow as pa
import pytest
import shapely

from benchmarks.replicate import LAYOUT
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import (
    BoundaryNotFound,
    ExtractCorrupt,
    ExtractNotConfigured,
    OsmError,
)
from ingestion_pipeline.osm.features import Reading
from ingestion_pipeline.osm.selection import POIS, Selection
from ingestion_pipeline.sources.pbf import blocks as pbf
from ingestion_pipeline.sources.pbf.extract import read, read_each

WORLD = Area(Bbox(-180, -90, 180, 90), boundary_relation=9)
TOWN = """\
n1 v3 dV t2026-11-19T08:00:00Z Tamenity=cafe,name=Кафе x10.5 y50.25
n2 v1 dV t2026-11-19T08:00:00Z Tamenity=bench x-0.0000001 y-33.3333333
n3 v1 dV t2026-11-19T08:00:00Z Tamenity=bench,name=a%20%b x11 y50
n11 v1 x10 y50
n12 v1 x12 y50
n13 v1 x12 y52
n14 v1 x10 y52
n21 v1 x10.5 y50.5
n22 v1 x11 y50.5
n23 v1 x11 y51
n99999999999 v1 Thighway=bus_stop x11.5 y51.5
w1 v1 Nn11,n12,n13
w2 v1 Nn13,n14,n11
w3 v7 t2020-02-29T23:59:59Z Tamenity=parking Nn21,n22,n23,n21
w4 v1 Tamenity=parking Nn21,n77
w5 v1 Tshop=mall Nn1,n99999999999
r1 v1 Ttype=multipolygon,leisure=park Mw1@outer,w2@outer,w3@inner
r2 v1 Ttype=site,tourism=attraction Mn1@,n21@entrance,r1@part,w77@
r9 v1 Ttype=boundary,name=Town,name:de=Stadt Mw1@outer,w2@outer
"""


def write(path: Path, options: str = "pbf", order: str = "nwr") -> Path:
    lines = sorted(TOWN.splitlines(), key=lambda line: order.index(line[0]))
    text = "\n".join([*lines, ""]).encode()
    with osmium.SimpleWriter(osmium.io.File(str(path), options)) as writer:
        for item in osmium.FileProcessor(osmium.io.FileBuffer(text, "opl")):
            writer.add(item)
    return path


def rows(reading: Reading | OsmError) -> list[Any]:
    assert isinstance(reading, Reading)
    found = reading.features
    columns = zip(
        found.source_refs(),
        found.version.tolist(),
        map(str, found.timestamp),
        map(sorted, map(dict.items, found.tags)),
        shapely.to_wkt(found.geometry, rounding_precision=-1),
        found.geom_quality,
        strict=True,
    )
    rejected = [(each.source_ref, each.reason) for each in reading.rejections]
    return [*columns, rejected, shapely.to_wkt(reading.boundary), sorted(reading.boundary_names)]


def test_the_parts_of_every_kind_are_found(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "x"), area=WORLD)

    shapes = dict(zip(reading.features.source_refs(), reading.features.geometry, strict=True))
    assert shapes == {
        ref: shapely.from_wkt(wkt)
        for ref, wkt in {
            "node/1": "POINT (10.5 50.25)",
            "node/2": "POINT (-0.0000001 -33.3333333)",
            "node/3": "POINT (11 50)",
            "node/99999999999": "POINT (11.5 51.5)",
            "way/3": "POLYGON ((10.5 50.5, 11 51, 11 50.5, 10.5 50.5))",
            "way/4": "POINT (10.5 50.5)",
            "way/5": "LINESTRING (10.5 50.25, 11.5 51.5)",
            "relation/1": "POLYGON ((10 50, 10 52, 12 52, 12 50, 10 50), "
            "(10.5 50.5, 11 50.5, 11 51, 10.5 50.5))",
            "relation/2": "GEOMETRYCOLLECTION (POLYGON ((10 50, 10 52, 12 52, 12 50, 10 50), "
            "(10.5 50.5, 11 50.5, 11 51, 10.5 50.5)), POINT (10.5 50.25), POINT (10.5 50.5))",
        }.items()
    }
    cafe, _, bench, *_ = rows(reading)
    assert cafe[1:4] == (3, "2026-11-19T08:00:00", [("amenity", "cafe"), ("name", "Кафе")])
    assert bench[3] == [("amenity", "bench"), ("name", "a b")]
    assert reading.boundary_names == {"Town", "Stadt"}
    assert reading.boundary == shapely.box(10, 50, 12, 52).normalize()


@pytest.mark.parametrize(
    "options",
    [
        "pbf,pbf_dense_nodes=false",
        "pbf,pbf_compression=none",
        "pbf,pbf_dense_nodes=false,pbf_compression=none",
    ],
)
def test_the_form_of_a_file_makes_no_difference(options: str, tmp_path: Path) -> None:
    usual = rows(read(write(tmp_path / "usual"), area=WORLD))

    assert rows(read(write(tmp_path / "other", options), area=WORLD)) == usual


@pytest.mark.parametrize("order", ["rwn", "wnr", "nrw", "rnw"])
def test_the_order_of_the_kinds_makes_no_difference(order: str, tmp_path: Path) -> None:
    usual = rows(read(write(tmp_path / "usual"), area=WORLD))

    assert rows(read(write(tmp_path / "other", order=order), area=WORLD)) == usual


@pytest.mark.parametrize("together", [[2, 1], [1, 2], [3], [1, 1, 1]])
def test_kinds_may_share_a_block(together: list[int], tmp_path: Path) -> None:
    separate = write(tmp_path / "separate")
    usual = rows(read(separate, area=WORLD))
    shared = tmp_path / "shared"
    shared.write_bytes(joined(separate, together))

    assert rows(read(shared, area=WORLD)) == usual


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_block_without_objects_is_passed_over(place: int, tmp_path: Path) -> None:
    file = write(tmp_path / "x")
    usual = rows(read(file, area=WORLD))
    blocks = [raw for _, raw in blocks_of(file)]
    blocks.insert(
        place, pbf.message("PrimitiveBlock")(stringtable={"s": [b""]}).SerializeToString()
    )
    file.write_bytes(with_blocks(file, blocks))

    assert rows(read(file, area=WORLD)) == usual


def test_a_field_that_is_not_known_is_passed_over_whatever_its_number() -> None:
    tag = (1 << 40) << 3  # damage may write any; it must not be taken for a size
    number = [tag >> shift & 127 | 128 for shift in range(0, 42, 7)] + [tag >> 42]
    messages = pbf.Messages([bytes([8, 5, *number, 1]), bytes([8, 6])], pbf.Units(100, 1000, 0, 0))

    assert messages.id.tolist() == [5, 6]


def joined(path: Path, together: list[int]) -> bytes:
    """Write a file's blocks once more, the first so many as one, and so on."""
    messages = pbf.message_classes(LAYOUT)
    blocks = iter([messages["PrimitiveBlock"].FromString(raw) for _, raw in blocks_of(path)])
    written: list[bytes] = []
    for number in together:
        block = next(blocks)
        for _ in range(number - 1):
            other, first = next(blocks), len(block.stringtable.s)
            block.stringtable.s.extend(other.stringtable.s)
            for group in other.primitivegroup:
                for item in (*group.ways, *group.relations):
                    for texts in (item.keys, item.vals, getattr(item, "roles_sid", [])):
                        texts[:] = [text + first for text in texts]
            block.primitivegroup.extend(other.primitivegroup)
        written.append(block.SerializeToString())
    assert next(blocks, None) is None
    return with_blocks(path, written)


@pytest.mark.parametrize(
    ("field", "compress"),
    [
        ("zlib_data", zlib.compress),
        ("lzma_data", lambda raw: lzma.compress(raw, format=lzma.FORMAT_ALONE)),
        ("lz4_data", lambda raw: pa.compress(raw, codec="lz4_raw", asbytes=True)),
        ("zstd_data", lambda raw: pa.compress(raw, codec="zstd", asbytes=True)),
    ],
)
def test_the_compression_of_a_file_makes_no_difference(
    field: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    plain = write(tmp_path / "plain")
    usual = rows(read(plain, area=WORLD))
    packed = tmp_path / "packed"
    packed.write_bytes(recompressed(plain, field, compress))

    assert rows(read(packed, area=WORLD)) == usual


def recompressed(path: Path, field: str, compress: Callable[[bytes], bytes]) -> bytes:
    """Write a file's blocks once more, with another compression."""
    return with_blocks(path, [raw for _, raw in blocks_of(path)], field, compress)


def blocks_of(path: Path) -> list[tuple[pbf.Blob, bytes]]:
    file = os.open(path, os.O_RDONLY)
    try:
        return [(blob, pbf.unpacked(file, blob)) for blob in pbf.data_blobs(file)]
    finally:
        os.close(file)


def with_blocks(
    path: Path,
    blocks: list[bytes],
    field: str = "zlib_data",
    compress: Callable[[bytes], bytes] = zlib.compress,
) -> bytes:
    """Write a file's header and other blocks."""
    data = path.read_bytes()
    first, _ = blocks_of(path)[0]
    out = data[: first.offset - header_size(data, first)]
    for raw in blocks:
        message = pbf.message("Blob")(raw_size=len(raw), **{field: compress(raw)})
        head = pbf.message("BlobHeader")(type="OSMData", datasize=message.ByteSize())
        written = head.SerializeToString()
        out += len(written).to_bytes(4, "big") + written + message.SerializeToString()
    return out


def header_size(data: bytes, blob: pbf.Blob) -> int:
    """Find how many bytes before a block its own header begins."""
    sizes = range(5, 100)
    return next(
        size
        for size in sizes
        if int.from_bytes(data[blob.offset - size : blob.offset - size + 4], "big") == size - 4
    )


@pytest.mark.parametrize("place", [-1, -40, -200])
def test_a_damaged_block_is_refused(place: int, tmp_path: Path) -> None:
    file = write(tmp_path / "x")
    damaged = bytearray(file.read_bytes())
    damaged[place] ^= 0xFF
    file.write_bytes(damaged)

    with pytest.raises(ExtractCorrupt, match="not a complete OSM PBF"):
        read(file, area=WORLD)


def test_a_history_file_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "x", "pbf,history=true")

    with pytest.raises(ExtractNotConfigured, match="history file"):
        read(file, area=WORLD)


def test_areas_are_read_together_as_one_by_one(tmp_path: Path) -> None:
    file = write(tmp_path / "x")
    areas = [
        Area(Bbox(10.4, 50.2, 10.6, 50.3), None),
        Area(Bbox(-1, -40, 1, -30), None),
        WORLD,
        Area(Bbox(60, 60, 61, 61), None),
    ]

    together = [rows(reading) for reading in read_each(file, areas=areas)]

    assert together == [rows(read(file, area=area)) for area in areas]
    assert [len(found) - 3 for found in together] == [4, 1, 9, 0]


def test_an_area_whose_boundary_is_missing_does_not_touch_the_others(tmp_path: Path) -> None:
    file = write(tmp_path / "x")
    elsewhere = Area(WORLD.bbox, boundary_relation=77)

    first, lost, last = read_each(file, areas=[WORLD, elsewhere, WORLD])

    assert isinstance(lost, BoundaryNotFound)
    assert rows(first) == rows(last) == rows(read(file, area=WORLD))
    with pytest.raises(BoundaryNotFound, match="relation/77"):
        read(file, area=elsewhere)


@pytest.mark.parametrize("selection", [POIS, HELPER.selection], ids=["poi", "helper"])
def test_quarters_of_the_sample_are_read_together_as_one_by_one(
    selection: Selection, helsinki_pbf: Path
) -> None:
    areas = [
        Area(Bbox(west, south, west + 0.015, south + 0.01), None)
        for west in (24.93, 24.945)
        for south in (60.16, 60.17)
    ]

    together = [rows(each) for each in read_each(helsinki_pbf, areas=areas, selection=selection)]

    assert together == [rows(read(helsinki_pbf, area=area, selection=selection)) for area in areas]
    assert all(len(found) > 100 for found in together)


GROUPS = """\
n1 v1 x1 y1
n2 v1 x2 y1
n3 v1 x2 y2
n4 v1 x1 y2
n5 v1 x5 y5
w1 v1 Tbuilding=yes Nn1,n2,n3,n4,n1
w2 v1 Tbarrier=wall Nn1,n2,n3,n4,n1
w3 v1 Tbarrier=fence,amenity=school Nn1,n2,n3,n4,n1
r10 v1 Ttype=site,tourism=attraction Mw1@
r11 v1 Ttype=site,tourism=attraction Mw2@
r12 v1 Ttype=site,tourism=attraction Mw3@
r20 v1 Ttype=site,tourism=attraction Mr30@
r21 v1 Ttype=site,tourism=attraction Mr99@
r22 v1 Ttype=site,tourism=attraction Mn5@,r30@
r30 v1 Ttype=public_transport Mr5@
r5 v1 Ttype=multipolygon Mw1@outer
"""
"""`relation/20` has an area in a relation in a relation, none of which is selected."""

AREA = "POLYGON ((1 1, 1 2, 2 2, 2 1, 1 1))"


def groups(path: Path, order: int) -> Path:
    """Write the objects by kind and id, ids ascending (1) or descending (-1)."""
    lines = sorted(
        GROUPS.splitlines(),
        key=lambda line: ("nwr".index(line[0]), order * int(line.split()[0][1:])),
    )
    text = "\n".join([*lines, ""]).encode()
    with osmium.SimpleWriter(osmium.io.File(str(path), "pbf")) as writer:
        for item in osmium.FileProcessor(osmium.io.FileBuffer(text, "opl")):
            writer.add(item)
    return path


@pytest.mark.parametrize("order", [1, -1])
def test_the_members_of_relations_in_relations_are_found(order: int, tmp_path: Path) -> None:
    reading = read(groups(tmp_path / "x.osm.pbf", order), area=Area(WORLD.bbox, None))

    found = reading.features
    shapes = {
        ref: (shape.wkt, quality)
        for ref, shape, quality in zip(
            found.source_refs(), found.geometry, found.geom_quality, strict=True
        )
    }
    assert shapes == {
        "way/3": (AREA, "exact"),
        "relation/10": (AREA, "exact"),
        "relation/11": ("LINESTRING (1 1, 2 1, 2 2, 1 2, 1 1)", "exact"),
        "relation/12": (AREA, "exact"),
        "relation/20": (AREA, "exact"),
        "relation/22": (f"GEOMETRYCOLLECTION ({AREA}, POINT (5 5))", "exact"),
    }
    assert [(item.source_ref, item.reason) for item in reading.rejections] == [
        ("relation/21", "no_geometry")
    ]


@pytest.mark.parametrize(
    ("bbox", "refs"),
    [
        (Bbox(4.9, 4.9, 5.1, 5.1), ["relation/22"]),
        (Bbox(0.9, 0.9, 1.1, 1.1), ["way/3", *(f"relation/{i}" for i in (10, 11, 12, 20, 22))]),
        (Bbox(8, 8, 9, 9), []),
    ],
    ids=["the node", "the area", "elsewhere"],
)
def test_a_relation_is_found_where_any_of_its_members_is(
    bbox: Bbox, refs: list[str], tmp_path: Path
) -> None:
    reading = read(groups(tmp_path / "x.osm.pbf", 1), area=Area(bbox, None))
    assert reading.features.source_refs() == refs
