"""PostgreSQL as operators run it: pgbouncer before it, and a role for each duty.

The owner migrates, workers write rows, readers read views. Nothing else is allowed to any of them,
and what is staged so equals what one role stages that may do everything.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa

from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.failures import Retrying
from ingestion_pipeline.defs.resources import build_resources
from ingestion_pipeline.defs.work import RUN_ID_TAG
from ingestion_pipeline.staging import runs, ticks, views
from ingestion_pipeline.staging.clock import DatabaseClock
from ingestion_pipeline.staging.database import (
    create_engine,
    migrate,
    read_transaction,
    require_migrated,
    require_writable,
    write_transaction,
)
from ingestion_pipeline.staging.errors import (
    DatabaseForbidden,
    DatabaseNotMigrated,
    DatabaseReadOnly,
    DatabaseUnavailable,
)
from ingestion_pipeline.staging.heartbeat import Heartbeat
from ingestion_pipeline.staging.tables import (
    VERSION_TABLES,
    metadata,
    poi_ingestion_staging,
    run_lease,
)
from ingestion_pipeline_tests.support.api_server import running_api
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    Installation,
    ScriptedClock,
    contents,
    failure,
    installed,
    why,
)
from ingestion_pipeline_tests.support.staged import stage
from testbed.platform_processes import wait_until
from testbed.postgres_server import (
    ADMINISTRATOR,
    OWNER,
    READER,
    WORKER,
    as_role,
    as_worker,
    end_sessions,
    make_roles,
    private_cluster,
    running_pgbouncer,
    running_standby,
    set_for_all,
    with_port,
)
from testbed.towns import NOON, TOWN, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from testbed.postgres_server import Cluster

KEY = f"town|{TODAY}"
NEXT_KEY = f"town|{TODAY + timedelta(days=1)}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of our own, whose roles and databases are ours."""
    with private_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def port(cluster: Cluster) -> Iterator[int]:
    """The port of pgbouncer before it."""
    with running_pgbouncer(cluster.url) as port:
        yield port


