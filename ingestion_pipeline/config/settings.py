"""The settings: every environment variable of the project, read and validated once.

Belongs here: names, defaults and accepted values. Does not belong here: anything per city
(`cities.toml`). No other module reads the environment. The table in docs/operations.md documents
each variable; a test compares the two.
"""

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingestion_pipeline.config.sources import SourceKind
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.identity import SLUG
from ingestion_pipeline.core.locations import http_parts


class SettingsError(IngestionError):
    """One or more environment variables have values that are not accepted."""

    code = "bad_settings"


FIRST_PARTITION = date(2026, 1, 1)
"""The first day with a partition if PARTITIONS_START is not set: the shipped cities then have
thousands of partitions, not tens of thousands. It is fixed: with a start that moves, partitions of
staged days would disappear from Dagster one by one. A release must not move it forward either."""

EMBEDDED_DATABASE = "staging.gpkg"

BEATS_PER_LEASE = 3
"""The least number of beats in a lease, so that one that fails can be made up for."""


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(
            "'~' cannot be resolved to a home folder; give an absolute path"
        ) from error


def _absolute_or_url(place: str) -> str:
    # Dagster's processes start in different folders, where a relative path names different places.
    if "://" not in place:
        return str(_absolute(Path(place)))
    scheme, _, rest = place.partition("://")
    if scheme in ("s3", "s3a") and "@" in rest:
        raise ValueError(
            "a URL of S3 has no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return place


def _http_url(value: str) -> str:
    http_parts(value)
    return value


def _public_http_url(value: str) -> str:
    parts, _ = http_parts(value)
    if "@" in parts.netloc or parts.query:
        raise ValueError("it has a user, a password or a query, which an endpoint has not")
    return value


def _secret_http_url(value: SecretStr) -> SecretStr:
    http_parts(value.get_secret_value())
    return value


_OWNER = r"(team:[A-Za-z0-9_-]+|[^@\s,]+@[^@\s,]+\.[^@\s,]+)"

HttpUrl = Annotated[str, AfterValidator(_http_url)]
PublicHttpUrl = Annotated[str, AfterValidator(_public_http_url)]
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
    aws_access_key_id: SecretStr | None = Field(
        None,
        description="The access key of a lake at `s3://`. Unset: as AWS's tools find it (profile, "
        "web identity, role of the machine). A secret.",
    )
    aws_secret_access_key: SecretStr | None = Field(None, description="Its secret. A secret.")
    aws_session_token: SecretStr | None = Field(
        None, description="The session token, for temporary credentials. A secret."
    )
    aws_endpoint_url: PublicHttpUrl | None = Field(
        None, description="The URL of an S3-compatible store. Unset: AWS."
    )
    lake_cache_mb: int = Field(
        4096,
        ge=0,
        description="The largest total size, in MB, of the copies of extracts that this machine "
        "keeps in STATE_DIR of a lake that is no folder; 0 keeps none.",
    )
    cities_file: AbsolutePath | None = Field(
        None, description="Your own `cities.toml`, instead of the shipped one."
    )
    city_group: str | None = Field(
        None,
        pattern=SLUG.pattern,
        description="The group of cities (key `group`) that this Dagster stages, where several "
        "share a database. Unset: all cities.",
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
    overpass_daily_requests: int = Field(
        10_000,
        ge=0,
        description="How many requests all workers together may send to an Overpass server on one "
        "UTC day; 0 for no limit. The default is what the operators of the public servers ask for. "
        "Your own server needs none.",
    )
    overpass_daily_bytes: int = Field(
        1_000_000_000,
        ge=0,
        description="How many bytes they may receive from it, as they come over the network "
        "(compressed); 0 for no limit. Looked at before a request, so the last answer may exceed "
        "it. The default is that of the public servers.",
    )
    extract_daily_requests: int = Field(
        0,
        ge=0,
        description="How many extracts all workers together may download from a host on one UTC "
        "day; 0 for no limit.",
    )
    extract_daily_bytes: int = Field(
        0,
        ge=0,
        description="How many bytes of extracts they may download from it; 0 for no limit. Looked "
        "at before a download.",
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
    partitions_days: int = Field(
        0,
        ge=0,
        description="How many days before today partitions begin, at the latest on the first of "
        "that month; 0: they begin at PARTITIONS_START. For fleets: 1,000 cities reach 100,000 "
        "partitions in 100 days. It is counted when a process starts. Earlier days can still be "
        "run, as jobs.",
    )
    state_dir: AbsolutePath = Field(
        Path("~/.local/state/ingestion_pipeline"),
        description="The local folder of locks, and of local copies (LAKE_CACHE_MB). All processes "
        "of the machine must share it. With a GeoPackage the locks limit requests to one at a time "
        "per Overpass server (with PostgreSQL, leases in the database do), and always passes over "
        "a shared extract.",
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
    heartbeat_seconds: int = Field(
        15,
        ge=1,
        le=300,
        description="How often a run renews its lease in PostgreSQL.",
    )
    lease_seconds: int = Field(
        90,
        ge=3,
        le=3600,
        description="How long after its last heartbeat a run counts as dead, and stops itself; at "
        "least 3 times HEARTBEAT_SECONDS.",
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

    @model_validator(mode="after")
    def _leave_time_for_beats(self) -> Self:
        least = BEATS_PER_LEASE * self.heartbeat_seconds
        if self.lease_seconds < least:
            raise ValueError(
                f"LEASE_SECONDS must be at least {BEATS_PER_LEASE} times HEARTBEAT_SECONDS, which "
                f"is {least}"
            )
        return self

    @field_validator("feed_secret", mode="before")
    @classmethod
    def _without_files(cls, value: object) -> object:
        """Leave out the names of files: `load_settings` has read them."""
        if not isinstance(value, Mapping):
            return value
        return {name: each for name, each in value.items() if not name.lower().endswith("_file")}

    @property
    def first_partition(self) -> date:
        """The first day with a partition in Dagster.

        A day that can be run and has none is not listed in Dagster's UI, and cannot be part of a
        backfill. Its rows, its job in the ledger and its events in Dagster are like others.
        """
        is_set = "partitions_start" in self.model_fields_set
        begin = self.partitions_start if is_set else FIRST_PARTITION
        if not self.partitions_days:
            return begin
        return max(begin, rolling_start(_first_today(), self.partitions_days))

    def with_partition_of(self, day: date) -> Self:
        """Return settings by which a day has a partition, for a process that runs this day only."""
        begin = min(day, self.first_partition)
        return self.model_copy(update={"partitions_start": begin, "partitions_days": 0})

    def with_partitions_of_all_days(self) -> Self:
        """Return settings by which each day that can be run has a partition."""
        return self.with_partition_of(self.partitions_start)

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


def rolling_start(today: date, days: int) -> date:
    """Return the first of the month that a number of days before today is in.

    Dagster reads all events of an asset again when its partitions begin at another day, so the
    start moves once a month.
    """
    return (today - timedelta(days=days)).replace(day=1)


@cache
def _first_today() -> date:
    """Return the day on which this process, or the one that it was forked from, first asked.

    The definitions of a process are built once, and everything else in it must agree with them.
    """
    return datetime.now(UTC).date()


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
    files = {f"{name}{FILE}" for name in changed}
    return {name: value for name, value in os.environ.items() if name not in files} | changed


FILE = "_FILE"
"""The end of a variable that names a file with the value of a secret."""

_FEED_SECRET = "FEED_SECRET__"  # noqa: S105 - the beginning of a name

SECRETS = frozenset(
    name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field)
) - {"FEED_SECRET"}
"""The variables whose values are secrets; those of FEED_SECRET have names of their own."""


def load_settings() -> Settings:
    """Read the settings from the environment, and secrets also from the files that it names.

    Raises:
        SettingsError: One or more values are not accepted, or files cannot be read. The message
            names the variables, and shows no value.
    """
    secrets, mistakes = _secrets_in_files()
    try:
        settings = Settings(**secrets)
    except ValidationError as error:
        mistakes += [
            ": ".join(
                [
                    *(part for part in [".".join(map(str, detail["loc"])).upper()] if part),
                    detail["msg"].removeprefix("Value error, "),
                ]
            )
            for detail in error.errors(include_input=False, include_url=False)
        ]
    if mistakes:
        raise SettingsError(
            f"environment variables are not accepted: {'; '.join(mistakes)}; the settings are "
            "listed in the manual, /manual/operations/#settings"
        ) from None
    return settings


def _secrets_in_files() -> tuple[dict[str, Any], list[str]]:
    """Return the secrets that are in files, by field, and what is wrong with the files."""
    secrets: dict[str, Any] = {}
    mistakes = []
    for variable, path in sorted(os.environ.items()):
        name = variable.upper().removesuffix(FILE)
        is_of_feed = name.startswith(_FEED_SECRET) and name != _FEED_SECRET
        if not path or not variable.upper().endswith(FILE) or not (is_of_feed or name in SECRETS):
            continue
        if os.environ.get(name):
            mistakes.append(f"{name} and {name}{FILE} are both set: unset one of them")
            continue
        try:
            content = _secret_in(Path(path))
        except ValueError as error:
            mistakes.append(f"{name}{FILE}: {error}")
            continue
        if is_of_feed:
            feeds = secrets.setdefault("feed_secret", {})
            feeds[name.removeprefix(_FEED_SECRET).lower()] = content
        else:
            secrets[name.lower()] = content
    return secrets, mistakes


def _secret_in(path: Path) -> str:
    """Return the text of a file, without the end of its line.

    Raises:
        ValueError: It cannot be read, or is empty.
    """
    try:
        content = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(
            f"{path} cannot be read ({reason}); mount the secret there, or correct the path"
        ) from None
    if not content:
        raise ValueError(f"{path} is empty; write the secret into it")
    return content
