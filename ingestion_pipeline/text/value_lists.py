"""Lists of values in one tag.

Source: "Semi-colon value separator" of the OSM wiki. Blanks around a value and empty values mean
nothing.
"""


def split_values(text: str) -> list[str]:
    """Return the values of a tag: `ATM; bank;` gives `ATM` and `bank`."""
    if ";" not in text:  # nearly all values
        return [stripped] if (stripped := text.strip()) else []
    return [part for each in text.split(";") if (part := each.strip())]


def folded_values(text: str) -> list[str]:
    """Return the values of a tag in lower case, for keys whose values are words, not names."""
    return split_values(text.lower())