@pytest.fixture
def pooled(cluster: Cluster, port: int, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of the owner, through pgbouncer."""
    name = f"operated_{abs(hash(request.node.name))}"
    url = cluster.create_database(name)
    make_roles(url)
    return with_port(as_role(url, OWNER), port)


def indexes(engine: sa.Engine) -> set[str]:
    inspector = sa.inspect(engine)
    return {
        str(index["name"])
        for table in VERSION_TABLES.values()
        for index in inspector.get_indexes(table.name)
    }


def two_days(folder: Path, url: str, *, role: str) -> dict[str, list[object]]:
    """Stage a city-day twice, and the next day, as Dagster does; give all rows."""
    folder.mkdir()
    extract = folder / "town.osm.pbf"
    write_extract(extract, {1: "one", 2: "two"})
    clock = ScriptedClock(NOON)
    settings: dict[str, Any] = {"osm_source": "extract", "osm_extract": str(extract)}
    with installed(folder, url, cities=[TOWN], clock=clock, **settings) as here:
        assert here.engine.url.username == role
        assert (result := here.run(KEY)).success, why(result)
        assert (result := here.run(KEY, refetch=True)).success, why(result)
        clock.sleep(24 * 3600)
        write_extract(extract, {2: "changed", 3: "three"}, at=clock.now())
        assert (result := here.run(NEXT_KEY)).success, why(result)
        assert [run.status for run in here.ledger()] == ["SUCCEEDED"] * 3
        return contents(here.engine)


@pytest.mark.filterwarnings("ignore:Did not recognize type 'geometry'")
def test_a_worker_behind_pgbouncer_stages_what_an_owner_does(
    tmp_path: Path, cluster: Cluster, pooled: str
) -> None:
    plain = cluster.create_database("plain").render_as_string(hide_password=False)
    by_worker = two_days(tmp_path / "worker", pooled, role=WORKER)
    by_owner = two_days(tmp_path / "owner", plain, role=ADMINISTRATOR)
    for table in (poi_ingestion_staging.name, "ingestion_rejection"):
        assert by_worker[table] == by_owner[table]
    assert len(by_worker[poi_ingestion_staging.name]) == 4
    engines = [create_engine(url) for url in (pooled, plain)]
    one, other = map(indexes, engines)
    assert one == other
    assert f"ix_{poi_ingestion_staging.name}_geometry" in one
    for engine in engines:
        engine.dispose()


def test_the_admin_api_works_so(tmp_path: Path, pooled: str) -> None:
    owner = create_engine(pooled)
    migrate(owner)
    owner.dispose()
    make_roles(pooled)
    worker = create_engine(as_role(pooled, WORKER), service_connections=3)
    with running_api(tmp_path, worker) as api:
        asked = api.enqueue()
        assert asked.status_code == 202
        assert api.http.get("/v1/jobs").json()["jobs"] == [asked.json()]
        assert api.http.post(f"{asked.headers['Location']}/cancel").json()["status"] == "CANCELED"
        assert "ingestion_database_up 1.0" in api.http.get("/metrics").text
    worker.dispose()


def test_each_role_may_do_its_duty_and_no_more(pooled: str) -> None:
    owner = create_engine(pooled)
    migrate(owner)
    make_roles(pooled)
    make_roles(pooled)  # as often as one likes
    worker = create_engine(as_role(pooled, WORKER))
    reader = create_engine(as_role(pooled, READER))
    require_migrated(worker)
    for refused, statement in (
        (worker, "DROP TABLE ingestion_run"),
        (worker, "DELETE FROM alembic_version"),
        (worker, "CREATE TABLE mine (id int)"),
        (worker, "TRUNCATE poi_ingestion_staging"),
        *((reader, f"SELECT * FROM {table}") for table in metadata.tables),
        (reader, "INSERT INTO sensor_tick VALUES ('x', now())"),
    ):
        with (
            pytest.raises((DatabaseForbidden, sa.exc.ProgrammingError), match=r"permission|owner"),
            write_transaction(refused) as connection,
        ):
            connection.exec_driver_sql(statement)
    for role in (worker, reader):
        for name in views.definitions():
            with read_transaction(role) as connection:
                assert connection.exec_driver_sql(f"SELECT * FROM {name}").all() == []
    for engine in (owner, worker, reader):
        engine.dispose()


def test_views_that_are_made_anew_keep_their_readers(pooled: str) -> None:
    owner = create_engine(pooled)
    migrate(owner)
    make_roles(pooled)
    with write_transaction(owner) as connection:
        connection.exec_driver_sql("GRANT SELECT ON poi_staging_day TO PUBLIC")
        may = views.readers(connection)
        assert may["poi_staging_day"] == {"PUBLIC", READER, WORKER}
        assert may["poi_change"] == {READER, WORKER}
        views.drop(connection)
        views.create(connection)
        assert views.readers(connection)["poi_change"] == {WORKER}  # by default privileges
        del may["helper_change"]  # as if it were new
        views.grant_select(connection, may)
        assert views.readers(connection) == may | {"helper_change": {READER, WORKER}}
    owner.dispose()


def test_a_migration_keeps_readers_and_lets_workers_write_new_tables(pooled: str) -> None:
    owner = create_engine(pooled)
    migrate(owner, "0001")
    make_roles(pooled)
    migrate(owner)
    worker = create_engine(as_role(pooled, WORKER))
    with write_transaction(worker) as connection:
        for name in ("callback_message", "helper_place"):  # of later migrations
            connection.exec_driver_sql(f"DELETE FROM {name}")
    for engine in (owner, worker):
        engine.dispose()


def test_nothing_of_a_session_is_left_behind(pooled: str) -> None:
    """Pgbouncer gives a session to another client after each transaction, as it is."""
    owner = create_engine(pooled)
    migrate(owner)
    make_roles(pooled)
    worker = create_engine(as_role(pooled, WORKER), service_connections=2)
    kept = (
        "SELECT count(*) FROM pg_prepared_statements",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        "SELECT count(*) FROM pg_listening_channels()",
        "SELECT count(*) FROM pg_class WHERE relpersistence = 't'",
    )
    for _ in range(10):  # psycopg would prepare a statement when it is executed the sixth time
        require_migrated(worker)
    stranger = sa.create_engine(
        sa.make_url(as_role(pooled, WORKER)).set(drivername="postgresql+psycopg"),
        connect_args={"prepare_threshold": None},
    )
    with stranger.connect() as connection:
        for statement in kept:
            assert connection.exec_driver_sql(statement).scalar_one() == 0, statement
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "0"
    for engine in (owner, worker, stranger):
        engine.dispose()


# A server that is read-only, as after a failover to a standby


def sensor(here: Installation, name: str) -> list[str]:
    """Let a sensor tick; give the jobs for which it asks for runs."""
    repository = build_definitions(here.workshop).get_repository_def()
    with dg.build_sensor_context(
        instance=here.instance, repository_def=repository, resources=build_resources(here.workshop)
    ) as context:
        result = repository.get_sensor_def(name).evaluate_tick(context)
    return [request.tags[RUN_ID_TAG] for request in result.run_requests or ()]


@pytest.fixture
def here(tmp_path: Path, pooled: str) -> Iterator[Installation]:
    """An installation whose jobs find an extract."""
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "one", 2: "two"})
    with installed(
        tmp_path,
        pooled,
        cities=[TOWN],
        clock=ScriptedClock(NOON),
        retrying=Retrying(maximum=0),
        stored=True,
        osm_source="extract",
        osm_extract=str(extract),
    ) as here:
        yield here


def switch(url: str, *, writable: bool) -> None:
    """Let a server take writes or not, and end its sessions."""
    set_for_all(url, "default_transaction_read_only", "off" if writable else "on")
    end_sessions(url)


def test_a_job_waits_while_the_database_takes_no_writes(here: Installation, pooled: str) -> None:
    key = JobKey("osm_import", "town", here.workshop.cities.get("town").boundary_key, TODAY)
    job, _ = runs.enqueue(here.engine, key, trigger="admin", now=NOON)
    switch(pooled, writable=False)
    for name in (ticks.TRIGGER_SENSOR, ticks.SWEEP_SENSOR):
        with pytest.raises(DatabaseReadOnly):
            sensor(here, name)
    # A run that was on its way already.
    code, words = failure(here.run(KEY, tags={RUN_ID_TAG: job.id}))
    assert code == "database_read_only"
    assert "primary server" in words
    switch(pooled, writable=True)
    sensor(here, ticks.SWEEP_SENSOR)
    assert [run.status for run in here.ledger()] == ["PENDING"]
    assert sensor(here, ticks.TRIGGER_SENSOR) == [job.id]
    assert (result := here.run(KEY, tags={RUN_ID_TAG: job.id})).success, why(result)
    (ended,) = here.ledger()
    assert (ended.id, ended.status) == (job.id, "SUCCEEDED")


def test_a_run_whose_database_stops_to_take_writes_stages_nothing_and_may_be_run_again(
    here: Installation, pooled: str
) -> None:
    def on_look(number: int) -> None:
        if number == 4:  # after the first step
            switch(pooled, writable=False)

    here.workshop.clock = here.workshop.ledger_clock = ScriptedClock(NOON, on_look)
    code, _ = failure(here.run(KEY))
    assert code == "database_read_only"
    switch(pooled, writable=True)
    here.workshop.clock = here.workshop.ledger_clock = ScriptedClock(NOON)
    assert (result := here.run(KEY)).success, why(result)
    assert [run.error_code for run in here.ledger()] == ["run_died", None]


def test_after_a_failover_the_new_primary_server_is_found() -> None:
    with private_cluster(durable=True) as primary, running_standby(primary) as standby:
        url = primary.create_database("poi")
        first = create_engine(url.render_as_string(hide_password=False))
        migrate(first)
        stage(first, "town", TODAY, {"node/1": "a"})
        first.dispose()
        alone = create_engine(with_port(url, standby.port))
        wait_until(lambda: is_migrated(alone), "the standby has replayed it")
        for write in (require_writable, lambda at: stage(at, "town", TODAY, {"node/1": "b"})):
            with pytest.raises(DatabaseReadOnly, match="is read-only"):
                write(alone)
        hosts = "&".join(f"host=127.0.0.1:{each.port}" for each in (standby, primary))
        both = create_engine(
            f"postgresql://{ADMINISTRATOR}@/poi?{hosts}&target_session_attrs=read-write"
        )
        stage(both, "town", TODAY, {"node/1": "b"})
        lost: list[str] = []
        heartbeat = Heartbeat(both, "run", beat_s=0.5, lease_s=90, on_lost=lost.append)
        heartbeat.begin()
        primary.stop()
        with pytest.raises(DatabaseUnavailable):
            require_writable(both)
        standby.promote()
        promoted = DatabaseClock(alone, SystemClock()).now()
        wait_until(lambda: beat_at(alone) > promoted, "the lease is renewed at the new server")
        heartbeat.end()
        assert lost == []
        # What was connected to the standby while it took no writes finds that it does.
        for day, engine in enumerate((both, alone), start=1):
            stage(engine, "town", TODAY + timedelta(days=day), {"node/1": "c"})
            engine.dispose()


def test_a_worker_behind_pgbouncer_renews_its_lease(pooled: str) -> None:
    owner = create_engine(pooled)
    migrate(owner)
    owner.dispose()
    engine = create_engine(as_worker(pooled))
    assert engine.url.username == WORKER
    lost: list[str] = []
    heartbeat = Heartbeat(engine, "run", beat_s=0.2, lease_s=60, on_lost=lost.append)
    heartbeat.begin()
    first = beat_at(engine)
    wait_until(lambda: beat_at(engine) > first, "the lease is renewed")
    heartbeat.end()
    engine.dispose()
    assert lost == []


def beat_at(engine: sa.Engine) -> datetime:
    """Tell when the only lease was renewed."""
    with engine.connect() as connection:
        moment: datetime = connection.execute(sa.select(run_lease.c.beat_at)).scalar_one()
        return moment


def is_migrated(engine: sa.Engine) -> bool:
    try:
        require_migrated(engine)
    except (DatabaseNotMigrated, DatabaseUnavailable):
        return False
    return True
