"""Formats of feeds: the same places, written by GDAL, and files that are not to be read."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import geopandas
import pandas as pd
import pytest
import shapely

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.sources.feed.errors import FeedTooBig, FeedUnreadable
from ingestion_pipeline.sources.feed.read import FeedPlaces, read_feed
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import BBOX, FeedServer, feed_of
from ingestion_pipeline_tests.support.overpass_server import Reply
from ingestion_pipeline_tests.support.recipes import recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Read = Callable[..., FeedPlaces]

COUNT = 7
PLACES = geopandas.GeoDataFrame(
    {
        "ref": [f"{number:03}" for number in range(1, COUNT + 1)],
        "name": [f"Käymälä {number}" for number in range(1, COUNT + 1)],
        "built": [2000 + number for number in range(1, COUNT + 1)],
    },
    geometry=[shapely.Point(24.91 + number / 500, 60.16) for number in range(1, COUNT + 1)],
    crs="EPSG:4326",
)
"""Seven toilets of the invented town."""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read bytes by a recipe of docs/feeds.md, changed."""

    def places(body: bytes, slug: str, **changes: Any) -> FeedPlaces:
        path = tmp_path / "feed"
        path.write_bytes(body)
        return read_feed(
            path,
            feed_of(recipe(slug, "http://127.0.0.1"), **changes),
            bbox=BBOX,
            boundary=BboxBoundary(Bbox(*BBOX)),
            namer=Namer(["fi"], "fi"),
        )

    return places


def written(
    folder: Path, name: str, driver: str, frame: geopandas.GeoDataFrame = PLACES, **options: Any
) -> bytes:
    """Write places by GDAL's driver."""
    path = folder / name
    frame.to_file(path, driver=driver, engine="pyogrio", **options)
    return path.read_bytes()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as file:
        for name, body in files.items():
            file.writestr(name, body)
    return archive.getvalue()


def shapefile(folder: Path, **options: Any) -> dict[str, bytes]:
    written(folder, "toilets.shp", "ESRI Shapefile", **options)
    return {
        f"data/{path.name}": path.read_bytes()
        for path in folder.iterdir()
        if path.stem == "toilets"
    }


def check(places: FeedPlaces) -> None:
    """Check that places are the seven toilets."""
    assert places.rejections == []
    rows = places.table.to_pylist()
    assert [row["source_ref"] for row in rows] == [f"{ref}#toilets" for ref in PLACES["ref"]]
    assert [row["name"] for row in rows] == list(PLACES["name"])
    for row, point in zip(rows, PLACES.geometry, strict=True):
        assert (row["lon"], row["lat"]) == pytest.approx((point.x, point.y), abs=1e-6)


# Formats


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3067"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_geopackage_is_read_in_its_coordinate_system(
    read: Read, tmp_path: Path, crs: str, packed: bool
) -> None:
    body = written(tmp_path, "a.gpkg", "GPKG", PLACES.to_crs(crs), layer="toilets")
    check(read(gzip.compress(body) if packed else body, "a-geopackage"))


def test_the_key_column_of_a_geopackage_is_a_field(read: Read, tmp_path: Path) -> None:
    body = written(tmp_path, "a.gpkg", "GPKG", layer="toilets", layer_options={"FID": "OBJECTID"})
    refs = read(body, "a-geopackage", record_id="OBJECTID").table.column("source_ref")
    assert refs.to_pylist() == [f"{number}#toilets" for number in range(1, COUNT + 1)]


def test_a_flatgeobuf_is_read(read: Read, tmp_path: Path) -> None:
    check(read(written(tmp_path, "a.fgb", "FlatGeobuf", PLACES.to_crs(3879)), "a-flatgeobuf"))


@pytest.mark.parametrize(("encoding", "crs"), [("cp1252", 4326), ("utf-8", 3067), ("cp1252", 2393)])
def test_a_shapefile_is_read_out_of_its_archive(
    read: Read, tmp_path: Path, encoding: str, crs: int
) -> None:
    files = shapefile(tmp_path, frame=PLACES.to_crs(crs), encoding=encoding)
    check(read(zipped(files | {"data/readme.txt": b"hello"}), "a-shapefile", encoding=encoding))


