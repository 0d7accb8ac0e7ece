"""The stored default styles of a GeoPackage's layers: the table `layer_styles`, which QGIS reads.

A layer has points, lines and areas. QGIS opens each kind as a layer of its own, and gives all of
them the style of the table. So a style has rules for each kind of geometry, and below them rules
for each group of the dataset's legend (`core/legend.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from ingestion_pipeline.staging.tables import CLASS_COLUMNS, LEGENDS, layers_of

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ingestion_pipeline.core.legend import Group, Legend

NAME = "by category"
"""The name of our styles. Others, which users save, are left alone."""

OWNER = "ingestion_pipeline"

TABLE = """
    CREATE TABLE layer_styles (
      id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
      f_table_catalog TEXT(256),
      f_table_schema TEXT(256),
      f_table_name TEXT(256),
      f_geometry_column TEXT(256),
      styleName TEXT(30),
      styleQML TEXT,
      styleSLD TEXT,
      useAsDefault BOOLEAN,
      description TEXT,
      owner TEXT(30),
      ui TEXT(30),
      update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
    )
"""
"""The table as QGIS creates it."""

_INSERT = """
    INSERT INTO layer_styles (
      f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,
      styleSLD, useAsDefault, description, owner
    )
    SELECT '', '', :layer, 'geometry', :name, :style, '', NOT EXISTS (
      SELECT 1 FROM layer_styles WHERE f_table_name = :layer AND useAsDefault
    ), :name, :owner
"""
"""It is the default unless there is one."""

_SHAPES = {"cross": "cross_fill"}
"""QGIS's names of shapes, where they differ from ours."""

_KINDS = {
    "Point": ("marker", "area($geometry) IS NULL AND length($geometry) IS NULL"),
    "Line": ("line", "length($geometry) IS NOT NULL"),
    "Polygon": ("fill", "area($geometry) IS NOT NULL"),
}
"""Of each kind of geometry: its symbol, and the expression that is true for it. In QGIS, what has
no area or length has null; its function `geometry_type` is not in all releases."""


def write(connection: sa.Connection) -> None:
    """Write the style of every layer; the default unless a user has chosen another one."""
    connection.exec_driver_sql("DELETE FROM layer_styles WHERE owner = ?", (OWNER,))
    for dataset, legend in LEGENDS.items():
        style = style_of(CLASS_COLUMNS[dataset], legend)
        for layer in layers_of(dataset):
            values = {"layer": layer, "name": NAME, "style": style, "owner": OWNER}
            connection.exec_driver_sql(_INSERT, values)


def style_of(class_column: str, legend: Legend) -> str:
    """Return a style in QGIS's format QML.

    Args:
        class_column: The column with the class.
        legend: The groups of classes.
    """
    root = ET.Element("qgis", {"version": "3.22.0", "styleCategories": "Symbology"})
    renderer = ET.SubElement(root, "renderer-v2", {"type": "RuleRenderer", "enableorderby": "0"})
    rules = ET.SubElement(renderer, "rules", {"key": "root"})
    symbols = ET.SubElement(renderer, "symbols")
    for kind, (symbol_type, is_kind) in _KINDS.items():
        of_kind = ET.SubElement(
            rules, "rule", {"key": kind, "label": f"{kind}s", "filter": is_kind}
        )
        for group in legend.all:
            number = str(len(symbols))
            condition = "ELSE" if group == legend.other else _condition(class_column, group, legend)
            ET.SubElement(
                of_kind,
                "rule",
                {
                    "key": f"{kind}-{group.key}",
                    "label": group.label,
                    "filter": condition,
                    "symbol": number,
                },
            )
            _add_symbol(symbols, number, symbol_type, group)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(
        root, encoding="unicode"
    )


def _condition(class_column: str, group: Group, legend: Legend) -> str:
    """Return the expression for a group: its classes, without those of other groups below them."""
    below = [
        each
        for other in legend.groups
        if other != group
        for each in other.classes
        if any(each.startswith(f"{own}/") for own in group.classes)
    ]
    own = _any_of(class_column, group.classes)
    return f"({own}) AND NOT ({_any_of(class_column, below)})" if below else own


def _any_of(class_column: str, classes: tuple[str, ...] | list[str]) -> str:
    listed = ", ".join(f"'{each}'" for each in classes)
    deeper = (f"\"{class_column}\" LIKE '{each}/%'" for each in classes)
    return " OR ".join([f'"{class_column}" IN ({listed})', *deeper])


def _add_symbol(symbols: ET.Element, number: str, symbol_type: str, group: Group) -> None:
    symbol = ET.SubElement(
        symbols,
        "symbol",
        {"name": number, "type": symbol_type, "alpha": "1", "clip_to_extent": "1"},
    )
    colour = ",".join(str(int(group.colour[at : at + 2], 16)) for at in (1, 3, 5)) + ",255"
    layer_class, properties = {
        "marker": (
            "SimpleMarker",
            {
                "name": _SHAPES.get(group.shape, group.shape),
                "color": colour,
                "outline_color": "255,255,255,255",
                "outline_width": "0.3",
                "size": "3.2",
                "size_unit": "MM",
            },
        ),
        "line": ("SimpleLine", {"line_color": colour, "line_width": "0.8"}),
        "fill": (
            "SimpleFill",
            {
                "color": colour.removesuffix("255") + "110",
                "outline_color": colour,
                "outline_width": "0.4",
                "style": "solid",
            },
        ),
    }[symbol_type]
    layer = ET.SubElement(symbol, "layer", {"class": layer_class, "enabled": "1", "locked": "0"})
    for key, value in properties.items():
        ET.SubElement(layer, "prop", {"k": key, "v": value})
