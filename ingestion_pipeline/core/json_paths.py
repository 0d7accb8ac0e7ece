"""Values inside nested data, by a path in JMESPath (https://jmespath.org)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

PLAIN_NAMES = re.compile(r"[\w@:$-]+(?:\.[\w@:$-]+)*")
"""Names of members joined by dots, which need no quotation marks though JMESPath wants them."""


def value_at(data: object, path: str) -> Any:
    """Return the value at a path; None if there is none.

    A member whose whole name is the path comes first, then members joined by dots, so that names
    which are not JMESPath (`last-updated`, `Power [kW]`) need no quotation marks.

    Args:
        data: A JSON value.
        path: Such as `name`, `position.lat` or `geometry.coordinates[0]`.
    """
    if isinstance(data, dict) and path in data:
        return data[path]
    found = data
    for member in path.split("."):
        if not isinstance(found, dict) or member not in found:
            break
        found = found[member]
    else:
        return found
    expression = _compiled(path) if isinstance(data, dict | list) else None
    return None if expression is None else _searched(expression, data)


def is_path(text: str) -> bool:
    """Return whether a text is a valid path."""
    return PLAIN_NAMES.fullmatch(text) is not None or _compiled(text) is not None


def _searched(expression: Any, data: object) -> Any:
    from jmespath.exceptions import JMESPathError

    try:
        return expression.search(data)
    except JMESPathError:  # a function that the data has no values for
        return None


@cache
def _compiled(path: str) -> Any:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.compile(path)
    except JMESPathError:
        return None