@pytest.mark.parametrize("name", ["a.kml", "doc.kml"])
def test_a_kml_is_read_also_in_a_kmz(read: Read, tmp_path: Path, name: str) -> None:
    frame = PLACES.rename(columns={"name": "Name"})
    body = written(tmp_path, name, "LIBKML", frame)
    check(read(zipped({name: body}) if name == "doc.kml" else body, "a-kml"))


@pytest.mark.parametrize("crs", [4326, 3067])
@pytest.mark.parametrize("version", ["GML2", "GML3.2"])
def test_a_gml_is_read_whatever_order_of_axes_it_has(
    read: Read, tmp_path: Path, version: str, crs: int
) -> None:
    body = written(tmp_path, "a.gml", "GML", PLACES.to_crs(crs), FORMAT=version)
    check(read(body, "a-gml"))


def test_a_sheet_of_a_spreadsheet_is_read(read: Read, tmp_path: Path) -> None:
    frame = PLACES.to_crs(3067)
    sheet = pd.DataFrame(frame.drop(columns="geometry")).assign(wkt=frame.geometry.to_wkt())
    written(tmp_path, "a.xlsx", "XLSX", geopandas.GeoDataFrame(sheet), layer="Toilets")
    check(read((tmp_path / "a.xlsx").read_bytes(), "a-spreadsheet"))


def test_numbers_of_a_spreadsheet_are_coordinates(read: Read, tmp_path: Path) -> None:
    sheet = pd.DataFrame(PLACES.drop(columns="geometry"))
    sheet = sheet.assign(x=PLACES.geometry.x, y=PLACES.geometry.y)
    body = written(tmp_path, "a.xlsx", "XLSX", geopandas.GeoDataFrame(sheet), layer="Toilets")
    check(read(body, "a-spreadsheet", geometry=None, crs=None, lon="x", lat="y"))


def test_lines_of_a_spreadsheet_before_its_header_are_skipped(read: Read, tmp_path: Path) -> None:
    sheet = pd.DataFrame(PLACES.drop(columns="geometry"))
    sheet = sheet.assign(x=PLACES.geometry.x, y=PLACES.geometry.y)
    rows = [["Toilets of Exempel"], ["2026"], list(sheet.columns), *sheet.to_numpy().tolist(), []]
    rows = [[*row, *[None] * (len(sheet.columns) - len(row))] for row in rows]
    lines = pd.DataFrame(rows).astype("string")
    lines.columns = [f"c{number}" for number in range(lines.shape[1])]
    body = written(tmp_path, "a.xlsx", "XLSX", geopandas.GeoDataFrame(lines), layer="Toilets")
    keys = {"geometry": None, "crs": None, "lon": "x", "lat": "y"}
    # GDAL writes the names c0, c1, ... as the first row.
    check(read(body, "a-spreadsheet", skip_lines=3, **keys))


def test_a_column_of_a_sheet_without_a_title_has_a_number(read: Read, tmp_path: Path) -> None:
    sheet = pd.DataFrame(
        [
            ["Toilets of Exempel", None, None],
            ["ref", "position", None],
            [None, "longitude", "latitude"],
            *([str(100 + n), f"{24.91 + n / 500}", "60.16"] for n in range(9)),
        ],
        columns=["c0", "c1", "c2"],
    )
    body = written(tmp_path, "a.xlsx", "XLSX", geopandas.GeoDataFrame(sheet), layer="Toilets")
    places = read(
        body,
        "a-spreadsheet",
        skip_lines=2,
        geometry=None,
        crs=None,
        lon="position",
        lat="Field3",
        where_not={"ref": ""},
        fields={},
    )
    assert (places.table.num_rows, places.skipped) == (9, 1)


def test_a_column_without_a_title_has_that_of_the_line_before(read: Read, tmp_path: Path) -> None:
    sheet = pd.DataFrame(
        [
            ["ref", "name", "position", None, None],
            [None, None, "longitude", "latitude", "latitude"],
            *([str(100 + n), f"WC {n}", f"{24.91 + n / 500}", "60.16", "0"] for n in range(9)),
        ],
        columns=[f"c{number}" for number in range(5)],
    )
    body = written(tmp_path, "a.xlsx", "XLSX", geopandas.GeoDataFrame(sheet), layer="Toilets")
    keys = {"geometry": None, "crs": None, "lon": "longitude", "lat": "latitude"}
    places = read(body, "a-spreadsheet", skip_lines=2, attributes={"second": "Field5"}, **keys)
    assert places.table.column("source_ref")[0].as_py() == "100#toilets"
    assert places.table.column("name")[0].as_py() == "WC 0"
    assert places.table.column("attributes")[0].as_py() == '{"second":"0"}'


