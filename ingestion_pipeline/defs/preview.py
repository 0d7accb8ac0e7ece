"""The map of a day for the page of a run: its places by the groups of the legend, and its boundary.

It is drawn with Pillow, because importing a plotting library takes longer than all other work on a
small city-day. `poi-ingest map` writes a map to work with.
"""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from math import cos, floor, log10, pi, radians, sin
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.core.legend import Group, Legend

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import shapely
    from PIL.ImageDraw import ImageDraw

WIDTH = 480
LARGEST_HEIGHT = 960
MARGIN = 16
LINE = 20
"""The height of a line of the legend."""
COLUMN = 160
"""The width of a column of the legend."""
SMALLEST_MAP = 60
SYMBOL, DOT = 3.5, 1.0
MANY = 10_000
"""More places than this are dots: symbols would cover each other."""
BACKGROUND, GRID, INK, EDGE, SMOOTH = "#ffffff", "#dddddd", "#333333", "#555555", "#999999"

_CORNERS = {
    "square": (4, pi / 4, 1.15),
    "diamond": (4, 0.0, 1.25),
    "triangle": (3, 0.0, 1.35),
    "pentagon": (5, 0.0, 1.15),
    "hexagon": (6, 0.0, 1.1),
    "octagon": (8, pi / 8, 1.1),
}
"""Of each regular shape: its corners, its turn, and its radius relative to a circle's."""


class Places(NamedTuple):
    """The places of a day.

    Attributes:
        lon: N longitudes in degrees (EPSG:4326).
        lat: N latitudes in degrees.
        classes: N classes.
    """

    lon: "npt.NDArray[np.float64]"
    lat: "npt.NDArray[np.float64]"
    classes: Sequence[str]


class _Map(NamedTuple):
    """A map of a window, in pixels."""

    window: Bbox
    height: int

    @classmethod
    def of(cls, window: Bbox) -> "_Map":
        """Return the map on which metres have the same length in both directions in its middle."""
        west, south, east, north = window
        narrowing = cos(radians((south + north) / 2))
        height = round(WIDTH * (north - south) / ((east - west) * narrowing))
        return cls(window, max(SMALLEST_MAP, min(height, LARGEST_HEIGHT)))

    def x(self, lon: float) -> float:
        return (lon - self.window.west) / (self.window.east - self.window.west) * (WIDTH - 1)

    def y(self, lat: float) -> float:
        share = (self.window.north - lat) / (self.window.north - self.window.south)
        return share * (self.height - 1)


def picture_of_day(
    places: Places, *, legend: Legend, boundary: "shapely.Geometry", window: Bbox, things: str
) -> str:
    """Return a map of a day's places with a legend, as a Markdown image.

    Args:
        places: The places.
        legend: The groups of their classes.
        boundary: The city's area (EPSG:4326).
        window: The area of the map.
        things: The name of the places, such as `POIs`.

    Returns:
        `![...](data:image/png;base64,...)`, some tens of kilobytes, and about a hundred for
        100,000 places, because Dagster's event log keeps images forever.
    """
    from PIL import Image, ImageColor, ImageDraw

    of_class = {each: legend.group_of(each) for each in set(places.classes)}
    groups = [of_class[each] for each in places.classes]
    counts = Counter(group.key for group in groups)
    shown = [group for group in legend.all if counts[group.key]]
    area = _Map.of(window)
    lines = -(-len(shown) // (WIDTH // COLUMN))
    image = Image.new("RGB", (WIDTH, area.height + lines * LINE + MARGIN // 2), BACKGROUND)
    draw = ImageDraw.Draw(image)
    _draw_grid(draw, area)
    _draw_boundary(draw, area, boundary)
    radius = SYMBOL if len(groups) < MANY else DOT
    # The first groups of the legend are drawn last, on top, as on the interactive map.
    order = {group.key: place for place, group in enumerate(legend.all)}
    for number in sorted(range(len(groups)), key=lambda each: -order[groups[each].key]):
        x, y = area.x(float(places.lon[number])), area.y(float(places.lat[number]))
        _draw_symbol(draw, groups[number], x, y, radius)
    draw.rectangle((0, area.height, WIDTH, image.height), fill=BACKGROUND)
    for place, group in enumerate(shown):
        x = MARGIN / 2 + place % (WIDTH // COLUMN) * COLUMN
        y = area.height + MARGIN / 4 + place // (WIDTH // COLUMN) * LINE
        _draw_symbol(draw, group, x + 5, y + 7, 5)
        draw.text((x + 16, y), f"{group.label} {counts[group.key]:,}", fill=INK)
    png = io.BytesIO()
    # With a palette, the file is a third of the size. One that is made of the picture would lack
    # the colours of groups with few places.
    colours = (BACKGROUND, GRID, INK, EDGE, SMOOTH, *(group.colour for group in legend.all))
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in colours for part in ImageColor.getrgb(colour)[:3]])
    drawn = image.quantize(palette=palette, dither=Image.Dither.NONE)
    drawn.save(png, "png", optimize=True)
    encoded = base64.b64encode(png.getvalue()).decode()
    return f"![{len(groups):,} {things}](data:image/png;base64,{encoded})"


def _draw_grid(draw: "ImageDraw", area: _Map) -> None:
    """Draw lines at round degrees, with their numbers."""
    west, south, east, north = area.window
    step = _round_step(max(east - west, north - south) / 4)
    for number in range(floor(west / step) + 1, floor(east / step) + 1):
        at = area.x(number * step)
        draw.line([(at, 0), (at, area.height)], fill=GRID)
        draw.text((at + 2, area.height - MARGIN), f"{number * step:g}", fill=EDGE)
    for number in range(floor(south / step) + 1, floor(north / step) + 1):
        at = area.y(number * step)
        draw.line([(0, at), (WIDTH, at)], fill=GRID)
        draw.text((2, at + 1), f"{number * step:g}", fill=EDGE)


def _draw_boundary(draw: "ImageDraw", area: _Map, boundary: "shapely.Geometry") -> None:
    import shapely

    polygons = shapely.get_parts(boundary)
    rings, _ = shapely.get_rings(polygons, return_index=True)
    for ring in rings:
        line = [(area.x(lon), area.y(lat)) for lon, lat in shapely.get_coordinates(ring).tolist()]
        draw.line(line, fill=EDGE, width=2, joint="curve")


def _draw_symbol(draw: "ImageDraw", group: Group, x: float, y: float, radius: float) -> None:
    """Draw a group's shape in its colour; the smallest are dots."""
    if radius <= DOT or group.shape in ("circle", "star"):
        inner = radius / 2 if group.shape == "star" and radius > DOT else 0
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=group.colour)
        if inner:
            draw.ellipse((x - inner, y - inner, x + inner, y + inner), fill=BACKGROUND)
    elif group.shape == "cross":
        draw.line((x - radius, y, x + radius, y), fill=group.colour, width=3)
        draw.line((x, y - radius, x, y + radius), fill=group.colour, width=3)
    else:
        corners, turn, relative = _CORNERS[group.shape]
        angles = [2 * pi * each / corners + turn - pi / 2 for each in range(corners)]
        far = radius * relative
        draw.polygon([(x + far * cos(at), y + far * sin(at)) for at in angles], fill=group.colour)


def _round_step(degrees: float) -> float:
    """Round a distance between grid lines down to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(degrees))
    return max(factor for factor in (1, 2, 5) if factor * power <= degrees) * power
