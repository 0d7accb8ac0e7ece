"""What Dagster's commands and its webserver tell of the definitions, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import psutil
import pytest

from ingestion_pipeline.config.settings import FIRST_PARTITION, Settings
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline_tests.support.feed_server import TOILETS
from testbed.platform_processes import wait_until
from testbed.postgres_server import free_port
from testbed.towns import NOON, TOWN, write_cities, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.process, pytest.mark.server]

ROOT = Path(__file__).parents[2]
DG = Path(sys.executable).with_name("dg")
UNLISTED = NOON.date()
"""A day that can be run, and has no partition."""

PASSWORDS = ("Lilac-c4e8", "Tulip-7f3a", "Daisy-91bc", "Aster-20aa")
SECRETS = {
    "DATABASE_URL": "postgresql://poi:Lilac-c4e8@db.example/poi?sslpassword=Lilac-c4e8",
    "OVERPASS_URL": "https://me:Tulip-7f3a@o.example/api/interpreter?key=Tulip-7f3a",
    "OSM_EXTRACT": "https://e.example/{region}.osm.pbf?token=Daisy-91bc",
}

DEFINITIONS = """{
  assetNodes {
    assetKey { path }
    description
    owners { ... on TeamAssetOwner { team } ... on UserAssetOwner { email } }
    kinds
    opVersion
    requiredResources { resourceKey }
    internalFreshnessPolicy { __typename }
    metadataEntries {
      label
      ... on TextMetadataEntry { text }
      ... on UrlMetadataEntry { url }
      ... on MarkdownMetadataEntry { mdStr }
      ... on TableSchemaMetadataEntry { schema { columns { name type description } } }
    }
  }
  allTopLevelResourceDetailsOrError(repositorySelector: {
    repositoryName: "__repository__", repositoryLocationName: "ingestion_pipeline"
  }) {
    ... on ResourceDetailsList {
      results {
        name
        description
        configuredValues { key value }
        assetKeysUsing { path }
        sensorsUsing
      }
    }
    ... on PythonError { message }
  }
}"""

PARTITIONS = """query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      partitionStats { numMaterialized numPartitions }
      assetMaterializations(limit: 1) { partition }
    }
  }
}"""


class Webserver(NamedTuple):
    """A running webserver, and all that it has answered."""

    url: str
    answers: list[str]

    def ask(self, query: str, **variables: Any) -> Any:
        reply = httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=120
        )
        self.answers.append(reply.text)
        answer = reply.json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with a staged day, whose settings and feed have secrets."""
    folder = tmp_path_factory.mktemp("installation")
    town = TOWN | {
        "osm_source": "extract",
        "osm_extract": str(write_extract(folder / "town.osm.pbf", {1: "Sun", 2: "Moon"})),
        "feed": [{**TOILETS, "location": "https://u:Aster-20aa@feeds.example/wc?k=Aster-20aa"}],
    }
    by_default = {"slug": "default", "bbox": [10.2, 50.0, 10.3, 50.1], "osm_source": "extract"}
    write_cities(folder / "cities.toml", [town, TOWN | by_default])
    for command in (["migrate"], ["run", "--city", "town", "--day", str(UNLISTED)]):
        run(folder, sys.executable, "-m", "ingestion_pipeline", *command)
    return folder