def test_a_sheet_of_opendocument_is_read(read: Read, tmp_path: Path) -> None:
    sheet = pd.DataFrame(PLACES.drop(columns="geometry"))
    sheet = sheet.assign(lon=PLACES.geometry.x, lat=PLACES.geometry.y)
    body = written(tmp_path, "a.ods", "ODS", geopandas.GeoDataFrame(sheet), layer="Toilets")
    check(read(body, "an-opendocument-sheet"))
    check(read(zipped({"data/a.ods": body}), "an-opendocument-sheet"))


RECORDS = "".join(
    f"<wc ref='{ref}'><name>{name}</name><at lon='{point.x}'>{point.y}</at></wc>"
    for ref, name, point in zip(PLACES["ref"], PLACES["name"], PLACES.geometry, strict=True)
)


def test_the_elements_of_xml_are_read_as_members_of_objects(read: Read) -> None:
    body = f"<?xml version='1.0' encoding='latin-1'?><r><list>{RECORDS}</list></r>".encode(
        "latin-1"
    )
    check(read(body, "an-xml"))
    # An element that does not repeat is a list of one record.
    one = "<r><list><wc ref='1'><name>A</name><at lon='24.95'>60.17</at></wc></list></r>"
    assert read(one.encode(), "an-xml", minimum=1).table.num_rows == 1


def test_xml_is_as_deep_as_its_limit(read: Read) -> None:
    body = b"<a>" * 101 + b"</a>" * 101
    with pytest.raises(FeedUnreadable, match="more than 100 elements inside of each other"):
        read(body, "an-xml")


def test_an_area_of_a_geopackage_has_a_point_inside(read: Read, tmp_path: Path) -> None:
    areas = PLACES.to_crs(3067)
    frame = areas.set_geometry(areas.geometry.buffer(20))
    body = written(tmp_path, "a.gpkg", "GPKG", frame, layer="toilets")
    rows = read(body, "a-geopackage").table.to_pylist()
    assert {row["point_source"] for row in rows} == {"surface"}


@pytest.mark.parametrize(
    ("value", "crs"),
    [
        ("POINT (24.912 60.16)", None),
        ("SRID=4326;POINT(24.912 60.16)", None),
        ('{"type": "Point", "coordinates": [24.912, 60.16]}', None),
        ({"type": "Point", "coordinates": [24.912, 60.16]}, None),
        ("MULTIPOINT ((24.912 60.16))", None),
        (shapely.to_wkb(shapely.Point(24.912, 60.16), hex=True), None),
        (shapely.to_wkb(shapely.set_srid(shapely.Point(24.912, 60.16), 4326), hex=True), None),
        ("POLYGON ((24.911 60.159, 24.913 60.159, 24.913 60.161, 24.911 60.161, 24.911 60.159))",
         None),
    ],
    ids=str,
)  # fmt: skip
def test_a_field_with_a_geometry_is_a_position(read: Read, value: Any, crs: str | None) -> None:
    records = [{"id": number, "place": value} for number in range(COUNT)]
    places = read(
        json.dumps(records).encode(),
        "array-of-objects",
        record_id="id",
        fields=None,
        attributes=None,
        geometry="place",
        crs=crs,
        lon=None,
        lat=None,
    )
    assert places.rejections == []
    assert places.table.column("lon").to_pylist() == pytest.approx([24.912] * COUNT)


def test_json_of_arcgis_and_of_links_is_read_page_by_page(read: Read) -> None:
    features = [
        {"attributes": {"OBJECTID": n, "NAME": f"WC {n}"}, "geometry": {"x": 24.95, "y": 60.17}}
        for n in range(COUNT)
    ]
    pages = [{"features": features[:4]}, {"features": features[4:]}, {"features": []}]
    places = read(json.dumps(pages).encode(), "pages-of-arcgis")
    assert (len(places.table), places.rejections) == (COUNT, [])


