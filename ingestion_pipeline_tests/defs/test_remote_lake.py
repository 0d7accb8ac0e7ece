"""City-days with the lake on a real S3 server: several hosts, faults, and no secret in sight."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from ingestion_pipeline.lake.snapshots import Lake
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import poi_ingestion_staging, staged_partition
from ingestion_pipeline_tests.support.extract_server import running_provider
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    ScriptedClock,
    contents,
    failure,
    installed,
    why,
)
from ingestion_pipeline_tests.support.s3_server import KEY, SECRET, Answer
from testbed.towns import NOON, TOWN, write_cities, write_extract

if TYPE_CHECKING:
    from ingestion_pipeline_tests.support.s3_server import S3, Request

POI_INGEST = Path(sys.executable).with_name("poi-ingest")
CAFES = {1: "A", 2: "B", 60: "C"}


def towns(location: str) -> list[dict[str, Any]]:
    """Give two invented towns that share an extract."""
    source = {"osm_source": "extract", "osm_extract": location}
    west = {"slug": "west", "bbox": [10.0, 50.0, 10.05, 50.1]}
    east = {"slug": "east", "bbox": [10.05, 50.0, 10.1, 50.1]}
    return [TOWN | source | west, TOWN | source | east]


def rows(database_url: str, slug: str) -> list[str]:
    """Give all rows of a city, but for the columns that tell of the run."""
    engine = create_engine(database_url)
    found = contents(engine, tables=[poi_ingestion_staging, staged_partition])
    engine.dispose()
    return [row for each in found.values() for row in each if repr(slug) in row]


class Host:
    """A machine of its own, but for the lake: other database, folders, locks and scratch."""

    def __init__(self, folder: Path, lake: str, extract: str) -> None:
        self.folder = folder
        self.database_url = f"sqlite:///{folder}/staging.gpkg"
        for name in ("tmp", "state"):
            (folder / name).mkdir(parents=True)
        write_cities(folder / "cities.toml", towns(extract))
        engine = create_engine(self.database_url)
        migrate(engine)
        engine.dispose()
        self._settings = {
            "DATABASE_URL": self.database_url,
            "DATA_DIR": lake,
            "CITIES_FILE": str(folder / "cities.toml"),
            "DAGSTER_HOME": str(folder / "dagster_home"),
            "STATE_DIR": str(folder / "state"),
            "TMPDIR": str(folder / "tmp"),
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_SECRET_ACCESS_KEY_FILE": str(folder / "secret"),  # as a container mounts it
        }
        (folder / "secret").write_text(f"{SECRET}\n")

    def start(self, slug: str) -> subprocess.Popen[str]:
        """Start to stage a town's day, as an operator does."""
        return subprocess.Popen(
            [POI_INGEST, "run", "--city", slug, "--day", TODAY.isoformat()],
            env=os.environ | self._settings,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.mark.process
def test_hosts_fetch_an_extract_once_and_replay_each_others_days(s3: S3, tmp_path: Path) -> None:
    file = write_extract(tmp_path / "region.osm.pbf", CAFES)
    with running_provider(file) as provider:
        provider.pause_s = 3  # both hosts ask while it sends
        here, there = (Host(tmp_path / name, s3.lake, provider.url) for name in ("a", "b"))
        with here.start("west") as one, there.start("east") as other:
            said = [each.communicate(timeout=300)[0] for each in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], said
        assert provider.sent == 1
    assert sum("Using the extract that another run fetched" in each for each in said) == 1
    assert sum("Using the city clip" in each for each in said) == 1
    # The provider is gone, and so are the frames: this process has only the raw bytes.
    Lake(s3.lake).remove_folder("frames")
    third = f"sqlite:///{tmp_path}/third.gpkg"
    with installed(
        tmp_path / "c",
        third,
        cities=towns(provider.url),
        clock=ScriptedClock(NOON),
        data_dir=s3.lake,
    ) as replaying:
        replayed = replaying.run(f"west|{TODAY}")
        assert replayed.success, why(replayed)
    assert len(rows(third, "west")) == 3
    assert rows(third, "west") == rows(here.database_url, "west")
    assert len(rows(there.database_url, "east")) == 2
    assert not [name for name in s3.objects() if name.startswith("locks/")]
    assert not any(SECRET in each for each in said)
    for host in (here, there):
        assert list((host.folder / "tmp").glob("poi-ingest-scratch-*")) == []


def test_a_day_that_cannot_be_stored_fails_with_its_reason_and_is_whole_afterwards(
    s3: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file = write_extract(tmp_path / "region.osm.pbf", CAFES)
    with installed(
        tmp_path,
        f"sqlite:///{tmp_path}/staging.gpkg",
        cities=towns(str(file)),
        clock=ScriptedClock(NOON),
        data_dir=s3.lake,
        aws_access_key_id=SecretStr(KEY),
        aws_secret_access_key=SecretStr(SECRET),
        aws_endpoint_url=s3.url,
    ) as here:
        here.workshop.lake = Lake(s3.lake, _hurried(here.workshop.lake))

        def on_manifests(request: Request) -> Answer | None:
            expired = Answer(400, "ExpiredToken")
            return expired if request.method == "PUT" and "/snapshots/" in request.target else None

        s3.fault = on_manifests
        failed = here.run(f"west|{TODAY}")
        assert failure(failed)[0] == "lake_forbidden"
        assert f"{s3.lake}/snapshots/" in failure(failed)[1]
        assert [run.status for run in here.ledger()] == ["FAILED"]
        assert not [name for name in s3.objects() if name.startswith("snapshots/")]
        s3.fault = None
        done = here.run(f"west|{TODAY}")
        assert done.success, why(done)
        assert len(rows(str(here.engine.url), "west")) == 3
        shown = [str(event) for result in (failed, done) for event in result.all_events]
        assert not any(SECRET in each for each in [*shown, caplog.text])
        assert SECRET not in repr(here.workshop)


def _hurried(lake: Lake) -> Any:
    """Give the access of a lake with fewer repetitions, so that a test does not wait."""
    from dataclasses import replace  # noqa: PLC0415

    access = lake._store._access  # type: ignore[attr-defined]
    return replace(access, attempts=1, timeout_s=5)


def test_a_day_lists_no_more_than_clips_and_its_own_locks(s3: S3, tmp_path: Path) -> None:
    file = write_extract(tmp_path / "region.osm.pbf", CAFES)
    with installed(
        tmp_path,
        f"sqlite:///{tmp_path}/staging.gpkg",
        cities=towns(str(file)),
        clock=ScriptedClock(NOON + timedelta(minutes=1)),
        data_dir=s3.lake,
    ) as here:
        done = here.run(f"west|{TODAY}")
        assert done.success, why(done)
        first = list(s3.requests)
        s3.requests.clear()
        assert here.run(f"west|{TODAY}", tags={"again": "yes"}).success
    assert len(first) <= 55
    assert len(s3.requests) <= 20  # nothing to do
    prefixes = [each.prefix for each in [*first, *s3.requests] if each.is_listing]
    # Of a file that is missing, s3fs looks whether it is a folder.
    small = r"lake/(cuts|locks/\w{64}|(raw|frames|cuts)/.*\.(pbf|parquet))/"
    assert [prefix for prefix in prefixes if not re.fullmatch(small, prefix)] == []
