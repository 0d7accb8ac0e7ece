"""The models of requests and responses of overrides."""

from datetime import date, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from ingestion_pipeline.admin_api.models import Day
from ingestion_pipeline.admin_api.promotion_models import Said
from ingestion_pipeline.promotion import overrides
from ingestion_pipeline.promotion.overrides import OverrideColumn

_EXAMPLE_ID = "c1d2a2b4-5a0f-4c39-8a53-9a5b0c7e2f10"
_EXAMPLE_PLACE = "7a0d1f60-2f0e-4f2e-9a83-1f6f7f5b2c11"


class OverrideRequest(BaseModel):
    """A value that an operator gives a column of a public place."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "column": "name",
                    "value": "Green Door",
                    "who": "ann@example.org",
                    "reason": "A letter of the owner",
                    "until": "2027-01-31",
                }
            ]
        },
    )

    column: OverrideColumn
    value: Any = Field(
        description="What the column has instead of upstream's value: `true` for `hidden`, an "
        "object for `address` and `contact`, otherwise a text; null empties `name`, "
        "`opening_hours` or `wikidata`"
    )
    who: Said = Field(description="Who decides")
    reason: Said = Field(description="Why")
    until: Day | None = Field(None, description="The last day on which it is in force")


class Override(BaseModel):
    """An override of a public place."""

    override_id: str = Field(json_schema_extra={"format": "uuid"}, examples=[_EXAMPLE_ID])
    poi_id: str = Field(json_schema_extra={"format": "uuid"}, examples=[_EXAMPLE_PLACE])
    column: OverrideColumn
    value: Any
    who: str
    reason: str
    until: date | None
    created_at: datetime
    retired_at: datetime | None = Field(description="Null while it is in force")
    retired_why: str | None = Field(
        description="`upstream agrees`, `its last day has passed`, `replaced` or `removed`"
    )
    retired_promotion_id: str | None = Field(description="The promotion that retired it")
    retired_by: str | None = Field(description="The person who replaced or removed it")
    retired_reason: str | None = Field(description="Why that person did")

    @classmethod
    def of(cls, row: overrides.Override) -> Self:
        """Return an override as the API shows it."""
        fields = {name: value for name, value in vars(row).items() if name in cls.model_fields}
        return cls(override_id=row.id, **fields)


class Overrides(BaseModel):
    """All overrides of a place, those in force first, then the newest."""

    overrides: list[Override]