def test_records_by_their_keys_have_the_key_as_a_field(read: Read) -> None:
    stations = {f"s{n}": {"name": f"S {n}", "at": [60.17, 24.95]} for n in range(COUNT)}
    places = read(
        json.dumps({"last_updated": 1, "data": {"stations": stations}}).encode(),
        "stations-of-gbfs",
        record_id="@key",
        attributes=None,
        lat_lon="at",
        lon=None,
        lat=None,
    )
    assert places.table.column("source_ref")[0].as_py() == "s0#bicycle_rental"


# Archives


def test_of_several_files_of_an_archive_the_key_names_one(read: Read) -> None:
    stop = "1,WC,60.17,24.95\n"
    files = {
        "feed/stops.txt": b"id,name,lat,lon\n" + stop.encode(),
        "feed/other.txt": b"a,b\n1,2\n",
        "__MACOSX/feed/._stops.txt": b"clutter",
    }
    changes: dict[str, Any] = {
        "columns": None,
        "lon": "lon",
        "lat": "lat",
        "record_id": "id",
        "fields": {"name": "name"},
        "attributes": None,
        "minimum": 1,
    }
    for member in ("stops.txt", "feed/stops.txt"):
        assert len(read(zipped(files), "stops-of-gtfs", member=member, **changes).table) == 1
    with pytest.raises(FeedUnreadable, match=r"2 csv files; .*'feed/stops.txt'.*Set its key m"):
        read(zipped(files), "stops-of-gtfs", member=None, **changes)
    with pytest.raises(FeedUnreadable, match=r"no file 'stop\.txt'"):
        read(zipped(files), "stops-of-gtfs", member="stop.txt", **changes)


def test_of_several_layers_the_key_names_one(read: Read, tmp_path: Path) -> None:
    written(tmp_path, "a.gpkg", "GPKG", layer="toilets")
    body = written(tmp_path, "a.gpkg", "GPKG", PLACES.head(1), layer="others", mode="a")
    check(read(body, "a-geopackage"))
    with pytest.raises(FeedUnreadable, match=r"2 layers; it has 'toilets', 'others'\. Set its lay"):
        read(body, "a-geopackage", layer=None)


def test_all_layers_may_be_read_with_their_names_as_a_field(read: Read, tmp_path: Path) -> None:
    frame = PLACES.rename(columns={"name": "Name"})
    written(tmp_path, "a.kml", "LIBKML", frame.head(4), layer="WC")
    body = written(tmp_path, "a.kml", "LIBKML", frame.tail(3), layer="Shower", mode="a")
    kinds = {"WC": "toilets", "Shower": "shower"}
    places = read(body, "a-kml", layer="*", kind=None, kind_field="@layer", kinds=kinds)
    assert [row["kind"] for row in places.table.to_pylist()] == ["toilets"] * 4 + ["shower"] * 3
    with pytest.raises(FeedUnreadable, match=r'2 layers; .* layer = "\*" for all'):
        read(body, "a-kml")


def test_all_layers_need_one_coordinate_system(read: Read, tmp_path: Path) -> None:
    written(tmp_path, "a.gpkg", "GPKG", PLACES.head(4), layer="a")
    body = written(tmp_path, "a.gpkg", "GPKG", PLACES.tail(3).to_crs(3067), layer="b", mode="a")
    with pytest.raises(FeedUnreadable, match="several coordinate systems"):
        read(body, "a-geopackage", layer="*")


def test_what_unpacks_to_more_than_the_limit_is_refused(read: Read) -> None:
    huge = b"0" * 3_000_000
    for body in (gzip.compress(huge), zipped({"stops.txt": huge})):
        assert len(body) < 10_000
        with pytest.raises(FeedTooBig, match=r"unpacks to .* its maximum_bytes is 1,000,000"):
            read(body, "stops-of-gtfs", maximum_bytes=1_000_000, member=None)


