"""Every environment variable that the project reads, validated once.

Belongs here: names, defaults, accepted values. Does not belong here: anything per city
(`cities.toml`). No other module reads the environment. The table in docs/operations.md documents
each one; a test compares the two.
"""

import os
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingestion_pipeline.config.cities import OsmSource
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.locations import http_parts


class SettingsError(IngestionError):
    """Environment variables that are not what is accepted."""

    code = "bad_settings"


EMBEDDED_DATABASE = "staging.gpkg"


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError("there is no home folder for '~' here; give an absolute path") from error


def _absolute_or_url(place: str) -> str:
    # Dagster's processes start in folders of their own; a relative path would name many places.
    return place if "://" in place else str(_absolute(Path(place)))


def _http_url(value: str) -> str:
    http_parts(value)
    return value


def _secret_http_url(value: SecretStr) -> SecretStr:
    http_parts(value.get_secret_value())
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
SecretHttpUrl = Annotated[SecretStr, AfterValidator(_secret_http_url)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
AbsolutePathOrUrl = Annotated[str, AfterValidator(_absolute_or_url)]


class Settings(BaseSettings):
    """The settings; each field is the environment variable of its upper-case name."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host/database` (PostGIS) or "
        "`sqlite:////path/to/file.gpkg`. Unset: the embedded GeoPackage `staging.gpkg` in "
        "DATA_DIR. A secret.",
    )
    data_dir: AbsolutePathOrUrl = Field(
        "data",
        description="The lake: raw snapshots and GeoParquet. A folder or any fsspec URL.",
        validate_default=True,
    )
    cities_file: AbsolutePath | None = Field(
        None, description="A `cities.toml` of your own, instead of the one that is shipped."
    )
    osm_source: OsmSource = Field(
        "overpass", description="`overpass` or `extract`: for cities that do not say."
    )
    overpass_url: SecretHttpUrl | None = Field(
        None,
        description="The Overpass API's `interpreter` URL. There is no silent default: a city "
        "that needs it fails and says so. May hold credentials, so it is a secret.",
    )
    overpass_contact: str | None = Field(
        None,
        pattern=r"^[ -~]+$",  # it goes into an HTTP header
        description="An e-mail address or URL for the User-Agent, so that the server's operator "
        "can reach you. Asked for by public servers.",
    )
    osm_extract: str | None = Field(
        None,
        description="Path or URL template of `.osm.pbf` files with `{region}` and `{day}`, for "
        "cities that do not name their own.",
    )
    partitions_start: date = Field(
        date(2019, 4, 21),
        description="The first day (UTC) that has a partition; by default that of the sample. Set "
        "it to the first day that you need: Dagster slows down past about 100,000 partitions, "
        "cities x days.",
    )
    state_dir: AbsolutePath = Field(
        Path("~/.local/state/ingestion_pipeline"),
        description="Local folder for the locks that keep one request at a time per upstream "
        "server, shared by every process of the machine.",
        validate_default=True,
    )
    dagster_home: AbsolutePath = Field(
        Path(".dagster_home"),
        description="Dagster's own folder, with `dagster.yaml`: its runs and events.",
        validate_default=True,
    )

    admin_api_token: SecretStr | None = Field(
        None,
        description="What callers of the admin API send as X-Admin-Token; several, separated by "
        "commas, while it is rotated. Unset: the API is closed. A secret.",
    )
    callback_signing_keys: SecretStr | None = Field(
        None,
        description="The keys with which a queue signs its deliveries to the callback, separated "
        "by commas: the current one, and the next while they are rotated. Unset: it is closed. A "
        "secret.",
    )
    callback_url: HttpUrl | None = Field(
        None,
        description="The callback's URL as the queue calls it, which its signature must name. "
        "Unset: the URL of the request is compared, which is right where no proxy changes it.",
    )
    start_deadline_minutes: int = Field(
        360,
        ge=1,
        description="How long a job may wait for Dagster to make a run of it, or in a queue in "
        "which nothing begins; then it is FAILED.",
    )
    schedules: Literal["on", "off"] = Field(
        "off",
        description="Whether the daily schedules run from the start; in the UI each can be "
        "switched by itself.",
    )
    dagster_url: HttpUrl = Field(
        "http://127.0.0.1:3000",
        description="Dagster's webserver, through which `poi-ingest backfill` submits.",
    )

    @property
    def database(self) -> str:
        """The database's URL: the one that is set, or that of the embedded GeoPackage.

        Raises:
            SettingsError: The lake is not a local folder, so it cannot hold the GeoPackage.
        """
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if "://" in self.data_dir:
            raise SettingsError(
                "DATABASE_URL is not set, and the embedded GeoPackage needs a local folder, which "
                "DATA_DIR is not; set DATABASE_URL"
            )
        return f"sqlite:///{self.data_dir}/{EMBEDDED_DATABASE}"


def environment_with(settings: Settings, **changed: str) -> dict[str, str]:
    """Give the environment for a process of ours: this one's, with some settings made explicit.

    Args:
        settings: Where defaults come from that depend on the folder of this process.
        changed: Settings that are to be others, by field.
    """
    said = {"dagster_home": str(settings.dagster_home), "data_dir": settings.data_dir} | changed
    return environment(**{name.upper(): value for name, value in said.items()})


def environment(**changed: str) -> dict[str, str]:
    """Give the environment for a process of ours: this one's, with some variables set anew."""
    return os.environ | changed


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        SettingsError: One or more variables are not accepted; all are named, no value is shown.
    """
    try:
        return Settings()
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(str(part) for part in detail['loc']).upper()}: "
            + detail["msg"].removeprefix("Value error, ")
            for detail in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(
            f"environment variables are not accepted: {mistakes}; the settings are listed in "
            "the manual, /manual/operations/#settings"
        ) from None
