"""Jobs: what is run for a partition.

Belongs here: selections of assets with a name. Does not belong here: assets, and what starts jobs.
"""

import dagster as dg

from ingestion_pipeline.defs.assets.osm import CHAIN, JOB

osm_import = dg.define_asset_job(
    JOB,
    selection=dg.AssetSelection.assets(*CHAIN),
    description="Stage one city's POIs of one UTC day from OpenStreetMap.",
)
