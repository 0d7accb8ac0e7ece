"""Give a GeoPackage spatial indexes, a place for styles, and the list of contents that OGC demands.

Tables without a geometry leave `gpkg_contents`: it may list only those whose primary key is one
INTEGER (OGC 12-128r18, requirement 119). GDAL and QGIS list them all the same, so the column of
Alembic's own table gets a type that GDAL knows. PostgreSQL has its indexes since the first
migration.
"""

from alembic import op

from ingestion_pipeline.staging import geopackage_styles
from ingestion_pipeline.staging.geopackage_index import create_spatial_index, drop_spatial_index

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LAYERS = ("poi_ingestion_staging", "helper_place", "poi")

TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'gpkg_%' "
    "AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'alembic_%' "
    "AND name NOT IN (SELECT table_name FROM gpkg_contents)"
)


def upgrade() -> None:
    """Index the layers, make the table of styles, and correct the list of contents."""
    if op.get_context().dialect.name != "sqlite":
        return
    for layer in LAYERS:
        create_spatial_index(op.get_bind(), layer)
    op.execute(geopackage_styles.TABLE)
    op.execute("DELETE FROM gpkg_contents WHERE data_type = 'attributes'")
    op.execute("ALTER TABLE alembic_version RENAME TO alembic_before")
    op.execute(
        "CREATE TABLE alembic_version (version_num TEXT NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    op.execute("INSERT INTO alembic_version SELECT version_num FROM alembic_before")
    op.drop_table("alembic_before")


def downgrade() -> None:
    """Restore the list of contents, and drop the indexes and styles."""
    if op.get_context().dialect.name != "sqlite":
        return
    op.drop_table("layer_styles")
    for layer in LAYERS:
        drop_spatial_index(op.get_bind(), layer)
    op.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier) "  # noqa: S608 - ours
        f"SELECT name, 'attributes', name FROM ({TABLES})"
    )
