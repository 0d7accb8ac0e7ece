"""The settings: every environment variable of the project, read and validated once.

Belongs here: names, defaults and accepted values. Does not belong here: anything per city
(`cities.toml`). No other module reads the environment. The table in docs/operations.md documents
each variable; a test compares the two.
"""

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingestion_pipeline.config.sources import SourceKind
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.locations import http_parts


class SettingsError(IngestionError):
    """One or more environment variables have values that are not accepted."""

    code = "bad_settings"


FIRST_PARTITION = date(2026, 1, 1)
"""The first day with a partition if PARTITIONS_START is not set: the shipped cities then have
thousands of partitions, not tens of thousands. It is fixed: with a start that moves, partitions of
staged days would disappear from Dagster one by one. A release must not move it forward either."""

EMBEDDED_DATABASE = "staging.gpkg"


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(
            "'~' cannot be resolved to a home folder; give an absolute path"
        ) from error


def _absolute_or_url(place: str) -> str:
    # Dagster's processes start in different folders, where a relative path names different places.
    return place if "://" in place else str(_absolute(Path(place)))


def _http_url(value: str) -> str:
    http_parts(value)
    return value


def _secret_http_url(value: SecretStr) -> SecretStr:
    http_parts(value.get_secret_value())
    return value


_OWNER = r"(team:[A-Za-z0-9_-]+|[^@\s,]+@[^@\s,]+\.[^@\s,]+)"

