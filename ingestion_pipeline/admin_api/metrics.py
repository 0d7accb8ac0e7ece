"""The metrics endpoint, in Prometheus' text format; `staging/statistics.py` has the queries."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from fastapi import APIRouter, Response
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ingestion_pipeline.admin_api.problems import Responses, responses
from ingestion_pipeline.admin_api.service import Service, ServiceDep
from ingestion_pipeline.sources.gate import budgets_of
from ingestion_pipeline.staging import statistics
from ingestion_pipeline.staging.errors import (
    DatabaseForbidden,
    DatabaseNotMigrated,
    DatabaseUnavailable,
)
from ingestion_pipeline.staging.statistics import DURATION_BOUNDS_S, Durations, Statistics
from ingestion_pipeline.staging.upstream import Budget, Usage, usage_since

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter(tags=["operation"])


class LedgerCollector(Collector):
    """Reads the database at every scrape."""

    def __init__(self, service: Service) -> None:
        """Collect for a service."""
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; only `ingestion_database_up` where the database cannot be used."""
        try:
            figures = statistics.collect(self._service.database())
            now = self._service.clock.now()
            usage = usage_since(self._service.database(), now.date())
        except (DatabaseUnavailable, DatabaseNotMigrated, DatabaseForbidden):
            figures = None
        yield _gauge(
            "ingestion_database_up",
            "Whether the database can be used.",
            (),
            [((), figures is not None)],
        )
        if figures is not None:
            yield from _families(figures, now)
            yield from _of_upstream(usage, budgets_of(self._service.settings))


def _families(figures: Statistics, now: datetime) -> Iterator[Metric]:
    yield _gauge(
        "ingestion_jobs",
        "Jobs in the ledger.",
        ("job_type", "city_slug", "status"),
        [((job.job_type, job.city_slug, job.status), job.number) for job in figures.jobs],
    )
    yield _durations(figures.durations)
    yield _gauge(
        "ingestion_newest_slice_age_seconds",
        "Age of the data of the newest staged slice.",
        ("city_slug", "dataset", "source"),
        [
            ((newest.city_slug, newest.dataset, newest.source), _age_s(newest.as_of, now))
            for newest in figures.newest_slices
        ],
    )
    yield _gauge(
        "ingestion_rejections",
        "Objects of the newest staged slices that could not be parsed.",
        ("city_slug", "dataset", "reason"),
        [((each.city_slug, each.dataset, each.reason), each.number) for each in figures.rejections],
    )
    yield _gauge(
        "ingestion_sensor_tick_age_seconds",
        "Time since a sensor's last tick.",
        ("sensor",),
        [((sensor,), _age_s(ticked_at, now)) for sensor, ticked_at in figures.ticks.items()],
    )
    yield _gauge(
        "ingestion_pending_job_age_seconds",
        "Time since the oldest pending job was requested.",
        ("job_type",),
        [((job_type,), _age_s(at, now)) for job_type, at in figures.oldest_pending.items()],
    )
    yield _gauge(
        "ingestion_running_jobs",
        "Running jobs by the host of their process.",
        ("host",),
        [((host,), number) for host, number in figures.running_by_host.items()],
    )


def _of_upstream(usage: Iterable[Usage], budgets: Mapping[str, Budget]) -> Iterator[Metric]:
    for name, unit in (("requests", "Requests to"), ("bytes", "Bytes received from")):
        yield _gauge(
            f"ingestion_upstream_{name}",
            f"{unit} a server on the current UTC day.",
            ("source", "server"),
            [((each.source, each.server), getattr(each, name)) for each in usage],
        )
        yield _gauge(
            f"ingestion_upstream_{name}_limit",
            f"{unit} a server that the budget of a UTC day allows; 0 for no limit.",
            ("source",),
            [((source,), getattr(budget, name)) for source, budget in budgets.items()],
        )


def _gauge(
    name: str, what: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    family = GaugeMetricFamily(name, what, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _durations(durations: Iterable[Durations]) -> Metric:
    family = HistogramMetricFamily(
        "ingestion_run_duration_seconds",
        "Duration of ended runs, from claim to end.",
        labels=("job_type", "status"),
    )
    for each in durations:
        bounds = [str(float(bound)) for bound in DURATION_BOUNDS_S]
        buckets = [*zip(bounds, each.up_to, strict=True), ("+Inf", each.count)]
        family.add_metric((each.job_type, each.status), buckets, each.sum_s)
    return family


def _age_s(moment: datetime, now: datetime) -> float:
    return (now - moment).total_seconds()


_RESPONSES: Responses = {
    200: {
        "description": "Prometheus' text format",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    },
}


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Get metrics for Prometheus",
    response_class=Response,
    responses=_RESPONSES | responses(),
)
def get_metrics(service: ServiceDep) -> Response:
    """Return metrics of the ledger and of staged slices; no token required.

    They contain the names of the cities and of upstream servers, and counts.
    """
    return Response(generate_latest(LedgerCollector(service)), media_type=CONTENT_TYPE)
