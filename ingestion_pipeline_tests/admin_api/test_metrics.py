"""Metrics: what a scrape gives."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from ingestion_pipeline.core.rejection import Rejection
from ingestion_pipeline.staging import ticks, upstream
from ingestion_pipeline.staging.upstream import Budget, Server
from ingestion_pipeline_tests.support.api_server import claim, fail
from ingestion_pipeline_tests.support.staged import stage
from testbed.towns import NOON

if TYPE_CHECKING:
    from ingestion_pipeline_tests.support.api_server import Api


def scrape(api: Api) -> dict[tuple[str, ...], float]:
    """Give each sample by its name and the values of its labels, in the order of their names."""
    reply = api.http.get("/metrics", headers={"X-Admin-Token": ""})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_an_empty_database_gives_no_figures_but_that_it_is_there(fresh_api: Api) -> None:
    samples = scrape(fresh_api)
    limits = {sample for sample in samples if sample[0].endswith("_limit")}
    assert {sample: samples[sample] for sample in samples.keys() - limits} == {
        ("ingestion_database_up",): 1
    }


def test_jobs_are_counted_by_type_city_and_status(fresh_api: Api) -> None:
    fresh_api.enqueue()
    fail(fresh_api.engine, claim(fresh_api.engine))
    fresh_api.enqueue()
    fresh_api.enqueue(day="2024-05-31")
    fresh_api.enqueue(city_slug="other-town")
    samples = scrape(fresh_api)
    assert samples["ingestion_jobs", "town", "osm_import", "PENDING"] == 2
    assert samples["ingestion_jobs", "town", "osm_import", "FAILED"] == 1
    assert samples["ingestion_jobs", "other-town", "osm_import", "PENDING"] == 1


def test_durations_are_of_runs_that_began_and_ended(fresh_api: Api) -> None:
    for seconds in (0, 5, 5.001, 4000):
        fail(fresh_api.engine, claim(fresh_api.engine), now=NOON + timedelta(seconds=seconds))
    fresh_api.enqueue()
    samples = scrape(fresh_api)
    name, of = "ingestion_run_duration_seconds", ("osm_import", "FAILED")
    assert samples[f"{name}_count", *of] == 4
    assert samples[f"{name}_sum", *of] == 4010.001
    buckets = {key[2]: value for key, value in samples.items() if key[0] == f"{name}_bucket"}
    assert buckets == {"1.0": 1, "5.0": 2, "15.0": 3, "60.0": 3, "300.0": 3, "900.0": 3,
                       "3600.0": 3, "+Inf": 4}  # fmt: skip


def test_the_newest_slice_and_its_rejections_count(fresh_api: Api) -> None:
    def rejected(ref: str, reason: str) -> Rejection:
        return Rejection(ref, reason, "detail", {})

    engine = fresh_api.engine
    newest, older = date(2024, 5, 31), date(2024, 5, 1)
    stage(
        engine,
        "town",
        newest,
        {"node/1": "a"},
        [rejected("way/1", "open"), rejected("way/2", "open")],
    )
    stage(engine, "town", older, {"node/1": "a"}, [rejected("way/9", "other")])
    stage(engine, "other-town", older, {"node/1": "a"})
    samples = scrape(fresh_api)
    age = "ingestion_newest_slice_age_seconds"
    assert samples[age, "town", "poi", "osm"] == timedelta(hours=15).total_seconds()
    assert samples[age, "other-town", "poi", "osm"] == timedelta(days=30, hours=15).total_seconds()
    rejections = {key: value for key, value in samples.items() if key[0] == "ingestion_rejections"}
    assert rejections == {("ingestion_rejections", "town", "poi", "open"): 2}


def test_the_sensors_ages_are_given(fresh_api: Api) -> None:
    ticks.record(fresh_api.engine, ticks.TRIGGER_SENSOR, now=NOON - timedelta(seconds=9))
    assert scrape(fresh_api)["ingestion_sensor_tick_age_seconds", ticks.TRIGGER_SENSOR] == 9


def test_the_oldest_pending_job_has_an_age_by_type(fresh_api: Api) -> None:
    fresh_api.enqueue()
    fresh_api.clock.sleep(30)
    fresh_api.enqueue(day="2024-05-31")
    assert scrape(fresh_api)["ingestion_pending_job_age_seconds", "osm_import"] == 30


def test_running_jobs_are_counted_by_host(fresh_api: Api) -> None:
    claim(fresh_api.engine)
    (host,) = [key[1] for key in scrape(fresh_api) if key[0] == "ingestion_running_jobs"]
    assert scrape(fresh_api)["ingestion_running_jobs", host] == 1


def test_what_servers_were_asked_for_today_and_may_be_is_given(fresh_api: Api) -> None:
    server = Server("overpass", "overpass.example:443")
    for moment in (NOON - timedelta(days=1), NOON, NOON):
        upstream.count_request(fresh_api.engine, server, Budget(), now=moment)
    upstream.count_bytes(fresh_api.engine, server, 1234, now=NOON)
    samples = scrape(fresh_api)
    assert samples["ingestion_upstream_requests", server.name, server.source] == 2
    assert samples["ingestion_upstream_bytes", server.name, server.source] == 1234
    assert samples["ingestion_upstream_requests_limit", "overpass"] == 10_000
    assert samples["ingestion_upstream_bytes_limit", "extract"] == 0
