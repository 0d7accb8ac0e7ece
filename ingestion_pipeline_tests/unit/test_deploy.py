"""The production files fit the code and each other."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

from ingestion_pipeline.cli import main as cli
from ingestion_pipeline.config.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = sorted((DEPLOY / "systemd").glob("*.service"))
DAGSTERS_OWN = "DAGSTER_STORAGE_URL"


def yaml_of(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def environment() -> dict[str, tuple[str, bool]]:
    """Give the variables of the example: the value, and whether it is set or only shown."""
    text = (DEPLOY / "env.example").read_text(encoding="utf-8")
    return {
        name: (value, not comment)
        for comment, name, value in re.findall(r"^(#?)([A-Z_]+)=(.*)$", text, re.MULTILINE)
    }


def unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    return parser["Service"]


def command(name: str) -> list[str]:
    return unit(DEPLOY / "systemd" / f"{name}.service")["ExecStart"].split()


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


# Environment


def test_the_example_has_every_setting_and_dagsters_storage() -> None:
    # A setting such as FEED_SECRET__NAME is one of many of that form.
    names = {name.partition("__")[0] for name in environment()}
    assert names == {name.upper() for name in Settings.model_fields} | {DAGSTERS_OWN}


def test_the_example_is_accepted_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (value, is_set) in environment().items():
        if is_set:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)
    settings = load_settings()
    assert settings.schedules == "on"
    assert settings.admin_api_token is None


def test_the_example_holds_no_secret() -> None:
    for name, (value, is_set) in environment().items():
        password = urlsplit(value).password if "://" in value else None
        assert password in (None, "CHANGE-ME")
        assert not (is_set and re.search("TOKEN|KEYS", name))


# Dagster


def test_production_differs_from_development_where_it_must() -> None:
    production = yaml_of(DEPLOY / "dagster.yaml")
    development = yaml_of(ROOT / "ingestion_pipeline" / "dagster.yaml")
    assert production.pop("storage") == {"postgres": {"postgres_url": {"env": DAGSTERS_OWN}}}
    assert production["concurrency"]["runs"].pop("max_concurrent_runs") > development[
        "concurrency"
    ]["runs"].pop("max_concurrent_runs")
    assert production == development


def test_the_installed_workspace_is_that_of_a_checkout() -> None:
    installed = yaml_of(ROOT / "ingestion_pipeline" / "workspace.yaml")
    assert installed == yaml_of(ROOT / "workspace.yaml")


def test_the_workspace_names_the_code_server() -> None:
    path = str(DEPLOY / "workspace.yaml")
    (origin,) = location_origins_from_yaml_paths([path])
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    server = command("poi-code-server")
    assert origin.host == option(server, "--host")
    assert str(origin.port) == option(server, "--port")
    assert origin.location_name == option(server, "--location-name")


def test_backfills_go_to_the_webserver() -> None:
    address = urlsplit(environment()["DAGSTER_URL"][0])
    webserver = command("poi-webserver")
    assert (address.hostname, str(address.port)) == (
        option(webserver, "--host"),
        option(webserver, "--port"),
    )


# Services


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_a_service_starts_a_program_that_is_installed(path: Path) -> None:
    program = Path(unit(path)["ExecStart"].split()[0])
    assert (Path(sys.executable).parent / program.name).exists()
    assert unit(path)["EnvironmentFile"] == "/etc/poi/env"
    assert unit(path)["User"] == "poi"


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_a_service_that_is_to_stay_is_started_again(path: Path) -> None:
    service = unit(path)
    assert service.get("Restart") == ("always" if service.get("Type") != "oneshot" else None)


@pytest.mark.parametrize("name", ["poi-admin-api", "poi-prune"])
def test_a_service_uses_the_command_line_as_it_is(name: str) -> None:
    _, subcommand, *arguments = command(name)
    cli.main.commands[subcommand].make_context(subcommand, arguments)
    with pytest.raises(click.UsageError):
        cli.main.commands[subcommand].make_context(subcommand, [*arguments, "--nonsense"])


@pytest.mark.parametrize("name", ["poi-code-server", "poi-daemon"])
def test_runs_outlive_what_started_them(name: str) -> None:
    assert unit(DEPLOY / "systemd" / f"{name}.service")["KillMode"] == "process"
