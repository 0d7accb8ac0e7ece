"""A small map of a day's points, for the page of a run.

It is drawn with Pillow, because importing a plotting library takes longer than all other work on a
small city-day.
"""

import base64
import io
from math import cos, floor, log10, radians
from typing import TYPE_CHECKING

from ingestion_pipeline.core.geo import Bbox

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WIDTH = 480
LARGEST_HEIGHT = 960
MARGIN = 16
BACKGROUND, GRID, INK, DOT = "#ffffff", "#dddddd", "#555555", "#1f5fa8"


def png_of_points(
    lon: "npt.NDArray[np.float64]", lat: "npt.NDArray[np.float64]", *, window: Bbox
) -> str:
    """Return a map of points with a grid in degrees, as a Markdown image.

    Args:
        lon: N longitudes in degrees (EPSG:4326).
        lat: N latitudes in degrees.
        window: The area of the map. In its middle, metres have the same length in both directions.

    Returns:
        `![...](data:image/png;base64,...)`, a few tens of kilobytes at most, because Dagster's
        event log keeps images forever.
    """
    from PIL import Image, ImageDraw

    west, south, east, north = window
    narrowing = cos(radians((south + north) / 2))
    height = round(WIDTH * (north - south) / ((east - west) * narrowing))
    height = max(2 * MARGIN, min(height, LARGEST_HEIGHT))
    image = Image.new("RGB", (WIDTH, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    x = (lon - west) / (east - west) * (WIDTH - 1)
    y = (north - lat) / (north - south) * (height - 1)
    step = _round_step(max(east - west, north - south) / 4)
    for number in range(floor(west / step) + 1, floor(east / step) + 1):
        at = (number * step - west) / (east - west) * WIDTH
        draw.line([(at, 0), (at, height)], fill=GRID)
        draw.text((at + 2, height - MARGIN), f"{number * step:g}", fill=INK)
    for number in range(floor(south / step) + 1, floor(north / step) + 1):
        at = (north - number * step) / (north - south) * height
        draw.line([(0, at), (WIDTH, at)], fill=GRID)
        draw.text((2, at + 1), f"{number * step:g}", fill=INK)
    radius = 1.5 if len(lon) < 10_000 else 0.5  # noqa: PLR2004 - larger dots would overlap
    for dot_x, dot_y in zip(x.tolist(), y.tolist(), strict=True):
        draw.ellipse([dot_x - radius, dot_y - radius, dot_x + radius, dot_y + radius], fill=DOT)
    png = io.BytesIO()
    # A palette of 8 colours is enough, and the file is a third of the size.
    image.quantize(8).save(png, "png", optimize=True)
    encoded = base64.b64encode(png.getvalue()).decode()
    return f"![{len(lon)} POIs](data:image/png;base64,{encoded})"


def _round_step(degrees: float) -> float:
    """Round a distance between grid lines down to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(degrees))
    return max(factor for factor in (1, 2, 5) if factor * power <= degrees) * power
