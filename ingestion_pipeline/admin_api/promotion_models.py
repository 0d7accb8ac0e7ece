"""The models of requests and responses of promotions."""

from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from ingestion_pipeline.admin_api.models import Day, Job, Slug
from ingestion_pipeline.promotion import ledger
from ingestion_pipeline.promotion.events import Kind
from ingestion_pipeline.promotion.gates import Verdict
from ingestion_pipeline.promotion.ledger import Status

_EXAMPLE_ID = "7a0d1f60-2f0e-4f2e-9a83-1f6f7f5b2c11"

Said = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]
"""A text of a person that is not blank and has no U+0000, which no database stores."""


class PromotionRequest(BaseModel):
    """A request to promote a staged day."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"examples": [{"city_slug": "kazan", "day": "2026-11-20"}]},
    )

    city_slug: Slug
    day: Day | None = Field(None, description="The UTC day; today by default")
    again: bool = Field(default=False, description="Propose the day again although it was rejected")


class DecisionRequest(BaseModel):
    """A decision of a person."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"examples": [{"who": "ann@example.org", "reason": "Checked the map"}]},
    )

    who: Said = Field(description="Who decides")
    reason: Said = Field(description="Why")


class GateResult(BaseModel):
    """The judgement of one gate."""

    name: str = Field(examples=["category_losses"])
    verdict: Verdict
    numbers: dict[str, Any] = Field(description="What it was judged by")
    sentence: str = Field(description="What was found, and for `stop` what to fix")


class Promotion(BaseModel):
    """A promotion, from its ledger."""

    promotion_id: str = Field(json_schema_extra={"format": "uuid"}, examples=[_EXAMPLE_ID])
    city_slug: str
    dataset: str
    day: date
    sequence: int | None = Field(description="Its place in the city's line; null if not public")
    base_id: str | None = Field(description="The promotion that it replaces")
    status: Status
    policy: str
    gates: list[GateResult]
    counts: dict[str, int] = Field(description="Events by kind")
    attribution: str = Field(description="What a product must show")
    proposed_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    decision_reason: str | None
    promoted_at: datetime | None
    reverts: str | None = Field(description="The promotion that it undoes")

    @classmethod
    def of(cls, row: ledger.Promotion) -> Self:
        """Return the promotion of a row of the ledger."""
        fields = {name: value for name, value in vars(row).items() if name in cls.model_fields}
        return cls(promotion_id=row.id, **fields)


class PromotionPage(BaseModel):
    """Some promotions, the newest first."""

    promotions: list[Promotion]
    next_cursor: str | None = Field(
        description="The `cursor` of the next page; null on the last page"
    )


class PublicEvent(BaseModel):
    """An event of a place."""

    number: int
    poi_id: str
    kind: Kind
    before: dict[str, Any] | None = Field(description="The columns concerned before")
    after: dict[str, Any] | None = Field(description="Those columns after")
    evidence: dict[str, Any]


class PromotionDetail(BaseModel):
    """A promotion, and a page of its events."""

    promotion: Promotion
    findings: dict[str, Any] = Field(description="What a person may look at")
    evidence: dict[str, Any] = Field(description="The staged day")
    totals: dict[str, int] = Field(description="Public places by category afterwards")
    events: list[PublicEvent]
    next_after: int | None = Field(description="The `after` of the next page; null on the last")


class Decided(BaseModel):
    """A promotion after a decision, and the job that makes it public."""

    promotion: Promotion
    job: Job | None = Field(description="Null if nothing is left to do")


class Explanation(BaseModel):
    """Where a public place comes from."""

    poi_id: str
    public: bool = Field(description="Whether it is public now")
    place: dict[str, Any] = Field(description="Its row, or its last one")
    source: dict[str, Any] = Field(description="The raw bytes and the rules")
    category: dict[str, Any]
    name: dict[str, Any]
    identities: list[dict[str, Any]] = Field(description="Which objects stood for it")
    overrides: list[dict[str, Any]]
    promotion: dict[str, Any] = Field(description="The gates and the decision")
    events: list[dict[str, Any]] = Field(description="What became public, the oldest first")
