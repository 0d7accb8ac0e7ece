"""The root of the project's error tree.

Belongs here: the base class that every area's errors derive from, how an error that is none of them
is described, and how messages quote upstream. Does not belong here: any concrete error; those are
in one file per area (`osm/errors.py`, `staging/errors.py`, ...).

    IngestionError
    ├── SettingsError             config/settings.py
    ├── CitiesFileError           config/cities.py
    ├── UnknownCity               config/cities.py
    ├── FileNotWritten            export.py
    ├── DagsterUnavailable        cli/backfill.py
    ├── DagsterRefused            cli/backfill.py
    ├── ProcessEnded              cli/development.py
    ├── PortTaken                 cli/development.py
    ├── ProcessDied               core/parallel.py
    ├── OsmError                  osm/errors.py
    ├── HelpersError              sources/feed/errors.py
    ├── LakeError                 lake/errors.py
    ├── QualityError              quality/errors.py
    ├── PromotionError            promotion/errors.py
    └── StagingError              staging/errors.py
"""

from typing import ClassVar

from ingestion_pipeline.core.characters import storable

QUOTED_CHARACTERS = 500
"""How much of an upstream message is quoted; a remark of several megabytes has been seen."""

MESSAGE_CHARACTERS = 4_000
"""The longest message in the ledger."""


def shortened(text: str, *, most: int = MESSAGE_CHARACTERS) -> str:
    """Return the text, cut to `most` characters and marked with its length where it is longer."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def quoted(message: object, *, most: int = QUOTED_CHARACTERS) -> str:
    """Return an upstream message on one line, shortened."""
    return shortened(" ".join(str(message).split()), most=most)


class IngestionError(Exception):
    """An error that stops a city-day. Its message says what is wrong, where, and what to do.

    Attributes:
        code: Stable snake_case identifier, stored in `ingestion_run.error_code`.
        should_retry: Whether a retry can succeed without an operator's action.
        retry_after_s: The shortest wait before that retry, in seconds; None for no limit.
    """

    code: ClassVar[str] = "ingestion_error"
    should_retry: bool = False
    retry_after_s: float | None = None

    def __str__(self) -> str:
        """Return the message in a form that the ledger can store: it may quote upstream."""
        message: str = storable(super().__str__())
        return message


def described(error: BaseException) -> str:
    """Return the type of an unexpected error and where it was raised.

    Its text is left out, because it may quote upstream data or a URL with credentials.
    """
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f" in {where.tb_frame.f_code.co_qualname}:{where.tb_lineno}" if where else ""
    return f"{type(error).__name__}{place}"
