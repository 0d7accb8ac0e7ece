"""Our definitions as Dagster runs them when nothing is said: a process for each step.

Without our sensors: the one that sweeps the ledger looks for a run's process, and here each step
has another.
"""

import dagster as dg

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.resources import PipelineResources


@dg.definitions
def definitions() -> dg.Definitions:
    """Assemble the definitions from the environment, with Dagster's own executor."""
    settings = load_settings()
    ours = build_definitions(PipelineResources(settings, load_cities(settings.cities_file)))
    return dg.Definitions(
        assets=ours.assets,
        asset_checks=ours.asset_checks,
        jobs=ours.jobs,
        resources=ours.resources,
        executor=dg.multi_or_in_process_executor,
    )
