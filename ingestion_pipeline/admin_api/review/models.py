"""The models of the answers that the review page reads."""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from ingestion_pipeline.admin_api.models import Job
from ingestion_pipeline.admin_api.promotion_models import Explanation
from ingestion_pipeline.config.cities import PromotionPolicy
from ingestion_pipeline.promotion.gates import Verdict
from ingestion_pipeline.promotion.ledger import Status

Position = tuple[float, float]


class LegendGroup(BaseModel):
    """A group of the legend of changes."""

    key: str
    label: str
    colour: str = Field(examples=["#009e73"])
    shape: str
    letter: str


class CheckAbout(BaseModel):
    """A check of a city-day."""

    name: str
    blocking: bool = Field(description="Whether it can stop a day")
    description: str
    what_to_do: str


class ItemKinds(BaseModel):
    """The kinds of items, in display order."""

    days: list[str] = Field(description="Between two staged days")
    events: list[str] = Field(description="Of a promotion")


class ReviewSettings(BaseModel):
    """What the review page needs to know before it shows data."""

    version: str = Field(description="The package's version", examples=["0.1.0"])
    basemap_style_url: str | None = Field(description="The MapLibre style of the background")
    groups: list[LegendGroup]
    kinds: ItemKinds
    checks: list[CheckAbout] = Field(description="In display order")


class CheckResult(BaseModel):
    """The result of a check of a staged day."""

    name: str
    result: Literal["passed", "failed", "accepted"] = Field(
        description="`failed`: it warned, and the day was staged; `accepted`: it stopped the day, "
        "and a person accepted it"
    )
    message: str | None = Field(description="What was found; null if it passed")


class NewestDay(BaseModel):
    """The newest staged day of a dataset."""

    dataset: str = Field(examples=["poi"])
    day: date
    as_of: datetime
    staged_at: datetime
    rows: int
    lag_days: int = Field(description="Days from it to today in the city's time zone")
    accepted_reason: str | None
    stale_reason: str | None
    checks: list[CheckResult]


class GateVerdict(BaseModel):
    """The judgement of a gate, without its numbers."""

    name: str
    verdict: Verdict
    sentence: str


class OpenPromotion(BaseModel):
    """A promotion that is not public yet."""

    promotion_id: str = Field(json_schema_extra={"format": "uuid"})
    day: date
    status: Status
    verdict: Verdict = Field(description="The worst of the gates")
    proposed_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    decision_reason: str | None
    reverts: str | None
    counts: dict[str, int] = Field(description="Events by kind")
    gates: list[GateVerdict]


class PublicPromotion(BaseModel):
    """The promotion that is public."""

    promotion_id: str = Field(json_schema_extra={"format": "uuid"})
    day: date
    sequence: int
    promoted_at: datetime
    decided_by: str | None
    decision_reason: str | None
    reverts: str | None
    places: int = Field(description="The number of public places")


class PromotionState(BaseModel):
    """What of a city is public, and what waits."""

    policy: PromotionPolicy
    public: PublicPromotion | None
    open: OpenPromotion | None
    days_behind: int | None = Field(
        description="Days from the public day to the newest staged one; null without one of them"
    )


class FailedJob(Job):
    """A job that FAILED."""

    resolved: bool = Field(description="Whether a later job of its type and day SUCCEEDED")


class ReviewCity(BaseModel):
    """A city, its newest staged days, and its promotion."""

    city_slug: str = Field(examples=["kazan"])
    name: dict[str, str] = Field(description="By language")
    country: str
    timezone: str
    enabled: bool
    datasets: list[NewestDay] = Field(description="Those of which a day is staged")
    promotion: PromotionState
    last_failed_job: FailedJob | None


class ReviewCities(BaseModel):
    """All cities of the cities file, in its order."""

    cities: list[ReviewCity]


class StagedDay(BaseModel):
    """A staged day that can be compared."""

    day: date
    rows: int
    as_of: datetime
    staged_at: datetime
    added: int
    changed: int
    removed: int
    rejected: int
    accepted_reason: str | None
    stale_reason: str | None
    failed_checks: list[str]
    is_public: bool
    is_proposed: bool


