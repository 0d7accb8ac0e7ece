"""Assembly of the Dagster definitions; the module that Dagster's processes load.

Every Dagster process imports this module, so its imports are kept small. A test enforces that.
"""

from datetime import date

import dagster as dg

from ingestion_pipeline.config.cities import Cities, load_cities
from ingestion_pipeline.config.settings import Settings, load_settings
from ingestion_pipeline.dagster_runtime.console import print_expected_errors_in_one_line
from ingestion_pipeline.dagster_runtime.ticks import with_shared_instance
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.defs.assets.city_day import FEEDS_POOL, UPSTREAM_POOL, build_assets
from ingestion_pipeline.defs.coverage import build_coverage
from ingestion_pipeline.defs.partitions import build_partitions
from ingestion_pipeline.defs.promotion import build_promotion, requested_jobs
from ingestion_pipeline.defs.resources import PipelineResources, build_resources
from ingestion_pipeline.defs.schedules import build_schedules
from ingestion_pipeline.defs.sensors import build_sensors
from ingestion_pipeline.defs.specs import upstream_specs


def build_definitions(pipeline: PipelineResources, *, with_pools: bool = True) -> dg.Definitions:
    """Assemble the definitions.

    Args:
        pipeline: The resources of the assets.
        with_pools: Whether assets that fetch use concurrency pools. Set it to False for runs
            without a daemon.
    """
    print_expected_errors_in_one_line()
    upstream_pool, feeds_pool = (UPSTREAM_POOL, FEEDS_POOL) if with_pools else (None, None)
    partitions = build_partitions(pipeline.own_cities, pipeline.settings.first_partition)
    coverage = build_coverage(pipeline)
    return dg.Definitions(
        assets=[
            *(
                asset
                for dataset in DATASETS.values()
                for asset in build_assets(
                    dataset,
                    partitions,
                    pipeline,
                    upstream_pool=upstream_pool,
                    feeds_pool=feeds_pool,
                )
            ),
            build_promotion(partitions, pipeline),
            *upstream_specs(pipeline),
            coverage.asset,
        ],
        asset_checks=coverage.checks,
        jobs=[*(job.definition for job in requested_jobs().values()), coverage.job],
        schedules=[coverage.schedule],
        sensors=with_shared_instance([*build_sensors(), *build_schedules(pipeline)]),
        resources=build_resources(pipeline),
        # One process per step costs twenty times as much as the work of the steps.
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """Assemble the definitions from the environment.

    Raises:
        SettingsError: The environment is invalid.
        CitiesFileError: The cities file is invalid.
    """
    settings = load_settings()
    return _of(settings, load_cities(settings.cities_file))


def _of(settings: Settings, cities: Cities) -> dg.Definitions:
    """Return the definitions of these settings and cities, built once.

    Dagster loads them twice in each run. A forked run has those of the process that forked it.
    """
    global _built  # noqa: PLW0603 - the last ones only
    # Equal settings differ where one has been set to its default: see `Settings.first_partition`.
    given = settings, settings.first_partition, cities
    if _built is None or _built[0] != given:
        _built = given, build_definitions(PipelineResources(settings, cities))
    return _built[1]


_built: tuple[tuple[Settings, date, Cities], dg.Definitions] | None = None
