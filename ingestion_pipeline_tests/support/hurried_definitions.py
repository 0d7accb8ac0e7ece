"""The definitions with shorter waits before retries, for tests that inject many faults."""

import dagster as dg

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.failures import Retrying
from ingestion_pipeline.defs.resources import PipelineResources

FIRST_WAIT_S = 6.0
"""A tenth of the pipeline's."""


@dg.definitions
def definitions() -> dg.Definitions:
    """Assemble the definitions from the environment."""
    settings = load_settings()
    retrying = Retrying(first_wait_s=FIRST_WAIT_S)
    return build_definitions(
        PipelineResources(settings, load_cities(settings.cities_file), retrying=retrying)
    )
