"""The production files fit the code and each other."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import kubernetes_validate
import pytest
import yaml
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

from ingestion_pipeline.cli import main as cli
from ingestion_pipeline.cli.instance import CELERY
from ingestion_pipeline.config.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = sorted((DEPLOY / "systemd").glob("*.service"))
DAGSTERS_OWN = "DAGSTER_STORAGE_URL"
KUBERNETES = "1.31"


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


# Celery


def test_with_workers_only_the_launcher_and_its_times_differ() -> None:
    ours, workers = yaml_of(DEPLOY / "dagster.yaml"), yaml_of(DEPLOY / "celery" / "dagster.yaml")
    assert workers.pop("run_launcher") == CELERY
    assert ours.pop("run_launcher") != CELERY
    assert workers["run_monitoring"].pop("start_timeout_seconds") == 600
    ours["run_monitoring"].pop("start_timeout_seconds")
    assert workers == ours


# Containers


COMPOSE = yaml_of(DEPLOY / "compose" / "compose.yaml")
OURS = {name: each for name, each in COMPOSE["services"].items() if "poi-ingest" in each["image"]}
POI_INGEST = yaml.safe_load_all((DEPLOY / "helm" / "poi-ingest.yaml").read_text("utf-8"))
MANIFESTS = {each["kind"] + "/" + each["metadata"]["name"]: each for each in POI_INGEST}


@pytest.mark.process
def test_the_dockerfile_has_no_finding() -> None:
    linted = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), DEPLOY / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_the_image_is_built_from_files_that_are_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    named = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert all((ROOT / name).exists() for name in named)
    assert {"ingestion_pipeline", "requirements", "pyproject.toml", "setup.py"} <= set(named)
    assert (ROOT / "requirements" / "image.txt").exists()


def test_nothing_in_a_container_may_be_written_but_its_own_folders() -> None:
    for name, service in OURS.items():
        assert service["read_only"], name
        assert service["user"] == "10001:10001", name
        assert service["cap_drop"] == ["ALL"], name
        assert any(mount.startswith("/var/lib/poi/dagster:") for mount in service["tmpfs"]), name


def test_containers_have_settings_and_secrets_that_exist() -> None:
    # Read by Dagster, Celery's launcher and the store's client.
    others = {DAGSTERS_OWN, "CELERY_BROKER_URL", "CELERY_BACKEND_URL"}
    settings = {name.upper() for name in Settings.model_fields} | others
    for service in OURS.values():
        for name, value in service["environment"].items():
            if name not in settings:
                plain = name.removesuffix("_FILE")
                assert plain in settings or plain.startswith("AWS_"), name
            if name.endswith("_FILE") and name not in settings:
                assert Path(value).name in COMPOSE["secrets"], name
                assert Path(value).name in service["secrets"], name
    assert set(MANIFESTS["ConfigMap/poi-ingest"]["data"]) <= settings
    assert set(MANIFESTS["Secret/poi-ingest"]["stringData"]) <= settings


def test_no_secret_is_in_the_files_of_containers() -> None:
    for value in MANIFESTS["Secret/poi-ingest"]["stringData"].values():
        assert "CHANGE-ME" in value
    ignored = (DEPLOY / "compose" / "secrets" / ".gitignore").read_text("utf-8")
    assert "*" in ignored.split()


def test_the_mounted_files_exist() -> None:
    for config in COMPOSE["configs"].values():
        assert (DEPLOY / "compose" / config["file"]).exists()


def test_each_image_of_others_has_a_version() -> None:
    for name, service in COMPOSE["services"].items():
        if name not in OURS:
            assert re.search(r":[\w.-]*\d", service["image"]), name


def test_containers_find_the_code_server() -> None:
    (location,) = yaml_of(DEPLOY / "compose" / "workspace.yaml")["load_from"]
    server = location["grpc_server"]
    assert f"--port={server['port']}" in OURS[server["host"]]["command"]
    assert f"--location-name={server['location_name']}" in OURS[server["host"]]["command"]


def commands_of_containers() -> Iterator[Sequence[str]]:
    for service in OURS.values():
        yield service.get("command", [])
    for kind in ("Job/poi-ingest-migrate", "Deployment/poi-ingest-admin-api"):
        for container in MANIFESTS[kind]["spec"]["template"]["spec"]["containers"]:
            yield container["args"]


@pytest.mark.parametrize("arguments", [*commands_of_containers()], ids=" ".join)
def test_a_container_uses_the_command_line_as_it_is(arguments: Sequence[str]) -> None:
    if arguments[:1] != ["poi-ingest"]:
        return  # Dagster's own, or the image's
    _, subcommand, *rest = arguments
    rest = ["." if value.startswith("/") else value for value in rest]
    command = cli.main.commands[subcommand]
    with suppress(click.BadParameter):  # a file of the container
        command.make_context(subcommand, rest)


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_manifests_are_as_kubernetes_wants_them(name: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], KUBERNETES, strict=True)


def test_the_chart_runs_dagster_as_the_other_set_ups_do() -> None:
    chart = yaml_of(DEPLOY / "helm" / "values.yaml")
    workers = yaml_of(DEPLOY / "celery" / "dagster.yaml")
    daemon = chart["dagsterDaemon"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert (
        queue["tagConcurrencyLimits"] == (workers["concurrency"]["runs"]["tag_concurrency_limits"])
    )
    for ours, theirs in (
        ("runMonitoring", "run_monitoring"),
        ("runRetries", "run_retries"),
    ):
        assert {snake(name): value for name, value in daemon[ours].items()} == workers[theirs]
    location = chart["dagster-user-deployments"]["deployments"][0]
    assert "ingestion_pipeline.definitions" in location["dagsterApiGrpcArgs"]
    settings = chart["runLauncher"]["config"]["k8sRunLauncher"]
    assert settings["envConfigMaps"] == [{"name": "poi-ingest"}]
    assert settings["envSecrets"] == [{"name": "poi-ingest"}]


def snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


# Monitoring


@pytest.mark.process
def test_the_alerts_are_valid_and_fire_when_they_should() -> None:
    tested = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"],
        cwd=DEPLOY / "monitoring",
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
def test_monitoring_uses_metrics_that_are_documented(name: str) -> None:
    documented = set(
        re.findall(r"`(ingestion_\w+)`", (ROOT / "docs" / "api.md").read_text("utf-8"))
    )
    text = (DEPLOY / "monitoring" / name).read_text("utf-8")
    used = set(re.findall(r"\bingestion_\w+", text))
    assert {re.sub("_(bucket|count|sum)$", "", metric) for metric in used} <= documented


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