def test_the_size_that_an_archive_announces_is_not_believed(read: Read) -> None:
    body = zipped({"stops.txt": b"0" * 3_000_000})
    lying = body.replace((3_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lying != body
    with pytest.raises((FeedTooBig, FeedUnreadable)):
        read(lying, "stops-of-gtfs", maximum_bytes=1_000_000)


def test_a_spreadsheet_that_unpacks_to_more_than_the_limit_is_refused(read: Read) -> None:
    body = zipped({"xl/workbook.xml": b"<a/>", "xl/worksheets/sheet1.xml": b" " * 3_000_000})
    with pytest.raises(FeedTooBig, match="unpacks to 3,000,004 bytes"):
        read(body, "a-spreadsheet", maximum_bytes=1_000_000)


@pytest.mark.parametrize(
    ("name", "root", "slug"),
    [
        ("xl/worksheets/sheet1.xml", b"<worksheet", "a-spreadsheet"),
        ("content.xml", b"<office:document", "an-opendocument-sheet"),
    ],
)
def test_a_spreadsheet_with_a_document_type_is_refused(
    read: Read, tmp_path: Path, name: str, root: bytes, slug: str
) -> None:
    sheet = geopandas.GeoDataFrame(pd.DataFrame(PLACES.drop(columns="geometry")))
    driver = "ODS" if name == "content.xml" else "XLSX"
    body = written(tmp_path, f"a.{driver.lower()}", driver, sheet, layer="Toilets")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    entity = b'<!DOCTYPE a [<!ENTITY file SYSTEM "file:///etc/passwd">]>' + root
    files[name] = files[name].replace(root, entity, 1)
    with pytest.raises(FeedUnreadable, match=f"{name}' has a document type"):
        read(zipped(files), slug)


def test_a_spreadsheet_is_not_believed_about_its_size(read: Read) -> None:
    sheet = b" " * 3_000_000
    body = zipped({"xl/workbook.xml": b"<a/>", "xl/worksheets/sheet1.xml": sheet})
    lying = body.replace((3_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    with pytest.raises(FeedUnreadable, match="damaged zip archive"):
        read(lying, "a-spreadsheet", maximum_bytes=1_000_000)


def test_an_archive_of_very_many_files_is_refused(read: Read) -> None:
    body = zipped({f"{number:05}.json": b"" for number in range(10_001)}, zipfile.ZIP_STORED)
    with pytest.raises(FeedTooBig, match="more than 10,000 files"):
        read(body, "stops-of-gtfs")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda body: body[: len(body) // 2], "damaged zip archive"),
        (lambda body: body[:40] + b"\xff" * 20 + body[60:], "damaged zip archive"),
        # Bit 0 of the flags, in the header of the file and in the directory: encrypted.
        (
            lambda body: body.replace(b"PK\3\4\x14\0\0\0", b"PK\3\4\x14\0\1\0").replace(
                b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"
            ),
            "is encrypted",
        ),
    ],
)
def test_a_damaged_or_encrypted_archive_is_refused(
    read: Read, spoil: Callable[[bytes], bytes], said: str
) -> None:
    body = zipped({"stops.txt": b"1,2,3,,60.17,24.95,,,,\n" * 50})
    with pytest.raises(FeedUnreadable, match=said):
        read(spoil(body), "stops-of-gtfs")


def test_a_method_of_compression_that_takes_much_memory_is_refused(read: Read) -> None:
    with pytest.raises(FeedUnreadable, match="by another method than deflate"):
        read(zipped({"stops.txt": b"1"}, zipfile.ZIP_LZMA), "stops-of-gtfs")


def test_a_damaged_gzip_file_is_refused(read: Read) -> None:
    with pytest.raises(FeedUnreadable, match=r"damaged gzip file .*Fetch it again"):
        read(gzip.compress(b"1,2,3" * 100)[:-10], "stops-of-gtfs")


# What GDAL must not read


@pytest.mark.parametrize("slug", ["a-kml", "a-gml"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            ("<OGRVRTDataSource><OGRVRTLayer><SrcDataSource>/etc/passwd</SrcDataSource>"
            "</OGRVRTLayer></OGRVRTDataSource>"),
            "its root element is 'OGRVRTDataSource'",
        ),
        ("<OGRWFSDataSource><URL>http://127.0.0.1:1/</URL></OGRWFSDataSource>", "its root element"),
        (
            '<!DOCTYPE kml [<!ENTITY file SYSTEM "file:///etc/passwd">]><kml>&file;</kml>',
            "a document type, refused",
        ),
        ('<!DOCTYPE kml SYSTEM "http://127.0.0.1:1/kml.dtd"><kml/>', "a document type, refused"),
        ("<kml/><OGRVRTDataSource/>", "junk after document element"),
        ("<kml>", "no element found"),
        ("hello", "syntax error"),
        ("", "no element found"),
    ],
    ids=lambda value: str(value)[:25],
)  # fmt: skip
def test_xml_that_refers_to_other_files_is_refused(
    read: Read, slug: str, body: str, said: str
) -> None:
    with pytest.raises(FeedUnreadable, match=said):
        read(body.encode(), slug)


def test_plain_xml_with_a_document_type_is_refused(read: Read) -> None:
    entities = '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY f SYSTEM "/etc/passwd">'
    body = f"<!DOCTYPE r [{entities}]><r><list><wc>&b;&f;</wc></list></r>"
    with pytest.raises(FeedUnreadable, match="a document type, refused"):
        read(body.encode(), "an-xml")


@pytest.mark.server
def test_no_link_in_a_document_is_followed(read: Read, tmp_path: Path) -> None:
    with FeedServer(lambda _: Reply(body=b"<kml/>", content_type="text/xml")) as server:
        address = server.address("more.kml")
        kml = written(tmp_path, "a.kml", "LIBKML", PLACES.rename(columns={"name": "Name"}))
        link = f"<NetworkLink><Link><href>{address}</href></Link></NetworkLink>"
        style = f"<styleUrl>{address}#a</styleUrl>"
        body = kml.replace(b"<Placemark", f"{link}<Placemark".encode(), 1)
        body = body.replace(b"</Placemark>", f"{style}</Placemark>".encode())
        check(read(body, "a-kml"))
        gml = written(tmp_path, "a.gml", "GML", PLACES)
        located = gml.replace(b"a.xsd", server.address("a.xsd").encode())
        assert located != gml
        linked = located.replace(
            b"<ogr:name>", f'<ogr:other xlink:href="{address}"/><ogr:name>'.encode()
        ).replace(b"<ogr:FeatureCollection", b"<ogr:FeatureCollection "
                  b'xmlns:xlink="http://www.w3.org/1999/xlink"', 1)  # fmt: skip
        check(read(linked, "a-gml"))
        assert server.requests == []


def database(folder: Path, *statements: str) -> bytes:
    path = folder / "a.gpkg"
    path.unlink(missing_ok=True)
    written(folder, "a.gpkg", "GPKG", layer="toilets")
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path.read_bytes()


def test_a_database_with_views_or_virtual_tables_is_refused(read: Read, tmp_path: Path) -> None:
    body = database(tmp_path, "CREATE VIRTUAL TABLE x USING fts3(a)")
    with pytest.raises(FeedUnreadable, match="the virtual table 'x', which is refused"):
        read(body, "a-geopackage")
    body = database(
        tmp_path,
        "CREATE VIEW v AS SELECT * FROM toilets",
        "UPDATE gpkg_contents SET table_name = 'v', identifier = 'v'",
        "UPDATE gpkg_geometry_columns SET table_name = 'v'",
    )
    with pytest.raises(FeedUnreadable, match="whose layer 'v' is a view, refused"):
        read(body, "a-geopackage", layer="v")
    with closing(sqlite3.connect(tmp_path / "b.sqlite")) as connection:
        connection.execute("CREATE TABLE toilets (ref, name)")
        connection.commit()
    with pytest.raises(FeedUnreadable, match="not a geopackage"):
        read((tmp_path / "b.sqlite").read_bytes(), "a-geopackage")


@pytest.mark.parametrize(
    "slug",
    [
        *("a-geopackage", "a-flatgeobuf", "a-shapefile", "a-spreadsheet", "an-opendocument-sheet"),
        *("a-kml", "a-gml", "an-xml"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "FeatureCollection", "features": []}',
        b"/vsicurl/http://127.0.0.1:1/",
        b"SQLite format 3\0",
        b"fgb\3fgb\0" + b"\0" * 100,
        b"\0\0\x27\x0a" + b"\0" * 96,
        b"PK\3\4",
    ],
    ids=ascii,
)
def test_what_is_not_of_the_format_is_refused(read: Read, slug: str, body: bytes) -> None:
    with pytest.raises(
        FeedUnreadable, match=r"Check the feed|Correct its|Fetch it again|The file is"
    ):
        read(body, slug)