class StagedDays(BaseModel):
    """Some staged days of a city, the newest first."""

    public_day: date | None
    proposal_day: date | None = Field(description="The day of the open promotion")
    days: list[StagedDay]
    next_cursor: str | None = Field(
        description="The `cursor` of the next page; null on the last page"
    )


class KindCount(BaseModel):
    """The items of a kind."""

    kind: str
    count: int = Field(description="Without filters")
    matching: int = Field(description="With all filters but that of kinds")


class CategoryCount(BaseModel):
    """The items of a category."""

    category: str
    label: str = Field(description="Its English meaning")
    count: int = Field(description="Without filters")
    matching: int = Field(description="With all filters but that of the category")


class Size(BaseModel):
    """How large an item is."""

    value: float
    unit: Literal["metres", "tags", "columns"] = Field(
        description="`metres` that it moved; `tags` of what comes or goes as a whole; `columns` "
        "that differ"
    )


class Positions(BaseModel):
    """The point of a place on both sides; null where it is not there."""

    before: Position | None
    after: Position | None


class DifferenceItem(BaseModel):
    """An item of a difference."""

    item: str = Field(description="The number of the event, or the ref of the feature")
    place: str = Field(description="What `place` of the endpoint of one place takes")
    kind: str = Field(examples=["moved"])
    group: str = Field(description="The key of its group in the legend")
    size: Size
    poi_id: str | None = Field(description="Null if the place is not public")
    source_ref: str = Field(examples=["node/123"])
    category: str = Field(examples=["amenity/cafe"])
    category_label: str
    name: str | None
    positions: Positions
    changed: list[str] = Field(
        description="The columns that differ, without bookkeeping; empty for what comes or goes"
    )
    before: dict[str, Any] | None = Field(description="These columns before, or all of them")
    after: dict[str, Any] | None = Field(description="These columns after, or all of them")
    cause: str | None = Field(description="Why it changed between two days")
    evidence: dict[str, Any] = Field(description="What a person can read about an event")


class DifferenceHead(BaseModel):
    """The two sides of a difference."""

    city_slug: str
    mode: Literal["events", "days"] = Field(
        description="`events`: those of the open promotion; `days`: two staged days compared"
    )
    from_day: date | None = Field(description="Null if nothing is public yet")
    to_day: date
    promotion_id: str | None
    version: str = Field(description="Changes with the difference")


class DifferencePage(DifferenceHead):
    """Some items of a difference."""

    kinds: list[KindCount]
    categories: list[CategoryCount]
    total: int = Field(description="Items without filters")
    matching: int = Field(description="Items with filters")
    items: list[DifferenceItem]
    next_cursor: str | None = Field(
        description="The `cursor` of the next page; null on the last page"
    )


class PlaceColumn(BaseModel):
    """A column of a place on both sides."""

    column: str
    before: Any
    after: Any
    changed: bool


class SliceEvidence(BaseModel):
    """Where the rows of a staged day come from."""

    day: date
    as_of: datetime
    as_of_source: str
    obtained: str
    location: str
    digest: str
    rules_version: str
    boundary_ref: str
    licence: str
    attribution: str
    run_id: str
    staged_at: datetime


class BothSides(BaseModel):
    """The evidence of both sides; null where the side is no staged day."""

    before: SliceEvidence | None
    after: SliceEvidence | None


class PlaceDifference(DifferenceHead):
    """One place in full."""

    place: str
    poi_id: str | None
    source_ref: str
    category: str
    category_label: str
    name: str | None
    positions: Positions
    columns: list[PlaceColumn] = Field(description="All columns; a geometry is GeoJSON")
    items: list[DifferenceItem] = Field(description="Those of this place")
    staged: BothSides
    explanation: Explanation | None = Field(description="Null for a place that was never public")


class DifferenceMap(BaseModel):
    """The content of a map, by column."""

    title: str
    things: str
    day: date
    from_: date | None = Field(alias="from")
    asOf: dict[str, datetime]  # noqa: N815 - the form of `maps/content.py`
    basemap: str | None
    classColumn: str  # noqa: N815
    classes: dict[str, str] = Field(description="The English meaning of each category")
    groups: list[LegendGroup]
    kinds: list[str]
    mode: Literal["events", "days"]
    version: str
    count: int
    columns: dict[str, list[Any]] = Field(description="The rows, by column")
    items: dict[str, list[Any]] = Field(description="The items, by property")
