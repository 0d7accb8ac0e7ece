"""How much of a city the extract covers from which its snapshot was taken.

Belongs here: the extract of a city-day, new or stored. Does not belong here: measuring a coverage
(`sources/pbf/coverage.py`).
"""

import logging
from typing import Any

from ingestion_pipeline.core.boundary import Boundary
from ingestion_pipeline.core.evidence import Coverage
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.osm.errors import ExtractDoesNotCover
from ingestion_pipeline.sources import registry as sources

log = logging.getLogger(__name__)


def require_covered(
    pipeline: PipelineResources, work: ClaimedPartition, manifest: Manifest, boundary: Boundary
) -> dict[str, Any] | None:
    """Return how much of the city the snapshot's extract covers; None for Overpass.

    Raises:
        ExtractDoesNotCover: The extract does not cover the city.
    """
    coverage = manifest.coverage or _coverage_of_stored(pipeline, manifest)
    if coverage is None:
        return None
    try:
        covered = require_covering(work, boundary, coverage, manifest.location)
    except ExtractDoesNotCover as error:
        day = (manifest.dataset, manifest.city_slug, manifest.boundary_ref, manifest.day)
        if pipeline.lake.accepted(*day) != manifest:
            raise
        raise ExtractDoesNotCover(
            f"{str(error).rstrip('.')}. It is the accepted snapshot of the day: run the day with "
            "a refetch once another extract is configured"
        ) from error
    if coverage.how == "nodes":
        log.warning(
            "The extract %s has no box in its header and no .poly file beside it; by the box "
            "around its nodes, an estimate, it covers %.0f %% of %s",
            manifest.location,
            100 * covered["share"],
            work.city.slug,
        )
    return covered


def _coverage_of_stored(pipeline: PipelineResources, manifest: Manifest) -> Coverage | None:
    """Return the coverage of an extract that was fetched by a version that did not store it."""
    source = sources.SOURCES[manifest.obtained]
    if not source.shared:
        return None
    (part,) = manifest.parts
    with scratch_folder() as folder:
        return source.coverage_of(pipeline.lake.restore(part, folder))


def require_covering(
    work: ClaimedPartition, boundary: Boundary, coverage: Coverage, origin: str
) -> dict[str, Any]:
    """Return how much of the city an extract covers.

    Raises:
        ExtractDoesNotCover: It does not cover the city.
    """
    from ingestion_pipeline.sources.pbf.coverage import require_covered

    what = f"the boundary {work.city.area.boundary_name} of {work.city.slug}"
    return require_covered(boundary.area, coverage, what=what, origin=origin)
