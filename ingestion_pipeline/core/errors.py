"""The root of the project's error tree.

Belongs here: the base class that every area's errors derive from, how an error that is none of them
is described, and how messages quote upstream. Does not belong here: any concrete error; those stand
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
    └── StagingError              staging/errors.py
"""

from typing import ClassVar

from ingestion_pipeline.core.characters import storable

QUOTED_CHARACTERS = 500
"""How much of what upstream says is quoted in a message; a remark of megabytes has been seen."""

MESSAGE_CHARACTERS = 4_000
"""How long a message may be in the ledger."""


def shortened(text: str, *, most: int = MESSAGE_CHARACTERS) -> str:
    """Return a text's beginning, with its length where it is longer than that."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def quoted(said: object, *, most: int = QUOTED_CHARACTERS) -> str:
    """Return what upstream says on one line, no longer than a message can hold."""
    return shortened(" ".join(str(said).split()), most=most)


class IngestionError(Exception):
    """Something that stops a city-day, said so that the reader knows what to do.

    Attributes:
        code: Stable snake_case identifier; written to `ingestion_run.error_code`.
        should_retry: Whether the same attempt may succeed later without a person doing anything.
        retry_after_s: How long to wait before that attempt, where the wait was left to the caller.
    """

    code: ClassVar[str] = "ingestion_error"
    should_retry: bool = False
    retry_after_s: float | None = None

    def __str__(self) -> str:
        """Give the message as the ledger can store it: it may quote what upstream sent."""
        message: str = storable(super().__str__())
        return message


def described(error: BaseException) -> str:
    """Return the type of an unexpected error and where it was raised.

    Its own text is left out: it may quote upstream's data, or an address with credentials.
    """
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f" in {where.tb_frame.f_code.co_qualname}:{where.tb_lineno}" if where else ""
    return f"{type(error).__name__}{place}"