def environment(folder: Path, **settings: str) -> dict[str, str]:
    ours = {name.upper() for name in Settings.model_fields} | {"PYTHONDONTWRITEBYTECODE"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    return inherited | {
        "HOME": str(folder),
        "DATA_DIR": str(folder / "data"),
        "DAGSTER_HOME": str(folder / "home"),
        "STATE_DIR": str(folder / "state"),
        "CITIES_FILE": str(folder / "cities.toml"),
        **settings,
    }


def run(folder: Path, *command: str | Path, cwd: Path | None = None, **settings: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd or folder,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def running_webserver(folder: Path, **settings: str) -> Iterator[Webserver]:
    port = free_port()
    with (folder / "ui.log").open("w") as log:
        process = psutil.Popen(
            [sys.executable, "-m", "ingestion_pipeline", "ui", "--port", str(port)],
            cwd=folder,
            env=environment(folder, **settings),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Webserver(f"http://127.0.0.1:{port}", [])

    def answers() -> bool:
        assert process.poll() is None, (folder / "ui.log").read_text()
        try:
            return httpx.get(f"{server.url}/server_info", timeout=30).status_code == 200
        except httpx.TransportError:
            return False

    family = []
    try:
        wait_until(answers, "the webserver answers")
        family = process.children(recursive=True)
        yield server
    finally:
        process.terminate()
        _, alive = psutil.wait_procs([process, *family], timeout=60)
        for each in alive:
            each.kill()


@pytest.fixture(scope="module")
def webserver(folder: Path) -> Iterator[Webserver]:
    with running_webserver(folder, **SECRETS) as server:
        yield server


def assets(webserver: Webserver) -> Mapping[str, dict[str, Any]]:
    nodes = webserver.ask(DEFINITIONS)["assetNodes"]
    return {"/".join(node["assetKey"]["path"]): node for node in nodes}


def test_the_page_of_a_resource_shows_its_configuration(webserver: Webserver) -> None:
    found = webserver.ask(DEFINITIONS)["allTopLevelResourceDetailsOrError"]["results"]
    resources = {each["name"]: each for each in found}
    assert sorted(resources) == ["database", "extracts", "lake", "overpass", "pipeline"]

    def shown(name: str) -> dict[str, Any]:
        values = resources[name]["configuredValues"]
        return {each["key"]: json.loads(each["value"]) for each in values}

    assert shown("database") == {"address": "postgresql://poi:***@db.example/poi"}
    assert shown("overpass")["server"] == "https://o.example/api/interpreter"
    assert shown("extracts")["template"] == "https://e.example/{region}.osm.pbf"
    assert set(shown("extracts")["cities"]) == {"town", "default"}
    assert shown("pipeline")["first_partition"] == str(FIRST_PARTITION)
    for each in resources.values():
        assert each["assetKeysUsing"]
        assert each["description"]
        assert "\n" not in each["description"].strip()
    assert resources["database"]["sensorsUsing"]


def test_the_page_of_an_asset_shows_owners_kinds_resources_and_columns(
    webserver: Webserver,
) -> None:
    found = assets(webserver)
    staging = found[POI.staging_asset]
    assert staging["owners"] == [{"team": "data"}]
    assert sorted(staging["kinds"]) == ["postgres", "python", "table"]
    assert staging["opVersion"] == POI.rules.name
    assert staging["internalFreshnessPolicy"] == {"__typename": "TimeWindowFreshnessPolicy"}
    required = [each["resourceKey"] for each in staging["requiredResources"]]
    assert sorted(required) == ["database", "lake", "pipeline"]
    entries = {entry["label"]: entry for entry in staging["metadataEntries"]}
    columns = entries["dagster/column_schema"]["schema"]["columns"]
    assert [each["name"] for each in columns] == POI.table.columns.keys()
    assert all(each["description"] for each in columns)
    feed = found["upstream/feed/town/toilets"]["metadataEntries"]
    assert {"label": "link", "url": "https://feeds.example/wc"} in feed


def test_a_day_that_is_not_listed_is_staged_and_disturbs_nothing(webserver: Webserver) -> None:
    key = {"path": [POI.staging_asset]}
    node = webserver.ask(PARTITIONS, key=key)["assetNodeOrError"]
    assert node["assetMaterializations"] == [{"partition": f"town|{UNLISTED}"}]
    assert node["partitionStats"]["numMaterialized"] == 0
    assert 0 < node["partitionStats"]["numPartitions"] < 10_000


def test_an_earlier_start_lists_the_days_that_were_staged_before(folder: Path) -> None:
    with running_webserver(folder, PARTITIONS_START=str(UNLISTED)) as earlier:
        key = {"path": [POI.staging_asset]}
        node = earlier.ask(PARTITIONS, key=key)["assetNodeOrError"]
    assert node["partitionStats"]["numMaterialized"] == 1


def test_no_password_was_in_any_answer(webserver: Webserver) -> None:
    assets(webserver)
    for answer in webserver.answers:
        assert [word for word in PASSWORDS if word in answer] == []


def test_dg_checks_the_definitions(folder: Path) -> None:
    run(folder, DG, "check", "defs", cwd=ROOT)


def test_dg_lists_the_definitions(folder: Path) -> None:
    listed = json.loads(run(folder, DG, "list", "defs", "--json", cwd=ROOT, **SECRETS))
    keys = {asset["asset_key"]: asset for asset in listed["assets"]}
    assert set(POI.chain) <= set(keys)
    assert keys[POI.frame_asset or ""]["dependency_keys"] == [POI.snapshot_asset]
    assert {job["name"] for job in listed["jobs"]} >= {"osm_import", "helpers_import"}
    assert [word for word in PASSWORDS if word in json.dumps(listed)] == []
