"""City-days from end to end, compared with readings and counts that are not ours."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import osmium
import pytest
import shapely
import sqlalchemy as sa
from click.testing import CliRunner

from ingestion_pipeline.cli.main import main
from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.normalize import normalize
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.sources.overpass import client as overpass
from ingestion_pipeline.sources.pbf import extract
from ingestion_pipeline.staging.days import Slice, difference, read_day
from ingestion_pipeline.staging.tables import (
    ingestion_rejection,
    poi_ingestion_staging,
    staged_partition,
)
from ingestion_pipeline.staging.upstream import usage_since
from ingestion_pipeline_tests.support.independent import things_of
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    Hurried,
    ScriptedClock,
    contents,
    failure,
    installed,
    metadata,
    overpass_cafes,
    why,
)
from ingestion_pipeline_tests.support.overpass_server import (
    OverpassServer,
    Reply,
    error_page,
    overpass_json,
    refusing_url,
)
from testbed.towns import NOON, TOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline_tests.support.installation import Installation

WORLD = (poi_ingestion_staging, staged_partition, ingestion_rejection)
"""The tables that tell of the world, and not of runs."""

# Boxes that lie within the data and cut streets, buildings and parks.
HELSINKI_BOX = (24.9352, 60.1642, 24.95, 60.175)
MONACO_BOX = (7.412, 43.725, 7.43, 43.743)
LIECHTENSTEIN_BOX = (9.48, 47.07, 9.54, 47.2)
HEIDELBERG_BOX = (8.66, 49.38, 8.72, 49.43)
ANDORRA_BOX = (1.48, 42.45, 1.6, 42.56)


@dataclass(frozen=True)
class Place:
    """An extract of `OSM_TEST_DATA/extracts`, its days, and a box within it."""

    name: str
    days: tuple[str, ...]
    box: tuple[float, float, float, float]

    def city(self, folder: Path) -> dict[str, Any]:
        template = str(folder / "extracts" / f"{self.name}-{{day}}.osm.pbf")
        return city_of(self.box, template)


MONACO = Place("monaco", ("2021-04-21", "2023-12-26"), MONACO_BOX)
LIECHTENSTEIN = Place("liechtenstein", ("2015-07-27", "2022-07-24"), LIECHTENSTEIN_BOX)
ANDORRA = Place("andorra", ("2025-01-19",), ANDORRA_BOX)


def city_of(box: Sequence[float], template: str) -> dict[str, Any]:
    return TOWN | {"bbox": list(box), "osm_source": "extract", "osm_extract": template}


def slice_of(day: str | date) -> Slice:
    return Slice("town", "poi", "osm", date.fromisoformat(str(day)))


@pytest.fixture
def geopackage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/staging.gpkg"


# Nothing is lost


def rejected_as_no_poi(engine: sa.Engine) -> set[str]:
    table = ingestion_rejection
    with engine.connect() as connection:
        reasons = ("no_main_tag", "not_a_place")
        query = sa.select(table.c.source_ref).where(table.c.reason.in_(reasons))
        return set(connection.execute(query).scalars())


def assert_every_selected_object_is_staged(
    here: Installation,
    path: Path,
    day: str,
    box: tuple[float, float, float, float],
    *,
    explained: frozenset[str] = frozenset(),
) -> None:
    result = here.run(f"town|{day}")
    assert result.success, why(result)
    rows = read_day(here.engine, slice_of(day), ["source_ref"])
    assert rows is not None
    staged = {row["source_ref"] for row in rows}
    expected = {ref for ref, thing in things_of(path).items() if thing.lies_in(box)}
    assert len(expected) > 500
    assert (staged | rejected_as_no_poi(here.engine)) ^ expected == explained


def test_every_selected_object_of_the_sample_within_the_boundary_is_staged(
    tmp_path: Path, geopackage: str, helsinki_pbf: Path
) -> None:
    city = city_of(HELSINKI_BOX, "sample:helsinki")
    with installed(tmp_path, geopackage, cities=[city]) as here:
        assert_every_selected_object_is_staged(here, helsinki_pbf, "2019-04-21", HELSINKI_BOX)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("place", "day"),
    [(place, day) for place in (MONACO, LIECHTENSTEIN, ANDORRA) for day in place.days],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_selected_object_of_an_extract_within_the_boundary_is_staged(
    tmp_path: Path, geopackage: str, osm_test_data: Path, place: Place, day: str
) -> None:
    path = osm_test_data / "extracts" / f"{place.name}-{day}.osm.pbf"
    with installed(tmp_path, geopackage, cities=[place.city(osm_test_data)]) as here:
        assert_every_selected_object_is_staged(here, path, day, place.box)


@pytest.mark.real_data
def test_an_extract_without_metadata_of_its_objects_is_of_the_day_that_its_header_tells(
    tmp_path: Path, geopackage: str, osm_test_data: Path
) -> None:
    path = osm_test_data / "extracts" / "heidelberg-nometa.osm.pbf"
    city = city_of(HEIDELBERG_BOX, str(path))
    with installed(tmp_path, geopackage, cities=[city]) as here:
        code, words = failure(here.run("town|2024-09-07"))
        assert code == "no_evidence_for_day"
        assert "2024-09-08T20:21:00Z" in words
        # A running track whose inner way is not in the file: ours is the area within its outer
        # way, and the point on it lies west of the box; libosmium gives no area, and the middle
        # of the line lies in the box.
        assert_every_selected_object_is_staged(
            here, path, "2024-09-08", HEIDELBERG_BOX, explained=frozenset({"relation/2211807"})
        )
        rows = read_day(here.engine, slice_of("2024-09-08"), ["osm_version", "osm_timestamp"])
        assert all(value is None for row in rows or () for value in row.values())


def test_an_extract_that_tells_no_time_is_refused(tmp_path: Path, geopackage: str) -> None:
    path = tmp_path / "timeless.osm.pbf"
    writer = osmium.SimpleWriter(str(path))
    writer.add_node(
        osmium.osm.mutable.Node(id=1, location=(10.05, 50.05), tags={"amenity": "cafe"})
    )
    writer.close()
    with installed(tmp_path, geopackage, cities=[city_of(TOWN["bbox"], str(path))]) as here:
        assert failure(here.run(f"town|{TODAY}"))[0] == "extract_without_time"
        assert here.ledger()[0].error_code == "extract_without_time"
        assert here.manifests() == []


# Two days


COMPARED = ("tags", "osm_version", "osm_timestamp", "geometry")
Difference = dict[str, tuple[str, frozenset[str]]]

ROUTES = frozenset({"relation/3968916"})
"""Selected, and rejected: a hiking route whose `tourism` is the name of a village."""


@pytest.mark.real_data
@pytest.mark.parametrize("place", [MONACO, LIECHTENSTEIN], ids=lambda place: place.name)
def test_two_days_differ_as_their_files_do_and_staged_in_any_order_they_give_the_same_tables(
    tmp_path: Path,
    database_url: str,
    another_database_url: str,
    osm_test_data: Path,
    place: Place,
) -> None:
    earlier, later = place.days
    with installed(tmp_path / "1", database_url, cities=[place.city(osm_test_data)]) as here:
        counts = [here.run(f"town|{day}") for day in (earlier, later)][-1]
        expected = difference_of_files(osm_test_data, place)
        assert told_difference(here, place) == expected
        assert printed_difference(here, database_url, place) == expected
        for kind in ("added", "changed", "removed"):
            number = sum(change[0] == kind for change in expected.values())
            assert metadata(counts, "poi_staging")[kind] == number
        in_order = contents(here.engine, tables=WORLD)
        for day in (earlier, later):
            assert metadata(here.run(f"town|{day}"), "poi_staging")["written"] == 0
        assert contents(here.engine, tables=WORLD) == in_order
    with installed(
        tmp_path / "2", another_database_url, cities=[place.city(osm_test_data)]
    ) as here:
        for day in (later, earlier, later):
            result = here.run(f"town|{day}")
            assert result.success, why(result)
        assert contents(here.engine, tables=WORLD) == in_order


def told_difference(here: Installation, place: Place) -> Difference:
    earlier, later = place.days
    changes = difference(here.engine, slice_of(earlier), date.fromisoformat(later))
    assert {change.cause for change in changes} == {"upstream"}
    return {
        change.source_ref: (change.change, frozenset(change.changed_fields).intersection(COMPARED))
        for change in changes
    }


def printed_difference(here: Installation, database_url: str, place: Place) -> Difference:
    earlier, later = place.days
    printed = CliRunner().invoke(
        main,
        ["diff", "--city", "town", "--from", earlier, "--to", later, "--json"],
        env={"DATABASE_URL": database_url, "CITIES_FILE": str(here.folder / "cities.toml")},
        catch_exceptions=False,
    )
    changes = [json.loads(line) for line in printed.output.splitlines()]
    return {
        change["source_ref"]: (
            change["change"],
            frozenset(change["changed_fields"]).intersection(COMPARED),
        )
        for change in changes
    }


def difference_of_files(folder: Path, place: Place) -> Difference:
    """Tell two files apart without the package: which objects, and in what."""
    before, after = (
        {
            ref: {
                "tags": thing.tags,
                "osm_version": thing.version,
                "osm_timestamp": thing.timestamp,
                "geometry": shapely.normalize(thing.geometry),
            }
            for ref, thing in things_of(folder / "extracts" / f"{place.name}-{day}.osm.pbf").items()
            if thing.lies_in(place.box) and ref not in ROUTES
        }
        for day in place.days
    )
    result: Difference = {}
    for ref in before.keys() | after.keys():
        if ref not in after:
            result[ref] = ("removed", frozenset())
        elif ref not in before:
            result[ref] = ("added", frozenset())
        elif before[ref] != after[ref]:
            changed = frozenset(name for name in COMPARED if before[ref][name] != after[ref][name])
            result[ref] = ("changed", changed)
    return result


# Two sources, one result

MONACO_WINDOW = Bbox(7.409205, 43.72335, 7.448637, 43.75169)
"""The bbox of the recorded query."""


@pytest.mark.real_data
def test_the_same_objects_give_the_same_rows_from_overpass_and_from_an_extract(
    osm_test_data: Path,
) -> None:
    area = Area(MONACO_WINDOW, None)
    body = osm_test_data / "overpass" / "05-monaco-count-then-geom.body.json"
    file = osm_test_data / "extracts" / "monaco-2023-12-26.osm.pbf"
    from_overpass = rows_of(overpass.read([body], area=area))
    from_extract = rows_of(extract.read(file, area=area))
    assert len(from_overpass) == 1461
    # The recorded query asked for eight of the keys, so the extract gives more.
    assert from_overpass.keys() < from_extract.keys()
    for ref, row in from_overpass.items():
        assert row == from_extract[ref]


def rows_of(reading: Reading) -> dict[str, dict[str, Any]]:
    pois = normalize(
        reading.features,
        boundary=BboxBoundary(MONACO_WINDOW),
        day=date(2023, 12, 26),
        languages=["fr"],
        local_language="fr",
        country="MC",
        taxonomy=Taxonomy.load(),
    )
    return {row["source_ref"]: row for row in pois.table.to_pylist()}


@pytest.mark.real_data
def test_a_recorded_answer_is_staged_whole(
    tmp_path: Path, database_url: str, osm_test_data: Path
) -> None:
    recorded = Reply.recorded(osm_test_data / "overpass", "05-monaco-count-then-geom")
    city = TOWN | {"bbox": list(MONACO_WINDOW)}
    clock = ScriptedClock(datetime(2025, 1, 18, 12, tzinfo=UTC))
    with (
        OverpassServer(recorded) as server,
        installed(
            tmp_path, database_url, cities=[city], clock=clock, overpass_url=server.url
        ) as here,
    ):
        result = here.run("town|2025-01-18")
        assert result.success, why(result)
        assert metadata(result, "poi_staging")["dagster/row_count"] == 1461
        assert here.ledger()[0].as_of == datetime(2025, 1, 18, 9, 42, 10, tzinfo=UTC)


# Every way in which Overpass fails

CAFES = overpass_cafes({1: "A", 2: "B"})
BASE = "2024-06-01T11:59:00Z"
WHOLE = overpass_json(CAFES, base=BASE)
TIMED_OUT = 'runtime error: Query timed out in "query" at line 2 after 181 seconds.'
OUT_OF_MEMORY = 'runtime error: Query run out of memory in "query" at line 2 using 512 MB of RAM.'
NO_HISTORY = "runtime error: Tried to use museum file but no museum files available"
DUPLICATE = (
    "runtime error: open64: 0 Success /osm3s_osm_base "
    "Dispatcher_Client::request_read_and_idx::duplicate_query"
)
OVERLOAD = DUPLICATE.replace("duplicate_query", "protocol_error")
NO_DISPATCHER = (
    "runtime error: open64: 2 No such file or directory /osm3s_osm_base Dispatcher_Client::1"
)
WITHOUT_COUNT = json.dumps({"osm3s": {"timestamp_osm_base": BASE}, "elements": []})
PARTIAL = json.dumps(
    {"osm3s": {"timestamp_osm_base": BASE}, "elements": json.loads(WHOLE)["elements"][:-1]}
)
YESTERDAY = "2024-05-31"


@dataclass(frozen=True)
class Trouble:
    """What a server does, and what must come of it.

    Attributes:
        reply: Its answer to everything.
        code: The error that the ledger has to name.
        again: Whether Dagster is asked to try the step again.
        day: The day that is asked for.
    """

    reply: Reply
    code: str
    again: bool
    day: str = str(TODAY)


TROUBLES = {
    "timed out before output": Trouble(
        Reply(body=overpass_json([], base=BASE, remark=TIMED_OUT)), "overpass_too_big", False
    ),
    "timed out after whole elements": Trouble(
        Reply(body=overpass_json(CAFES, base=BASE, remark=TIMED_OUT)), "overpass_too_big", False
    ),
    "out of memory": Trouble(
        Reply(body=overpass_json(CAFES, base=BASE, remark=OUT_OF_MEMORY)), "overpass_too_big", False
    ),
    "died while printing": Trouble(
        Reply(body=WHOLE[:-200], framing="chunked"), "overpass_truncated", True
    ),
    "cut by the network": Trouble(Reply(body=WHOLE, cut_after=300), "overpass_truncated", True),
    "cut in its compression": Trouble(
        Reply(body=WHOLE, compressed=True, cut_after=100, framing="chunked"),
        "overpass_truncated",
        True,
    ),
    "fewer elements than counted": Trouble(Reply(body=PARTIAL), "overpass_truncated", True),
    "an area that is not there": Trouble(Reply(body=WITHOUT_COUNT), "overpass_truncated", True),
    "another type": Trouble(
        Reply(body="a,b\n1,2\n", content_type="text/csv"), "overpass_truncated", True
    ),
    "the same query again": Trouble(
        Reply(body=error_page(DUPLICATE), content_type="text/html"),
        "overpass_duplicate_query",
        True,
    ),
    "overload without a limit of rate": Trouble(
        Reply(body=error_page(OVERLOAD), content_type="text/html"), "overpass_busy", True
    ),
    "no history": Trouble(
        Reply(body=overpass_json([], base=BASE, remark=NO_HISTORY)),
        "overpass_no_attic",
        False,
        YESTERDAY,
    ),
    "history that ends before the day does": Trouble(
        Reply(body=overpass_json(CAFES, base="2024-05-31T20:00:00Z")),
        "stale_upstream",
        True,
        YESTERDAY,
    ),
    "a syntax error": Trouble(
        Reply(400, error_page("line 1: parse error: Unknown type"), "text/html"),
        "overpass_rejected",
        False,
    ),
    "no User-Agent": Trouble(
        Reply(406, "Not Acceptable", "text/html"), "overpass_forbidden", False
    ),
    "no slot": Trouble(
        Reply(429, error_page("runtime error: rate_limited"), "text/html"), "overpass_busy", True
    ),
    "more declared than is free": Trouble(
        Reply(504, error_page(OVERLOAD), "text/html"), "overpass_busy", True
    ),
    "dispatcher down": Trouble(
        Reply(504, error_page(NO_DISPATCHER), "text/html"), "overpass_busy", True
    ),
    "a broken proxy": Trouble(Reply(502, "Bad Gateway", "text/plain"), "overpass_busy", True),
    "hangs up": Trouble(Reply(hang_up=True, ending="reset"), "overpass_unreachable", True),
    "does not tell its time": Trouble(
        Reply(body=overpass_json(CAFES, base=None)), "no_evidence_for_day", False
    ),
    "stale": Trouble(
        Reply(body=overpass_json(CAFES, base="2024-05-20T00:00:00Z")), "stale_upstream", True
    ),
}


@pytest.fixture
def overpass_town(tmp_path: Path, geopackage: str) -> Iterator[tuple[OverpassServer, Installation]]:
    """A town, the server that it comes from, and a clock that nobody waits for."""
    with (
        OverpassServer() as server,
        installed(
            tmp_path,
            geopackage,
            cities=[TOWN],
            clock=ScriptedClock(NOON),
            retrying=Hurried(maximum=1),
            overpass_url=server.url,
        ) as here,
    ):
        yield server, here


def assert_nothing_is_staged(here: Installation, day: str, *, code: str, again: bool) -> None:
    result = here.run(f"town|{day}")
    told, words = failure(result)
    assert told == code
    assert any(event.is_step_up_for_retry for event in result.all_events) == again
    (run,) = here.ledger()
    assert (run.status, run.error_code, run.error_message) == ("FAILED", code, words)
    assert here.count(poi_ingestion_staging) == here.count(staged_partition) == 0
    assert here.manifests() == []


@pytest.mark.parametrize("name", TROUBLES)
def test_a_server_in_trouble_stages_nothing_and_the_ledger_says_why(
    overpass_town: tuple[OverpassServer, Installation], name: str
) -> None:
    server, here = overpass_town
    trouble = TROUBLES[name]
    server.default = trouble.reply
    assert_nothing_is_staged(here, trouble.day, code=trouble.code, again=trouble.again)
    server.default = Reply(body=WHOLE)
    result = here.run(f"town|{trouble.day}")
    assert result.success, why(result)  # and when the trouble is over, all is well
    assert metadata(result, "poi_staging")["dagster/row_count"] == 2


def test_the_history_of_a_server_is_proven_once_a_day(
    overpass_town: tuple[OverpassServer, Installation],
) -> None:
    server, here = overpass_town
    server.default = Reply(body=WHOLE)
    key = f"town|{YESTERDAY}"

    def proofs(job_type: str, asset: str, *, refetch: bool = False) -> list[int]:
        """Take a snapshot; count the questions for proof, and those for the city."""
        server.asides.clear()
        server.requests.clear()
        result = here.run(key, only=[asset], refetch=refetch, job_type=job_type)
        assert result.success, why(result)
        assert "is known in version 1" in metadata(result, asset)["history"]
        return [len([each for each in server.asides if each.question]), len(server.requests)]

    assert proofs("osm_import", "osm_snapshot") == [1, 1]
    assert proofs("osm_import", "osm_snapshot") == [0, 0]
    assert proofs("helpers_import", "helper_snapshot") == [0, 0]  # it takes that of the POIs
    lake, city = here.workshop.lake, here.workshop.cities.get("town")
    both = lake.manifest("poi", "town", city.boundary_key, date.fromisoformat(YESTERDAY))
    assert both is not None
    less = replace(both, selection=POIS.digest, selected=POIS.as_json())
    for name in ("poi", "helper"):  # of a version that asked for less
        lake.propose_candidate(replace(less, dataset=name))
    assert proofs("helpers_import", "helper_snapshot") == [0, 1]
    assert proofs("osm_import", "osm_snapshot", refetch=True) == [1, 1]


def test_a_server_whose_history_begins_later_stages_nothing(
    overpass_town: tuple[OverpassServer, Installation],
) -> None:
    server, here = overpass_town
    server.default = Reply(body=WHOLE)
    server.history = lambda _: Reply(body=overpass_json([], base=BASE))
    assert_nothing_is_staged(here, YESTERDAY, code="overpass_no_attic", again=False)


def test_an_answer_to_the_old_form_of_a_dated_query_is_fetched_again(
    overpass_town: tuple[OverpassServer, Installation],
) -> None:
    server, here = overpass_town
    server.default = Reply(body=WHOLE)
    key = f"town|{YESTERDAY}"
    assert here.run(key).success
    (path,) = here.manifests()
    document = json.loads(path.read_text())
    document["parts"][0]["query"] = f'[out:json][date:"{YESTERDAY}T23:59:59Z"];nwr[~"^(shop)$"~"."]'
    path.write_text(json.dumps(document))
    server.default = Reply(body=overpass_json([], base=BASE, remark=NO_HISTORY))
    assert failure(here.run(key))[0] == "overpass_no_attic"
    server.default = Reply(body=WHOLE)
    result = here.run(key)
    assert metadata(result, "osm_snapshot")["replayed"] is False
    assert metadata(here.run(key), "osm_snapshot")["replayed"] is True


def test_a_server_that_cannot_be_reached_stages_nothing(tmp_path: Path, geopackage: str) -> None:
    with installed(
        tmp_path,
        geopackage,
        cities=[TOWN],
        clock=ScriptedClock(NOON),
        retrying=Hurried(maximum=1),
        overpass_url=refusing_url(),
    ) as here:
        assert_nothing_is_staged(here, str(TODAY), code="overpass_unreachable", again=True)


def test_without_a_server_nothing_is_sent_and_the_message_says_what_to_set(
    tmp_path: Path, geopackage: str
) -> None:
    with installed(tmp_path, geopackage, cities=[TOWN], clock=ScriptedClock(NOON)) as here:
        assert_nothing_is_staged(here, str(TODAY), code="overpass_not_configured", again=False)
        assert "Set it to the interpreter of a server" in (here.ledger()[0].error_message or "")
        assert usage_since(here.engine, date.min) == []  # no request was counted


def test_a_way_whose_nodes_the_server_lacks_is_rejected_by_name_and_the_rest_is_staged(
    overpass_town: tuple[OverpassServer, Installation],
) -> None:
    server, here = overpass_town
    way = {
        "type": "way",
        "id": 5,
        "version": 1,
        "timestamp": "2024-01-01T00:00:00Z",
        "tags": {"amenity": "school"},
        "nodes": [1, 2, 3, 1],
        "bounds": {"minlat": 100, "minlon": 200, "maxlat": 100, "maxlon": 200},
        "geometry": [],
    }
    server.default = Reply(body=overpass_json([*CAFES, way], base=BASE))
    result = here.run(f"town|{TODAY}")
    assert result.success, why(result)
    assert metadata(result, "osm_pois")["rejected"] == 1
    assert "`way/5`" in metadata(result, "osm_pois")["rejections"]
    with here.engine.connect() as connection:
        (row,) = connection.execute(sa.select(ingestion_rejection)).mappings()
    assert (row["source_ref"], row["reason"]) == ("way/5", "missing_nodes")
    assert metadata(result, "poi_staging")["dagster/row_count"] == 2


RECORDED: Mapping[str, tuple[str, bool, str]] = {
    "01-monaco-json-meta-geom": ("overpass_truncated", True, str(TODAY)),
    "16-area-no-match": ("overpass_truncated", True, str(TODAY)),
    "17-rel-area-not-generated-moscow": ("overpass_truncated", True, str(TODAY)),
    "20-empty-json": ("overpass_truncated", True, str(TODAY)),
    "22-bbox-wrapped-antimeridian": ("overpass_truncated", True, str(TODAY)),
    "30-syntax-error": ("overpass_rejected", False, str(TODAY)),
    "31-unknown-setting": ("overpass_rejected", False, str(TODAY)),
    "32-bad-bbox": ("overpass_rejected", False, str(TODAY)),
    "33-bad-bbox-lat91": ("overpass_rejected", False, str(TODAY)),
    "34-bad-regex": ("overpass_rejected", False, str(TODAY)),
    "36-empty-data": ("overpass_rejected", False, str(TODAY)),
    "37-timeout-zero": ("overpass_rejected", False, str(TODAY)),
    "46-limit-truncates-silently": ("overpass_truncated", True, str(TODAY)),
    "50-timeout-before-output": ("overpass_too_big", False, str(TODAY)),
    "51-timeout-after-partial-output": ("overpass_too_big", False, str(TODAY)),
    "53-timeout-partial-csv": ("overpass_truncated", True, str(TODAY)),
    "54-maxsize-before-output": ("overpass_too_big", False, str(TODAY)),
    "55-maxsize-partial": ("overpass_too_big", False, str(TODAY)),
    "60-date-on-db-without-attic": ("overpass_no_attic", False, YESTERDAY),
    "61-date-future-without-attic": ("overpass_no_attic", False, YESTERDAY),
    "68-hist-date-before-db-start": ("overpass_no_attic", False, YESTERDAY),
    "82-third-concurrent-429": ("overpass_busy", True, str(TODAY)),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_that_is_no_data_stages_nothing(
    overpass_town: tuple[OverpassServer, Installation], osm_test_data: Path, name: str
) -> None:
    server, here = overpass_town
    code, again, day = RECORDED[name]
    server.default = Reply.recorded(osm_test_data / "overpass", name)
    assert_nothing_is_staged(here, day, code=code, again=again)
