"""Settings: read once, all mistakes at once, and no secret ever shown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from ingestion_pipeline.config.lake import open_lake
from ingestion_pipeline.config.settings import (
    FILE,
    SECRETS,
    Settings,
    SettingsError,
    environment,
    load_settings,
    rolling_start,
)
from ingestion_pipeline.staging.database import create_engine

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _an_empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}{FILE}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_nothing_needs_to_be_set(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.data_dir == f"{tmp_path}/data"
    assert settings.database == f"sqlite:///{tmp_path}/data/staging.gpkg"
    assert settings.state_dir == tmp_path / "home/.local/state/ingestion_pipeline"
    assert settings.osm_source == "overpass"
    assert settings.overpass_url is None
    assert settings.osm_extract is None


def test_the_embedded_database_is_one_that_can_be_opened() -> None:
    assert create_engine(load_settings().database).dialect.name == "sqlite"


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql://user:password@host/database",
        "DATA_DIR": "s3://bucket/prefix",
        "CITIES_FILE": str(tmp_path / "cities.toml"),
        "OSM_SOURCE": "extract",
        "OVERPASS_URL": "https://overpass.example/api/interpreter",
        "OVERPASS_CONTACT": "ops@example.org",
        "OSM_EXTRACT": "/srv/osm/{region}-{day}.osm.pbf",
        "PARTITIONS_START": "2026-03-01",
        "STATE_DIR": "/var/lib/ingestion",
        "DAGSTER_HOME": "/srv/dagster",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.database == "postgresql://user:password@host/database"
    assert settings.data_dir == "s3://bucket/prefix"
    assert settings.cities_file == tmp_path / "cities.toml"
    assert settings.osm_source == "extract"
    assert settings.overpass_url is not None
    assert settings.overpass_url.get_secret_value() == "https://overpass.example/api/interpreter"
    assert settings.overpass_contact == "ops@example.org"
    assert settings.osm_extract == "/srv/osm/{region}-{day}.osm.pbf"
    assert settings.partitions_start == date(2026, 3, 1)
    assert settings.state_dir == Path("/var/lib/ingestion")
    assert settings.dagster_home == Path("/srv/dagster")


def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    assert load_settings() == Settings()


@pytest.mark.parametrize("name", ["DATA_DIR", "CITIES_FILE", "STATE_DIR", "DAGSTER_HOME"])
@pytest.mark.parametrize(("place", "meant"), [("here", "here"), ("~/there", "home/there")])
def test_a_place_is_the_same_from_every_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, place: str, meant: str
) -> None:
    monkeypatch.setenv(name, place)
    assert str(getattr(load_settings(), name.lower())) == str(tmp_path / meant)


def test_all_mistakes_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSM_SOURCE", "carrier pigeon")
    monkeypatch.setenv("OVERPASS_CONTACT", "почта@example.org")
    monkeypatch.setenv("PARTITIONS_START", "last spring")
    monkeypatch.setenv("STATE_DIR", "~nobody-of-this-name/state")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    message = str(refused.value)
    assert "OSM_SOURCE: Input should be 'overpass' or 'extract'" in message
    assert "OVERPASS_CONTACT: String should match pattern" in message
    assert "PARTITIONS_START: Input should be a valid date" in message
    assert "STATE_DIR: " in message
    assert "give an absolute path" in message
    assert "/manual/operations/#settings" in message


@pytest.mark.parametrize("name", ["OVERPASS_URL", "CALLBACK_URL", "DAGSTER_URL"])
@pytest.mark.parametrize(
    "url",
    ["https://.../api/interpreter", "https://a..b/", "overpass.example", "ftp://a/", "http://"],
)
def test_a_url_that_names_no_server_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(SettingsError, match=rf"{name}: it is not of the form http") as refused:
        load_settings()
    assert url not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:8080/api", "https://a.example./x", "http://[::1]/"]
)
def test_the_url_of_a_server_is_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DAGSTER_URL", url)
    assert load_settings().dagster_url == url


def test_no_value_stands_in_the_message_of_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), SECRET)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_no_secret_stands_in_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://user:{SECRET}@host/database")
    monkeypatch.setenv("OVERPASS_URL", f"https://user:{SECRET}@overpass.example/api/interpreter")
    settings = load_settings()
    for text in (repr(settings), str(settings), f"{settings}", settings.model_dump_json()):
        assert SECRET not in text
    assert SECRET not in repr(settings.model_dump())


def test_each_secret_of_feeds_has_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED_SECRET__TRANSIT", "Bearer hush")
    monkeypatch.setenv("FEED_SECRET__CITY_KEY", "hush=7")
    settings = load_settings()
    assert settings.feed_secret is not None
    assert {name: secret.get_secret_value() for name, secret in settings.feed_secret.items()} == {
        "transit": "Bearer hush",
        "city_key": "hush=7",
    }
    assert "hush" not in repr(settings)


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.data_dir = "elsewhere"  # type: ignore[misc]


def test_a_remote_lake_cannot_hold_the_embedded_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "s3://bucket/prefix")
    with pytest.raises(SettingsError, match="set DATABASE_URL"):
        _ = load_settings().database


def test_partitions_begin_later_than_the_days_that_can_be_run_unless_the_start_is_set() -> None:
    unset = Settings()
    assert unset.partitions_start == date(2019, 4, 21)  # of the oldest sample
    assert unset.first_partition == date(2026, 1, 1)
    early = Settings(partitions_start=date(2019, 4, 21))
    assert early.first_partition == date(2019, 4, 21)


def test_a_process_that_runs_one_day_has_a_partition_of_it() -> None:
    unset = Settings()
    assert unset.with_partition_of(date(2024, 6, 1)).first_partition == date(2024, 6, 1)
    assert unset.with_partition_of(date(2026, 6, 1)).first_partition == date(2026, 1, 1)


def test_partitions_of_a_number_of_days_begin_with_a_month_and_not_before_the_start() -> None:
    assert rolling_start(date(2026, 11, 28), 90) == date(2026, 8, 1)
    assert rolling_start(date(2026, 11, 28), 27) == date(2026, 11, 1)
    assert rolling_start(date(2026, 1, 1), 1) == date(2025, 12, 1)
    begin = rolling_start(datetime.now(UTC).date(), 40)
    rolling = Settings(partitions_days=40, partitions_start=date(2019, 4, 21))
    assert rolling.first_partition == begin
    later = begin + timedelta(days=1)
    assert Settings(partitions_days=40, partitions_start=later).first_partition == later


def test_a_process_that_runs_an_earlier_day_has_a_partition_of_it_whatever_their_number() -> None:
    rolling = Settings(partitions_days=40)
    assert rolling.with_partition_of(date(2024, 6, 1)).first_partition == date(2024, 6, 1)
    assert rolling.with_partitions_of_all_days().first_partition == date(2019, 4, 21)


@pytest.mark.parametrize("owners", ["team:places", "team:a,b@c.example", "maps@town.example"])
def test_owners_are_teams_and_addresses(owners: str) -> None:
    assert Settings(asset_owners=owners).owners == tuple(owners.split(","))


@pytest.mark.parametrize("owners", ["places", "team:", "team:a, team:b", "team:a;team:b", "a@b"])
def test_other_owners_are_refused(owners: str) -> None:
    with pytest.raises(ValidationError, match="asset_owners"):
        Settings(asset_owners=owners)


@pytest.mark.parametrize(
    ("beat", "lease", "mistake"),
    [
        ("1", "3", None),
        ("30", "90", None),
        ("31", "90", r"accepted: LEASE_SECONDS must be at least 3 times .* which is 93"),
        ("0", "90", r"HEARTBEAT_SECONDS: .*greater than or equal to 1"),
        ("1", "2", r"LEASE_SECONDS: .*greater than or equal to 3"),
        ("15", "3601", r"LEASE_SECONDS: .*less than or equal to 3600"),
    ],
)
def test_a_lease_leaves_time_for_three_heartbeats(
    monkeypatch: pytest.MonkeyPatch, beat: str, lease: str, mistake: str | None
) -> None:
    monkeypatch.setenv("HEARTBEAT_SECONDS", beat)
    monkeypatch.setenv("LEASE_SECONDS", lease)
    if mistake is None:
        settings = load_settings()
        assert (settings.heartbeat_seconds, settings.lease_seconds) == (int(beat), int(lease))
    else:
        with pytest.raises(SettingsError, match=mistake):
            load_settings()


# Secrets in files

VALUES = {
    name: f"postgresql://user:{SECRET}@host/database" for name in SECRETS if "DATABASE" in name
} | {"OVERPASS_URL": f"https://user:{SECRET}@overpass.example/api/interpreter"}


def value_of(name: str) -> str:
    return VALUES.get(name, SECRET)


def test_the_secrets_are_those_that_the_settings_hide() -> None:
    assert sorted(SECRETS) == [
        "ADMIN_API_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "CALLBACK_SIGNING_KEYS",
        "DATABASE_URL",
        "OVERPASS_URL",
        "READER_DATABASE_URL",
        "READ_API_TOKEN",
    ]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("name", sorted(SECRETS))
def test_every_secret_may_be_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, end: str
) -> None:
    (tmp_path / "secret").write_bytes(f"{value_of(name)}{end}".encode())
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    settings = load_settings()
    assert getattr(settings, name.lower()).get_secret_value() == value_of(name)
    assert SECRET not in repr(settings)


def test_a_secret_of_feeds_may_be_in_a_file_beside_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "transit").write_text("Bearer hush\n")
    monkeypatch.setenv("FEED_SECRET__TRANSIT_FILE", str(tmp_path / "transit"))
    monkeypatch.setenv("FEED_SECRET__CITY_KEY", "hush=7")
    settings = load_settings()
    assert settings.feed_secret is not None
    assert {name: secret.get_secret_value() for name, secret in settings.feed_secret.items()} == {
        "transit": "Bearer hush",
        "city_key": "hush=7",
    }


def test_blanks_within_a_secret_are_part_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(" two words \n")
    monkeypatch.setenv("ADMIN_API_TOKEN_FILE", str(tmp_path / "secret"))
    token = load_settings().admin_api_token
    assert token is not None
    assert token.get_secret_value() == " two words "


@pytest.mark.parametrize("name", [*sorted(SECRETS), "FEED_SECRET__TRANSIT"])
def test_a_secret_that_is_set_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_text(value_of(name))
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv(name, value_of(name))
    with pytest.raises(SettingsError, match=f"{name} and {name}_FILE are both set") as refused:
        load_settings()
    assert SECRET not in str(refused.value)
    monkeypatch.setenv(name, "")  # then it is not set
    assert load_settings() != Settings()


def test_files_that_hold_no_secret_are_named_with_every_other_mistake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("ADMIN_API_TOKEN_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("READ_API_TOKEN_FILE", str(tmp_path / "empty"))
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "binary"))
    monkeypatch.setenv("AWS_SESSION_TOKEN_FILE", str(tmp_path))
    monkeypatch.setenv("OSM_SOURCE", "carrier pigeon")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    message = str(refused.value)
    assert f"ADMIN_API_TOKEN_FILE: {tmp_path}/missing cannot be read (No such file" in message
    assert "mount the secret there, or correct the path" in message
    assert f"READ_API_TOKEN_FILE: {tmp_path}/empty is empty" in message
    assert f"DATABASE_URL_FILE: {tmp_path}/binary cannot be read (it is not UTF-8)" in message
    assert f"AWS_SESSION_TOKEN_FILE: {tmp_path} cannot be read (Is a directory)" in message
    assert "OSM_SOURCE: Input should be" in message


def test_what_is_no_secret_has_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATA_DIR_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("CITIES_FILE", str(tmp_path / "cities.toml"))
    settings = load_settings()
    assert settings.data_dir == f"{tmp_path}/data"
    assert settings.cities_file == tmp_path / "cities.toml"


def test_a_child_process_gets_the_value_that_it_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADMIN_API_TOKEN_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("READ_API_TOKEN_FILE", str(tmp_path / "missing"))
    given = environment(ADMIN_API_TOKEN="new")
    assert given["ADMIN_API_TOKEN"] == "new"
    assert "ADMIN_API_TOKEN_FILE" not in given
    assert "READ_API_TOKEN_FILE" in given


# The lake


@pytest.mark.parametrize("url", ["s3://key:hush@bucket/lake", "s3a://hush@bucket"])
def test_a_url_of_s3_has_no_credentials(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATA_DIR", url)
    with pytest.raises(SettingsError, match="DATA_DIR: a URL of S3 has no credentials") as refused:
        load_settings()
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://user:hush@minio:9000", "http://minio/?hush=1"])
def test_an_endpoint_has_no_credentials(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL: it has a user") as refused:
        load_settings()
    assert "hush" not in str(refused.value)


def test_the_lake_of_the_settings_is_where_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_lake(load_settings()).address("x") == f"{load_settings().data_dir}/x"
    monkeypatch.setenv("DATA_DIR", "s3://bucket/prefix/")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    lake = open_lake(load_settings())
    assert lake.address("x") == "s3://bucket/prefix/x"
    assert SECRET not in repr(vars(lake))
