"""Texts that were decoded by the wrong table, by the publisher: repaired, or found broken."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.sources.feed.errors import FeedEncodingWrong

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.config.feeds import Feed

BROKEN_TEXT_SHARE = 0.1
"""The largest share of the mapped texts that may look broken and cannot be repaired."""

_WRONG_TABLES = ("cp1252", "latin-1", "cp1251")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CONTROLS = re.compile("[\x80-\x9f]")
"""Controls that texts seldom have, but UTF-8 that was decoded as Latin-1 has."""

_REVERSIBLE = {"encode", "decode"}
"""Steps of a repair that lose nothing and guess nothing."""


def repair(values: Sequence[dict[str, Any]], feed: Feed) -> list[str | None]:
    """Repair the mapped texts in place, where the repair is certain.

    Args:
        values: The values of each record's mapped fields.
        feed: The feed.

    Returns:
        For each record, a field whose text has lost letters for good (U+FFFD), or None. A text that
        only looks broken stays as it is, because it may be right: `В–2` is a name.

    Raises:
        FeedEncodingWrong: More texts than a few look broken and cannot be repaired.
    """
    lost: list[str | None] = []
    count = 0
    examples = []
    for record in values:
        worst = None
        for name, value in record.items():
            if not isinstance(value, str) or not value:
                continue
            count += 1
            if value.isascii() or not looks_broken(value):
                continue
            repaired = _repaired(value)
            if repaired is not None:
                record[name] = repaired
                continue
            examples.append(value)
            worst = name if _REPLACEMENT in value else worst
        lost.append(worst)
    if examples and len(examples) >= BROKEN_TEXT_SHARE * count:
        raise FeedEncodingWrong(
            f"{feed.public_location}: {len(examples)} of the {count} texts of feed {feed.slug} "
            f"look decoded by the wrong table, such as {examples[0][:40]!r}, and cannot be "
            f"repaired. Correct the feed's encoding ({feed.encoding}), or ask the publisher to "
            "correct the feed."
        )
    return lost


def looks_broken(text: str) -> bool:
    """Return whether a text is UTF-8 that was decoded by the table of one language's letters."""
    if _REPLACEMENT in text or _CONTROLS.search(text):
        return True
    for table in _WRONG_TABLES:
        try:
            text.encode(table).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False


def _repaired(text: str) -> str | None:
    """Return the text that was meant; None if it is not certain."""
    import ftfy

    found = ftfy.fix_encoding_and_explain(text)
    steps = found.explanation or []
    is_certain = bool(steps) and {step.action for step in steps} <= _REVERSIBLE
    return found.text if is_certain and not looks_broken(found.text) else None