HttpUrl = Annotated[str, AfterValidator(_http_url)]
SecretHttpUrl = Annotated[SecretStr, AfterValidator(_secret_http_url)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
AbsolutePathOrUrl = Annotated[str, AfterValidator(_absolute_or_url)]


class Settings(BaseSettings):
    """The settings. Each field is read from the environment variable with its upper-case name."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, env_nested_delimiter="__"
    )

    database_url: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host/database` (PostGIS) or "
        "`sqlite:////path/to/file.gpkg`. Unset: the embedded GeoPackage `staging.gpkg` in "
        "DATA_DIR. A secret.",
    )
    data_dir: AbsolutePathOrUrl = Field(
        "data",
        description="The lake, with raw snapshots and GeoParquet: a folder or any fsspec URL.",
        validate_default=True,
    )
    cities_file: AbsolutePath | None = Field(
        None, description="Your own `cities.toml`, instead of the shipped one."
    )
    osm_source: SourceKind = Field(
        "overpass", description="`overpass` or `extract`, for cities without `osm_source`."
    )
    overpass_url: SecretHttpUrl | None = Field(
        None,
        description="The URL of the Overpass API's `interpreter`. There is no default: without it, "
        "a city that needs it fails. A secret, because it may contain credentials.",
    )
    overpass_contact: str | None = Field(
        None,
        pattern=r"^[ -~]+$",  # it goes into an HTTP header
        description="An e-mail address or URL for the User-Agent, so that the server's operator "
        "can contact you. Public servers require it.",
    )
    osm_extract: str | None = Field(
        None,
        description="The path or URL of `.osm.pbf` files, with `{region}` and `{day}`, for cities "
        "without `osm_extract`.",
    )
    feed_secret: Mapping[str, SecretStr] | None = Field(
        None,
        description="Secret headers of feeds, each in a variable of its own: "
        "`FEED_SECRET__TRANSIT` has the value of the secret `transit`. Secrets.",
    )
    partitions_start: date = Field(
        date(2019, 4, 21),
        description="The first day (UTC) that can be run, and that has a partition in Dagster. "
        "Unset: days since 2019-04-21, the day of the oldest sample, can be run by command and by "
        "the admin API, and partitions begin at 2026-01-01. Set it to the first day that you need: "
        "with more than about 100,000 partitions (cities x days) Dagster becomes slow.",
    )
    state_dir: AbsolutePath = Field(
        Path("~/.local/state/ingestion_pipeline"),
        description="The local folder of the locks that limit requests to one at a time per "
        "upstream server. All processes of the machine must share it.",
        validate_default=True,
    )
    dagster_home: AbsolutePath = Field(
        Path(".dagster_home"),
        description="Dagster's folder, with `dagster.yaml`, its runs and its events.",
        validate_default=True,
    )

    admin_api_token: SecretStr | None = Field(
        None,
        description="The token of the admin API, sent as X-Admin-Token; several, separated by "
        "commas, during a rotation. Unset: the API is closed. A secret.",
    )
    callback_signing_keys: SecretStr | None = Field(
        None,
        description="The keys with which a queue signs its deliveries to the callback, separated "
        "by commas: the current key, and during a rotation the next one. Unset: the callback is "
        "closed. A secret.",
    )
    callback_url: HttpUrl | None = Field(
        None,
        description="The URL of the callback as the queue calls it, which the signature must name. "
        "Unset: the URL of the request, which is right if no proxy changes it.",
    )
    reader_database_url: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host/database` with a role that may read the "
        "views only, for the reading API. Unset: that API is closed. A secret.",
    )
    read_api_token: SecretStr | None = Field(
        None,
        description="The token of the reading API; several, separated by commas, during a "
        "rotation. Unset: that API is closed, unless READ_API_ACCESS is `public`. A secret.",
    )
    read_api_access: Literal["token", "public"] = Field(
        "token", description="Whether readers need the token, or everybody may read."
    )
    start_deadline_minutes: int = Field(
        360,
        ge=1,
        description="How long a job may wait for a Dagster run, or in a queue that starts nothing, "
        "before it is FAILED.",
    )
    schedules: Literal["on", "off"] = Field(
        "off",
        description="Whether the daily schedules are on by default. The UI can switch each one.",
    )
    asset_owners: str = Field(
        "team:data",
        pattern=rf"^{_OWNER}(,{_OWNER})*$",
        description="The owners of all assets in Dagster: `team:<name>` or an e-mail address; "
        "several, separated by commas.",
    )
    dagster_url: HttpUrl = Field(
        "http://127.0.0.1:3000",
        description="The URL of Dagster's webserver, to which `poi-ingest backfill` submits.",
    )
    basemap_style_url: HttpUrl | None = Field(
        None,
        description="The URL of a MapLibre style, as the background of maps and of the review "
        "page. It is written into the files of maps, with any key in it. Unset: maps have a plain "
        "background and request nothing.",
    )

    @property
    def first_partition(self) -> date:
        """The first day with a partition in Dagster.

        A day that can be run and has none is not listed in Dagster's UI, and cannot be part of a
        backfill. Its rows, its job in the ledger and its events in Dagster are like others.
        """
        is_set = "partitions_start" in self.model_fields_set
        return self.partitions_start if is_set else FIRST_PARTITION

    def with_partition_of(self, day: date) -> Self:
        """Return settings by which a day has a partition, for a process that runs this day only."""
        return self.model_copy(update={"partitions_start": min(day, self.first_partition)})

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners of all assets."""
        return tuple(self.asset_owners.split(","))

    @property
    def database(self) -> str:
        """The URL of the database: DATABASE_URL, or the URL of the embedded GeoPackage.

        Raises:
            SettingsError: The lake is not a local folder, so it cannot contain the GeoPackage.
        """
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if "://" in self.data_dir:
            raise SettingsError(
                "DATABASE_URL is not set, and DATA_DIR is not a local folder, so it cannot contain "
                "the embedded GeoPackage; set DATABASE_URL"
            )
        return f"sqlite:///{self.data_dir}/{EMBEDDED_DATABASE}"


def environment_with(settings: Settings, **changed: str) -> dict[str, str]:
    """Return the environment for a child process, with settings that do not depend on its folder.

    Args:
        settings: The settings of this process.
        changed: Other values of settings, by field.
    """
    given = {"dagster_home": str(settings.dagster_home), "data_dir": settings.data_dir} | changed
    return environment(**{name.upper(): value for name, value in given.items()})


def set_in_environment(name: str, value: str) -> None:
    """Set an environment variable of this process, before it reads its settings."""
    os.environ[name] = value


def environment(**changed: str) -> dict[str, str]:
    """Return the environment for a child process: that of this process, with changed variables."""
    return os.environ | changed


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: One or more values are not accepted. The message names the variables, and
            shows no value.
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
