"""What Dagster shows of each asset: owners, tags, kinds, versions, addresses, columns, lineage.

The descriptions of assets are their docstrings (`assets/city_day.py`). Those of columns come from
`docs/data-dictionary.md`, the columns themselves from `staging/tables.py`.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal, TypedDict

import dagster as dg
import sqlalchemy as sa

from ingestion_pipeline.config.cities import City
from ingestion_pipeline.config.feeds import Feed
from ingestion_pipeline.core.locations import redacted
from ingestion_pipeline.core.manual import columns_of, manual_url
from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.defs.resources import NOT_SET, PipelineResources
from ingestion_pipeline.sources import registry as sources
from ingestion_pipeline.staging.geometry import Geometry
from ingestion_pipeline.staging.tables import (
    VIEWS,
    content_columns,
    poi,
    staged_partition,
)
from ingestion_pipeline.staging.types import Json, UtcDateTime

Step = Literal["feeds", "snapshot", "frame", "staging", "public"]

DATASET_TAG = "ingestion/dataset"
STEP_TAG = "ingestion/step"

UPSTREAM = "upstream"
"""The group of the servers and files that data comes from, and the first part of their keys."""

FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=36), warn_window=timedelta(hours=28)
)
"""How old the newest materialization of a staging asset may be: a day and half a day for delays, as
a city's `maximum_age_hours`. Dagster evaluates it for the asset as a whole, so one fresh city hides
all others. The checks of `coverage.py` look at each city."""

_OWN_COLUMNS = ("source_ref", "source_hash")
"""The columns of a frame before its content."""

_TYPES: Sequence[tuple[type[Any], str]] = (
    (Geometry, "geometry"),
    (Json, "json"),
    (UtcDateTime, "timestamp"),
    (sa.BigInteger, "bigint"),
    (sa.Integer, "integer"),
    (sa.Double, "double"),
    (sa.Boolean, "boolean"),
    (sa.Date, "date"),
    (sa.Text, "text"),
)
"""The words of `docs/data-dictionary.md` for types of columns; a subclass is before its base."""


class Attributes(TypedDict):
    """The arguments of `dg.asset` that all assets of datasets have."""

    group_name: str
    owners: Sequence[str]
    tags: Mapping[str, str]
    kinds: set[str]
    code_version: str | None
    metadata: Mapping[str, Any]


def attributes_of(
    dataset: Dataset,
    step: Step,
    pipeline: PipelineResources,
    *,
    kinds: Collection[str],
    code: Sequence[Callable[..., Any]],
    metadata: Mapping[str, Any],
    code_version: str | None = None,
) -> Attributes:
    """Return the attributes of an asset of a dataset.

    Args:
        dataset: The dataset.
        step: The step of its chain.
        pipeline: The resources, with the settings.
        kinds: What the asset consists of. Dagster has an icon for each.
        code: The functions that do the work.
        metadata: What else is shown.
        code_version: The version of what the step does; another one marks the asset as outdated.
    """
    return {
        "group_name": dataset.group,
        "owners": list(pipeline.settings.owners),
        "tags": {DATASET_TAG: dataset.name, STEP_TAG: step},
        "kinds": {"python", *kinds},
        "code_version": code_version,
        "metadata": {"dagster/code_references": _references(code), **metadata},
    }


def stored_at(pipeline: PipelineResources, *folders: str) -> dict[str, Any]:
    """Return the address of files in the lake."""
    root = redacted(pipeline.settings.data_dir).rstrip("/")
    return {"dagster/uri": "/".join((root, *folders))}


def of_frame(dataset: Dataset) -> dict[str, Any]:
    """Return the columns of a dataset's frame."""
    names = (*_OWN_COLUMNS, *content_columns(dataset.table), "content_hash")
    return {"dagster/column_schema": _schema(dataset.table, names)}


def of_version_table(dataset: Dataset, pipeline: PipelineResources) -> dict[str, Any]:
    """Return the identifiers and columns of a dataset's table, and the names of its views."""
    return _of_table(dataset.table, pipeline) | {
        "views": dg.MetadataValue.text(", ".join(VIEWS[dataset.name]))
    }


def of_public_table(pipeline: PipelineResources) -> dict[str, Any]:
    """Return the identifiers and columns of the table of public places."""
    return _of_table(poi, pipeline)


def of_staged_days(pipeline: PipelineResources) -> dict[str, Any]:
    """Return the identifiers and columns of the table of staged days."""
    return _of_table(staged_partition, pipeline)


def database_kind(pipeline: PipelineResources) -> str:
    """Return the kind of the database: `postgres` or `sqlite`."""
    return "sqlite" if pipeline.database_address.startswith("sqlite:") else "postgres"


