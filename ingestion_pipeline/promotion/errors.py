"""Errors of promotion.

    PromotionError
    ├── PromotionOff           the city's policy is "off"                             never
    ├── PromotionStopped       a gate says stop                                       never
    ├── UnknownPromotion       no promotion has this id                               never
    ├── UnknownPlace           no place has or had this id                            never
    ├── DecisionRefused        the promotion's status does not allow the decision     never
    ├── BadOverride            an override that cannot be applied                     never
    └── UnknownOverride        the place has no override with this id                 never

The last column says whether a retry may succeed.
"""

from ingestion_pipeline.core.errors import IngestionError


class PromotionError(IngestionError):
    """A staged day cannot become public."""

    code = "promotion_error"


class PromotionOff(PromotionError):
    """The city is not promoted."""

    code = "promotion_off"


class PromotionStopped(PromotionError):
    """A gate stopped the promotion. It cannot be overridden."""

    code = "promotion_stopped"


class UnknownPromotion(PromotionError):
    """No promotion has this id."""

    code = "unknown_promotion"


class UnknownPlace(PromotionError):
    """No place has or had this id."""

    code = "unknown_place"


class DecisionRefused(PromotionError):
    """The status of the promotion does not allow the decision."""

    code = "decision_refused"


class BadOverride(PromotionError):
    """An override cannot be applied, or does not exist.

    Attributes:
        field: What of it is wrong: `column`, `value`, `reason` or `who`.
    """

    code = "bad_override"

    def __init__(self, message: str, *, field: str = "column") -> None:
        """Create an error."""
        super().__init__(message)
        self.field = field


class UnknownOverride(PromotionError):
    """The place has no override with this id."""

    code = "unknown_override"
