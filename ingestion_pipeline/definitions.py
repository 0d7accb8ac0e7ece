"""The one place where Dagster's definitions are assembled; a stable address for its processes.

Belongs here: assembly. Does not belong here: anything that does work (`defs/`). Every process of
Dagster imports this module, so what it imports is kept small; a test watches it.
"""

import dagster as dg

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.defs.assets.helpers import FEEDS_POOL, build_helper_assets
from ingestion_pipeline.defs.assets.osm import UPSTREAM_POOL, build_osm_assets
from ingestion_pipeline.defs.console import print_expected_errors_in_one_line
from ingestion_pipeline.defs.coverage import build_coverage
from ingestion_pipeline.defs.jobs import JOBS
from ingestion_pipeline.defs.partitions import build_partitions
from ingestion_pipeline.defs.resources import Workshop, build_workshop_resource
from ingestion_pipeline.defs.schedules import build_schedules
from ingestion_pipeline.defs.sensors import build_sensors


def build_definitions(workshop: Workshop, *, with_pools: bool = True) -> dg.Definitions:
    """Assemble the definitions.

    Args:
        workshop: What the assets work with.
        with_pools: Whether runs wait in concurrency pools for their turn at upstream; not for a run
            that no daemon looks after.
    """
    print_expected_errors_in_one_line()
    upstream_pool, feeds_pool = (UPSTREAM_POOL, FEEDS_POOL) if with_pools else (None, None)
    partitions = build_partitions(workshop.cities, workshop.settings.partitions_start)
    coverage = build_coverage(workshop)
    return dg.Definitions(
        assets=[
            *build_osm_assets(partitions, upstream_pool=upstream_pool),
            *build_helper_assets(partitions, upstream_pool=upstream_pool, feeds_pool=feeds_pool),
            coverage.asset,
        ],
        asset_checks=coverage.checks,
        jobs=[*(job.definition for job in JOBS.values()), coverage.job],
        schedules=[*build_schedules(workshop), coverage.schedule],
        sensors=build_sensors(),
        resources={"workshop": build_workshop_resource(workshop)},
        # A process for each step costs twenty times what the steps' own work does.
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """Assemble the definitions from the environment.

    Raises:
        SettingsError: The environment is not accepted.
        CitiesFileError: The cities file has mistakes.
    """
    settings = load_settings()
    return build_definitions(Workshop(settings, load_cities(settings.cities_file)))
