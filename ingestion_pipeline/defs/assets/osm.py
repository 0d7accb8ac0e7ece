"""OpenStreetMap's POIs, from raw bytes to staged rows.

Belongs here: the assets `osm_snapshot -> osm_pois -> poi_staging`, each of which gets, shapes,
stores and reports. Does not belong here: how any of that is done (`sources.py`, `osm/`, `lake/`,
`staging/`), and what is reported (`defs/metadata.py`).
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import dagster as dg

from ingestion_pipeline import sources
from ingestion_pipeline.cities import boundary_names_match
from ingestion_pipeline.defs import metadata
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.work import Work, city_day_work
from ingestion_pipeline.lake.errors import SnapshotMissing
from ingestion_pipeline.lake.frames import frame_key, read_frame, write_frame
from ingestion_pipeline.lake.snapshots import Manifest
from ingestion_pipeline.osm.acquire import Acquisition
from ingestion_pipeline.osm.boundary import boundary_of
from ingestion_pipeline.osm.errors import TooFewPois
from ingestion_pipeline.osm.honesty import require_enough
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.slices import RejectedObject, SliceEvidence, replace_slice

# Shown by the command line, and kept with the run by `managed_python_loggers` in dagster.yaml.
log = logging.getLogger(__name__)

DATASET = "poi"
SOURCE = "osm"
JOB: Final = "osm_import"
CHAIN = ("osm_snapshot", "osm_pois", "poi_staging")


class SnapshotConfig(dg.Config):
    """How raw bytes are got."""

    refetch: bool = False
    """Ask upstream again, even where the day has a stored snapshot."""


def build_osm_assets(partitions: dg.PartitionsDefinition) -> Sequence[dg.AssetsDefinition]:
    """Define the three assets for the given partitions."""

    @dg.asset(
        partitions_def=partitions,
        group_name="osm",
        kinds={"openstreetmap"},
        description="The raw bytes of a city's day, as OpenStreetMap sent them, stored by their "
        "digest with a manifest. A day that has a snapshot is replayed from it; set `refetch` in "
        "the run config to ask upstream again.",
    )
    def osm_snapshot(
        context: dg.AssetExecutionContext,
        config: SnapshotConfig,
        workshop: dg.ResourceParam[Workshop],
    ) -> dg.MaterializeResult[None]:
        with city_day_work(context, workshop, job_type=JOB, chain=CHAIN) as work:
            manifest = None if config.refetch else _stored(workshop, work)
            replayed = manifest is not None
            if manifest is None:
                manifest = _fetch(workshop, work)
            log.info(metadata.sentence_on_snapshot(manifest, replayed=replayed))
            return dg.MaterializeResult(
                metadata=metadata.of_snapshot(manifest, replayed=replayed),
                data_version=dg.DataVersion(manifest.digest),
            )

    @dg.asset(
        partitions_def=partitions,
        deps=[osm_snapshot],
        group_name="osm",
        kinds={"geoparquet"},
        description="The city's POIs of the day, normalized and classified: GeoParquet in the "
        "lake, with the evidence of its rows inside.",
    )
    def osm_pois(
        context: dg.AssetExecutionContext, workshop: dg.ResourceParam[Workshop]
    ) -> dg.MaterializeResult[None]:
        from ingestion_pipeline.osm import normalize
        from ingestion_pipeline.osm.taxonomy import Taxonomy

        with city_day_work(context, workshop, job_type=JOB, chain=CHAIN) as work:
            city = work.city
            manifest = _stored(workshop, work)
            if manifest is None:
                raise SnapshotMissing(
                    f"no snapshot is stored for {city.slug} on {work.day}; materialize "
                    "osm_snapshot of this partition first"
                )
            with TemporaryDirectory(prefix="ingestion-") as folder:
                paths = [workshop.lake.restore(part, Path(folder)) for part in manifest.parts]
                reading = sources.read(manifest.obtained, paths, area=city.area)
            pois = normalize.normalize(
                reading.features,
                boundary=boundary_of(
                    reading,
                    city.area,
                    city=city.slug,
                    names_match=lambda names: boundary_names_match(city, names),
                ),
                languages=city.languages,
                taxonomy=Taxonomy.load(),
            )
            _require_enough(workshop, work, manifest, pois.table.num_rows)
            rejections = reading.rejections + pois.rejections
            evidence = SliceEvidence(
                boundary_ref=city.boundary_key,
                as_of=manifest.as_of,
                as_of_source=manifest.as_of_source,
                obtained=manifest.obtained,
                location=manifest.location,
                digest=manifest.digest,
                rules_version=normalize.RULES_VERSION,
                licence=manifest.licence,
                attribution=manifest.attribution,
            )
            runs.require(workshop.engine, work.claim)
            address = write_frame(
                workshop.lake,
                _frame_key(work),
                pois.table,
                {
                    "evidence": asdict(evidence) | {"as_of": evidence.as_of.isoformat()},
                    "rejections": [asdict(rejection) for rejection in rejections],
                },
            )
            log.info(metadata.sentence_on_pois(pois, rejections))
            return dg.MaterializeResult(
                metadata=metadata.of_pois(pois, rejections, boundary=city.bbox, address=address),
            )

    @dg.asset(
        partitions_def=partitions,
        deps=[osm_pois],
        group_name="osm",
        kinds={"sql"},
        description="The day's slice of `poi_ingestion_staging`: versions of POIs with their "
        "validity. Writes only what changed, in one transaction with the run's SUCCEEDED.",
    )
    def poi_staging(
        context: dg.AssetExecutionContext, workshop: dg.ResourceParam[Workshop]
    ) -> dg.MaterializeResult[None]:
        with city_day_work(context, workshop, job_type=JOB, chain=CHAIN) as work:
            table, described = read_frame(workshop.lake, _frame_key(work))
            stated = described["evidence"]
            evidence = SliceEvidence(**stated | {"as_of": datetime.fromisoformat(stated["as_of"])})
            result = replace_slice(
                workshop.engine,
                Slice(work.city.slug, DATASET, SOURCE, work.day),
                table,
                rejections=[RejectedObject(**rejected) for rejected in described["rejections"]],
                evidence=evidence,
                claim=work.claim,
                now=workshop.clock.now(),
            )
            log.info(metadata.sentence_on_slice(result))
            return dg.MaterializeResult(
                metadata=metadata.of_slice(result, evidence, database=workshop.database_address)
            )

    return [osm_snapshot, osm_pois, poi_staging]


def _stored(workshop: Workshop, work: Work) -> Manifest | None:
    return workshop.lake.manifest(DATASET, work.city.slug, work.city.boundary_key, work.day)


def _fetch(workshop: Workshop, work: Work) -> Manifest:
    """Get the raw bytes, store them, and only then let them stand for the day."""
    with TemporaryDirectory(prefix="ingestion-") as folder:
        acquired = sources.acquire(
            work.city,
            work.day,
            settings=workshop.settings,
            clock=workshop.clock,
            workdir=Path(folder),
        )
        manifest = _manifest_of(acquired, workshop, work)
    runs.require(workshop.engine, work.claim)
    workshop.lake.write_manifest(manifest)
    return manifest


def _manifest_of(acquired: Acquisition, workshop: Workshop, work: Work) -> Manifest:
    evidence = acquired.evidence
    return Manifest(
        dataset=DATASET,
        city_slug=work.city.slug,
        boundary_ref=work.city.boundary_key,
        day=work.day,
        as_of=evidence.as_of,
        as_of_source=evidence.as_of_source,
        obtained=evidence.obtained,
        location=evidence.location,
        licence=evidence.licence,
        attribution=evidence.attribution,
        parts=tuple(
            workshop.lake.store(
                part.path,
                query=part.query,
                requested_at=part.requested_at,
                received_at=part.received_at,
            )
            for part in acquired.parts
        ),
    )


def _require_enough(workshop: Workshop, work: Work, manifest: Manifest, pois: int) -> None:
    """Refuse a day that is far too small, and its snapshot with it.

    The snapshot is set aside, or the next run would replay it and fail again for ever.
    """
    try:
        require_enough(pois, minimum=work.city.minimum_pois, city=work.city.slug, day=work.day)
    except TooFewPois as error:
        kept = workshop.lake.set_aside(manifest)
        raise TooFewPois(f"{error}. The snapshot's manifest was set aside as {kept}") from error


def _frame_key(work: Work) -> str:
    return frame_key(DATASET, work.city.slug, work.city.boundary_key, work.day)
