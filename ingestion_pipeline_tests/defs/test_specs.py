"""What Dagster shows of every asset."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import dagster_webserver
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from pydantic import SecretStr

from ingestion_pipeline.core.manual import columns_of
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.resources import build_resources
from ingestion_pipeline.staging.tables import VIEWS, staged_partition
from ingestion_pipeline_tests.support.feed_server import FOUNTAINS, TOILETS
from ingestion_pipeline_tests.support.toy_dataset import BENCH
from testbed.towns import TOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from ingestion_pipeline.datasets.base import Dataset
    from ingestion_pipeline.defs.resources import PipelineResources
    from ingestion_pipeline_tests.support.installations import Install

SECRETS = {
    "overpass": "Tulip-7f3a",
    "extract": "Daisy-91bc",
    "city": "Poppy-55de",
    "feed": "Aster-20aa",
    "database": "Lilac-c4e8",
}
CITIES = [
    TOWN
    | {
        "slug": "old-town",
        "bbox": [10.0, 50.0, 10.05, 50.1],
        "feed": [
            {**TOILETS, "location": f"https://u:{SECRETS['feed']}@feeds.example/wc?k=1"},
            dict(FOUNTAINS),
        ],
    },
    TOWN
    | {
        "slug": "new-town",
        "bbox": [10.05, 50.0, 10.1, 50.1],
        "osm_source": "extract",
        "osm_extract": f"https://x.example/{{day}}.osm.pbf?token={SECRETS['city']}",
    },
]


@pytest.fixture
def pipeline(install: Install) -> PipelineResources:
    """An installation in which everything has a secret."""
    here = install(
        cities=CITIES,
        overpass_url=SecretStr(f"https://me:{SECRETS['overpass']}@o.example/api/interpreter"),
        osm_extract=f"https://e.example/{{region}}.osm.pbf?token={SECRETS['extract']}",
        asset_owners="team:places,maps@town.example",
    )
    secret = SecretStr(f"postgresql://poi:{SECRETS['database']}@db.example/poi?password=x")
    return with_database(here.workshop, secret)


def with_database(pipeline: PipelineResources, url: SecretStr) -> PipelineResources:
    """Return the resources with a database that is not there."""
    settings = pipeline.settings.model_copy(update={"database_url": url})
    return replace(pipeline, settings=settings)


@pytest.fixture
def specs(pipeline: PipelineResources) -> Mapping[str, dg.AssetSpec]:
    found = build_definitions(pipeline).resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec for spec in found}


def staging_assets() -> set[str]:
    return {dataset.staging_asset for dataset in DATASETS.values()}


def test_every_asset_says_what_it_is_who_owns_it_and_where_it_is(
    specs: Mapping[str, dg.AssetSpec],
) -> None:
    chains = {name for dataset in DATASETS.values() for name in dataset.chain}
    upstream = {
        "upstream/overpass",
        "upstream/extract",
        "upstream/feed/old_town/toilets",
        "upstream/feed/old_town/fountains",
    }
    chains.add("poi")
    assert set(specs) == chains | upstream | {"staged_days"}
    for name, spec in specs.items():
        # Upstream and the list of staged days are not of one city-day; nothing materializes them.
        assert (spec.partitions_def is None) == (name not in chains), name
        assert spec.group_name not in (None, "default"), name
        assert spec.description, name
        assert list(spec.owners) == ["team:places", "maps@town.example"], name
        assert spec.metadata["dagster/uri"], name


def test_dagster_has_an_icon_for_every_kind(specs: Mapping[str, dg.AssetSpec]) -> None:
    built = Path(dagster_webserver.__file__).parent / "webapp/build/_next/static/chunks"
    (tags,) = {
        text
        for path in built.glob("*.js")
        if "duckdb:{icon" in (text := path.read_text(encoding="utf-8"))
    }
    icons = {a or b for a, b in re.findall(r'[,{](?:"([^"]+)"|(\w+)):\{icon:', tags)}
    assert "snowflake" in icons
    for name, spec in specs.items():
        assert spec.kinds, name
        assert set(spec.kinds) <= icons, name


def test_the_kind_of_the_database_is_that_of_the_installation(install: Install) -> None:
    def kinds(pipeline: PipelineResources) -> set[str]:
        specs = build_definitions(pipeline).resolve_all_asset_specs()
        return {kind for spec in specs for kind in spec.kinds} & {"postgres", "sqlite"}

    embedded = install().workshop
    assert kinds(embedded) == {"sqlite"}
    url = SecretStr("postgresql://poi@db.example/poi")
    assert kinds(with_database(embedded, url)) == {"postgres"}


def test_lineage_is_one_graph_from_upstream_to_staged_days_and_public_places(
    specs: Mapping[str, dg.AssetSpec],
) -> None:
    above = {
        name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in specs.items()
    }
    reached, look_at = set[str](), ["staged_days", "poi"]
    while look_at:
        name = look_at.pop()
        if name not in reached:
            reached.add(name)
            look_at += above[name]
    assert reached == set(specs)
    assert {name for name, before in above.items() if not before} == {
        name for name in specs if name.startswith("upstream/")
    }


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_the_assets_of_a_dataset_have_tags_versions_and_code(
    specs: Mapping[str, dg.AssetSpec], dataset: Dataset
) -> None:
    for name in dataset.chain:
        spec = specs[name]
        assert spec.tags["ingestion/dataset"] == dataset.name
        assert spec.tags["ingestion/step"] in {"feeds", "snapshot", "frame", "staging"}
        references = spec.metadata["dagster/code_references"].value.code_references
        assert references
        for reference in references:
            line = (
                Path(reference.file_path).read_text("utf-8").splitlines()[reference.line_number - 1]
            )
            assert line.startswith(f"def {reference.label.rpartition('.')[2]}("), reference
    for name in filter(None, (dataset.frame_asset, dataset.staging_asset)):
        assert specs[name].code_version == dataset.rules.name
    assert dataset.selection.digest[:12] in (specs[dataset.snapshot_asset].code_version or "")


def test_only_staging_assets_have_a_freshness_policy(specs: Mapping[str, dg.AssetSpec]) -> None:
    fresh = {name for name, spec in specs.items() if spec.freshness_policy is not None}
    assert fresh == staging_assets()


def columns(spec: dg.AssetSpec) -> list[dg.TableColumn]:
    schema = spec.metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    return list(schema.columns)


def tables_shown() -> dict[str, sa.Table]:
    return {dataset.staging_asset: dataset.table for dataset in DATASETS.values()} | {
        "staged_days": staged_partition
    }


@pytest.mark.parametrize("name", tables_shown())
def test_the_columns_of_a_table_are_those_of_its_schema_with_the_words_of_the_dictionary(
    specs: Mapping[str, dg.AssetSpec], name: str
) -> None:
    table, spec = tables_shown()[name], specs[name]
    assert spec.metadata["dagster/table_name"] == table.name
    assert spec.metadata["dagster/storage_kind"] == "postgres"
    assert [column.name for column in columns(spec)] == table.columns.keys()
    dictionary = files("ingestion_pipeline").joinpath("../docs/data-dictionary.md").read_text()
    section = dictionary.partition(f"\n## `{table.name}`\n")[2].partition("\n## ")[0]
    types = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE))
    for column in columns(spec):
        assert column.constraints.nullable == table.columns[column.name].nullable, column.name
        assert column.type == types[column.name], column.name
        assert column.description, column.name


def test_a_column_is_described_in_plain_text_with_addresses_of_the_manual() -> None:
    described = columns_of("poi_ingestion_staging")
    assert described["category"] == (
        "such as amenity/cafe; see categories (/manual/categories/). Source: main tags."
    )
    assert "Null when: geometry has no area." in described["area_m2"]
    assert columns_of(BENCH.name) == {}


def test_a_frame_shows_the_columns_that_its_file_has(specs: Mapping[str, dg.AssetSpec]) -> None:
    names = [column.name for column in columns(specs["osm_pois"])]
    assert names[:2] == ["source_ref", "source_hash"]
    assert names[-1] == "content_hash"
    assert not {"id", "city_slug", "valid_from", "valid_to"} & {*names}


def test_a_table_names_its_views(specs: Mapping[str, dg.AssetSpec]) -> None:
    assert specs["poi_staging"].metadata["views"].value == ", ".join(VIEWS["poi"])


def test_an_address_is_a_link_where_a_browser_can_open_it(
    specs: Mapping[str, dg.AssetSpec],
) -> None:
    def link(name: str) -> Any:
        entry = specs[name].metadata.get("link")
        return entry and entry.value

    assert link("upstream/overpass") == "https://o.example/api/interpreter"
    assert link("upstream/feed/old_town/toilets") == "https://feeds.example/wc"
    assert link("upstream/extract") is None  # a template
    assert link("upstream/feed/old_town/fountains") is None


def test_what_is_not_configured_is_said_to_be_so(install: Install) -> None:
    specs = build_definitions(install(cities=[TOWN]).workshop).resolve_all_asset_specs()
    (overpass,) = (spec for spec in specs if spec.key.path[-1] == "overpass")
    assert overpass.metadata["dagster/uri"] == "not set"


# Resources


def test_the_steps_require_the_resources_that_they_use(pipeline: PipelineResources) -> None:
    definitions = build_definitions(pipeline)
    required = {
        key.to_user_string(): asset.required_resource_keys - {"io_manager"}
        for asset in definitions.assets or ()
        if isinstance(asset, dg.AssetsDefinition)
        for key in asset.keys
    }
    stored = {"pipeline", "database", "lake"}
    everything = stored | {"overpass", "extracts"}
    assert required == {
        "osm_snapshot": everything,
        "osm_pois": everything,
        "poi_staging": stored,
        "helper_feeds": stored,
        "helper_snapshot": everything,
        "helper_places": everything,  # it shapes the rows too
        "poi": {"pipeline", "database"},
    }
    sensors = [sensor.required_resource_keys for sensor in definitions.sensors or ()]
    assert sensors == [{"pipeline", "database"}] * 3 + [stored] * 2


def test_a_resource_shows_its_configuration_and_no_secret(pipeline: PipelineResources) -> None:
    resources = build_resources(pipeline)
    shown = {
        key: resource.get_resource_definition().config_schema.default_value
        for key, resource in resources.items()
    }
    assert shown["database"] == {"address": "postgresql://poi:***@db.example/poi"}
    assert shown["lake"] == {"location": pipeline.settings.data_dir}
    assert shown["overpass"]["server"] == "https://o.example/api/interpreter"
    assert shown["overpass"]["cities"] == ["old-town"]
    assert shown["extracts"] == {
        "template": "https://e.example/{region}.osm.pbf",
        "cities": {"new-town": "https://x.example/{day}.osm.pbf"},
    }
    assert shown["pipeline"]["cities"] == ["old-town", "new-town"]


@pytest.mark.filterwarnings("ignore:Property .ScheduleDefinition:DeprecationWarning")
def test_no_secret_reaches_what_the_code_server_sends(pipeline: PipelineResources) -> None:
    repository = build_definitions(pipeline).get_repository_def()
    sent = serialize_value(RepositorySnap.from_def(repository))
    assert "db.example" in sent
    assert "o.example" in sent
    assert {name for name, secret in SECRETS.items() if secret in sent} == set()


def test_resources_of_one_process_share_the_connections(install: Install) -> None:
    pipeline = install(cities=[TOWN]).workshop
    for _ in range(2):
        with dg.build_resources(dict(build_resources(pipeline))) as given:
            assert given.pipeline is pipeline
            assert given.database.engine is pipeline.engine
            assert given.lake.lake is pipeline.lake


def test_a_launch_cannot_configure_a_resource(pipeline: PipelineResources) -> None:
    elsewhere = {"database": {"config": {"address": "postgresql://elsewhere.example/poi"}}}
    resources = dict(build_resources(pipeline))
    with (
        pytest.raises(dg.DagsterResourceFunctionError) as raised,
        dg.build_resources(resources, resource_config=elsewhere),
    ):
        pass
    assert "configures the resource DatabaseResource" in str(raised.value.__cause__)


def test_nothing_is_opened_before_it_is_used(pipeline: PipelineResources) -> None:
    # The database of the fixture does not exist.
    with dg.build_resources(dict(build_resources(pipeline))) as given:
        assert given.database.address == "postgresql://poi:***@db.example/poi"
    build_definitions(pipeline).resolve_job_def("osm_import")
    assert not {"engine", "lake"} & set(vars(pipeline))
