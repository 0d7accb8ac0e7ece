"""Create the staging tables: versions of POIs, staged days, rejections, and the ledger of runs.

Also turn an SQLite file into a GeoPackage: its three metadata tables (OGC 12-128r18, clauses 1.1.2,
1.1.3 and 2.1.5), and the entries by which QGIS and GDAL find the tables.
"""

import sqlalchemy as sa
from alembic import op

from ingestion_pipeline.staging.geometry import Geometry
from ingestion_pipeline.staging.types import BIG_INTEGER, REAL, Json, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ACTIVE = sa.text("status IN ('PENDING', 'RUNNING')")

GEOPACKAGE_VERSION = 10300
GEOPACKAGE_APPLICATION_ID = 0x47504B47
WGS84_WKT = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,'
    'AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],'
    'AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)
ATTRIBUTE_TABLES = ("staged_partition", "ingestion_rejection", "ingestion_run")


def upgrade() -> None:
    """Create everything."""
    embedded = op.get_context().dialect.name == "sqlite"
    if embedded:
        create_geopackage()
    op.create_table(
        "poi_ingestion_staging",
        sa.Column("id", BIG_INTEGER, primary_key=True, autoincrement=True),
        sa.Column("city_slug", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_ref", sa.Text, nullable=False),
        sa.Column("valid_from", sa.Date, nullable=False),
        sa.Column("valid_to", sa.Date),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("source_hash", sa.Text, nullable=False),
        sa.Column("osm_type", sa.Text, nullable=False),
        sa.Column("osm_id", BIG_INTEGER, nullable=False),
        sa.Column("osm_version", sa.Integer),
        sa.Column("osm_timestamp", UtcDateTime),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("categories", Json, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("names", Json, nullable=False),
        sa.Column("tags", Json, nullable=False),
        sa.Column("geometry", Geometry, nullable=False),
        sa.Column("lon", REAL, nullable=False),
        sa.Column("lat", REAL, nullable=False),
        sa.Column("point_source", sa.Text, nullable=False),
        sa.Column("geom_quality", sa.Text, nullable=False),
        sa.Column("area_m2", REAL),
        sa.Column("address", Json, nullable=False),
        sa.Column("contact", Json, nullable=False),
        sa.Column("opening_hours", sa.Text),
        sa.Column("wikidata", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("licence", sa.Text, nullable=False),
        sa.Column("attribution", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_poi_ingestion_staging"),
        sa.UniqueConstraint(
            "city_slug",
            "source",
            "source_ref",
            "valid_from",
            name="uq_poi_ingestion_staging_city_slug_source_source_ref_valid_from",
        ),
        sa.CheckConstraint(
            "valid_to IS NULL OR valid_to > valid_from",
            name=op.f("ck_poi_ingestion_staging_validity"),
        ),
        sqlite_autoincrement=True,
    )
    for bound in ("valid_from", "valid_to"):
        op.create_index(
            f"ix_poi_ingestion_staging_city_slug_source_{bound}",
            "poi_ingestion_staging",
            ["city_slug", "source", bound],
        )
    if not embedded:
        op.create_index(
            "ix_poi_ingestion_staging_geometry",
            "poi_ingestion_staging",
            ["geometry"],
            postgresql_using="gist",
        )
    op.create_table(
        "staged_partition",
        sa.Column("city_slug", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("boundary_ref", sa.Text, nullable=False),
        sa.Column("as_of", UtcDateTime, nullable=False),
        sa.Column("as_of_source", sa.Text, nullable=False),
        sa.Column("obtained", sa.Text, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("rules_version", sa.Text, nullable=False),
        sa.Column("licence", sa.Text, nullable=False),
        sa.Column("attribution", sa.Text, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("added", sa.Integer, nullable=False),
        sa.Column("changed", sa.Integer, nullable=False),
        sa.Column("removed", sa.Integer, nullable=False),
        sa.Column("rejected", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("staged_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint(
            "city_slug", "dataset", "source", "day", name="pk_staged_partition"
        ),
    )
    op.create_table(
        "ingestion_rejection",
        sa.Column("city_slug", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("source_ref", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("raw", Json, nullable=False),
        sa.PrimaryKeyConstraint(
            "city_slug", "dataset", "source", "day", "source_ref", name="pk_ingestion_rejection"
        ),
    )
    op.create_table(
        "ingestion_run",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("job_type", sa.Text, nullable=False),
        sa.Column("city_slug", sa.Text, nullable=False),
        sa.Column("boundary_ref", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("dagster_run_id", sa.Text),
        sa.Column("worker", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("as_of", UtcDateTime),
        sa.Column("counts", Json),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("requested_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_ingestion_run"),
        sa.CheckConstraint(
            "status IN ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELED')",
            name=op.f("ck_ingestion_run_status"),
        ),
    )
    op.create_index(
        "uq_ingestion_run_active_key",
        "ingestion_run",
        ["idempotency_key"],
        unique=True,
        postgresql_where=ACTIVE,
        sqlite_where=ACTIVE,
    )
    op.create_index("ix_ingestion_run_city_slug_day", "ingestion_run", ["city_slug", "day"])
    op.create_index("ix_ingestion_run_dagster_run_id", "ingestion_run", ["dagster_run_id"])
    if embedded:
        register_in_geopackage()


def create_geopackage() -> None:
    """Make the SQLite file a GeoPackage."""
    op.execute(f"PRAGMA application_id = {GEOPACKAGE_APPLICATION_ID}")
    op.execute(f"PRAGMA user_version = {GEOPACKAGE_VERSION}")
    op.execute(
        """
        CREATE TABLE gpkg_spatial_ref_sys (
          srs_name TEXT NOT NULL,
          srs_id INTEGER NOT NULL PRIMARY KEY,
          organization TEXT NOT NULL,
          organization_coordsys_id INTEGER NOT NULL,
          definition TEXT NOT NULL,
          description TEXT
        )
        """
    )
    rows = sa.table(
        "gpkg_spatial_ref_sys",
        sa.column("srs_name", sa.Text),
        sa.column("srs_id", sa.Integer),
        sa.column("organization", sa.Text),
        sa.column("organization_coordsys_id", sa.Integer),
        sa.column("definition", sa.Text),
        sa.column("description", sa.Text),
    )
    op.bulk_insert(
        rows,
        [
            {
                "srs_name": name,
                "srs_id": srs_id,
                "organization": organization,
                "organization_coordsys_id": srs_id,
                "definition": definition,
                "description": description,
            }
            for name, srs_id, organization, definition, description in (
                ("Undefined Cartesian SRS", -1, "NONE", "undefined", "any Cartesian system"),
                ("Undefined geographic SRS", 0, "NONE", "undefined", "any geographic system"),
                ("WGS 84 geodetic", 4326, "EPSG", WGS84_WKT, "longitude and latitude in degrees"),
            )
        ],
    )
    op.execute(
        """
        CREATE TABLE gpkg_contents (
          table_name TEXT NOT NULL PRIMARY KEY,
          data_type TEXT NOT NULL,
          identifier TEXT UNIQUE,
          description TEXT DEFAULT '',
          last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
          min_x DOUBLE,
          min_y DOUBLE,
          max_x DOUBLE,
          max_y DOUBLE,
          srs_id INTEGER,
          CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE gpkg_geometry_columns (
          table_name TEXT NOT NULL,
          column_name TEXT NOT NULL,
          geometry_type_name TEXT NOT NULL,
          srs_id INTEGER NOT NULL,
          z TINYINT NOT NULL,
          m TINYINT NOT NULL,
          CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
          CONSTRAINT uk_gc_table_name UNIQUE (table_name),
          CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
          CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id)
        )
        """
    )


def register_in_geopackage() -> None:
    """Register the tables as layers."""
    op.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id) VALUES "
        "('poi_ingestion_staging', 'features', 'poi_ingestion_staging', "
        "'Versions of points of interest with their validity', 4326)"
    )
    op.execute(
        "INSERT INTO gpkg_geometry_columns VALUES "
        "('poi_ingestion_staging', 'geometry', 'GEOMETRY', 4326, 0, 0)"
    )
    for table in ATTRIBUTE_TABLES:
        op.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) "  # noqa: S608 - ours
            f"VALUES ('{table}', 'attributes', '{table}')"
        )


def downgrade() -> None:
    """Drop everything; a GeoPackage is left as an empty SQLite file."""
    for table in (
        "ingestion_run",
        "ingestion_rejection",
        "staged_partition",
        "poi_ingestion_staging",
    ):
        op.drop_table(table)
    if op.get_context().dialect.name == "sqlite":
        for table in ("gpkg_geometry_columns", "gpkg_contents", "gpkg_spatial_ref_sys"):
            op.drop_table(table)
        op.execute("PRAGMA application_id = 0")
        op.execute("PRAGMA user_version = 0")