def upstream_of(step: Step, dataset: Dataset, pipeline: PipelineResources) -> list[dg.AssetKey]:
    """Return the keys of what a step fetches from."""
    if step == "snapshot":
        return [_source_key(kind) for kind in sources.SOURCES]
    if step == "feeds" and dataset.feeds_asset:
        return [_feed_key(city, feed) for city, feed in _feeds(pipeline)]
    return []


def upstream_specs(pipeline: PipelineResources) -> list[dg.AssetSpec]:
    """Return an external asset for each kind of source, and for each feed of a city."""
    return [
        *(_source_spec(kind, pipeline) for kind in sources.SOURCES),
        *(_feed_spec(city, feed, pipeline) for city, feed in _feeds(pipeline)),
    ]


def _source_spec(kind: str, pipeline: PipelineResources) -> dg.AssetSpec:
    settings = pipeline.settings
    url = settings.overpass_url
    configured = {
        "overpass": url and url.get_secret_value(),
        "extract": settings.osm_extract,
    }.get(kind)
    of_kind = pipeline.cities_from(kind)
    is_shared = sources.SOURCES[kind].shared
    own = sorted({redacted(city.osm_extract) for city in of_kind if city.osm_extract})
    places = [redacted(configured)] if configured else []
    places += [each for each in own if is_shared and each not in places]
    slugs = ", ".join(city.slug for city in of_kind)
    listed = "\n".join(f"- `{each}`" for each in places)
    return dg.AssetSpec(
        _source_key(kind),
        description=(sources.SOURCES[kind].__doc__ or kind).strip()
        + " OpenStreetMap data comes from it. It is not a part of this installation.",
        group_name=UPSTREAM,
        kinds={"source", *({"file"} if is_shared else ())},
        owners=list(settings.owners),
        metadata={
            **_address(places[0] if places else NOT_SET),
            "locations": dg.MetadataValue.md(listed or NOT_SET),
            "cities": dg.MetadataValue.text(slugs or "none"),
        },
    )


def _feed_spec(city: City, feed: Feed, pipeline: PipelineResources) -> dg.AssetSpec:
    return dg.AssetSpec(
        _feed_key(city, feed),
        description=f"The feed {feed.slug} of {city.slug}: helper places that another publisher "
        "keeps. It is not a part of this installation.",
        group_name=UPSTREAM,
        kinds={"source", "json" if feed.format == "geojson" else "csv"},
        owners=list(pipeline.settings.owners),
        metadata={
            **_address(feed.public_location),
            "city": dg.MetadataValue.text(city.slug),
            "licence": dg.MetadataValue.text(feed.licence),
            "attribution": dg.MetadataValue.text(feed.attribution),
        },
    )


def _address(public: str) -> dict[str, Any]:
    """Return an address that has no credentials, and a link if a browser can open it."""
    link = public.startswith(("http://", "https://")) and "{" not in public
    return {
        "dagster/uri": public,
        **({"link": dg.MetadataValue.url(public)} if link else {}),
    }


def _source_key(kind: str) -> dg.AssetKey:
    return dg.AssetKey([UPSTREAM, kind])


def _feed_key(city: City, feed: Feed) -> dg.AssetKey:
    parts = (part.replace("-", "_") for part in (city.slug, feed.slug))
    return dg.AssetKey([UPSTREAM, "feed", *parts])


def _feeds(pipeline: PipelineResources) -> Iterator[tuple[City, Feed]]:
    return ((city, feed) for city in pipeline.cities for feed in city.feeds)


def _of_table(table: sa.Table, pipeline: PipelineResources) -> dict[str, Any]:
    return {
        "dagster/uri": pipeline.database_address,
        "dagster/table_name": table.name,
        "dagster/storage_kind": database_kind(pipeline),
        "dagster/column_schema": _schema(table, table.columns.keys()),
        "data_dictionary": dg.MetadataValue.path(manual_url("data-dictionary", table.name)),
    }


def _schema(table: sa.Table, names: Sequence[str]) -> dg.TableSchema:
    described: Mapping[str, str] = {}
    with suppress(OSError):  # an asset without descriptions is better than none
        described = columns_of(table.name)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=_type_of(table.columns[name]),
                description=described.get(name),
                constraints=dg.TableColumnConstraints(
                    nullable=bool(table.columns[name].nullable),
                    unique=list(table.primary_key.columns) == [table.columns[name]],
                ),
            )
            for name in names
        ]
    )


def _type_of(column: sa.Column[Any]) -> str:
    return next(word for of_type, word in _TYPES if isinstance(column.type, of_type))


def _references(code: Sequence[Callable[..., Any]]) -> dg.CodeReferencesMetadataValue:
    """Return where functions are on this machine, in the checkout or the installed package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.CodeReferencesMetadataValue(
            code_references=[
                dg.LocalFileCodeReference(
                    file_path=each.__code__.co_filename,
                    line_number=each.__code__.co_firstlineno,
                    label=f"{each.__module__}.{each.__name__}",
                )
                for each in code
            ]
        )
