"""Commands that run servers until they are interrupted: `dev`, `ui`, `serve`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion_pipeline.cli.instance import (
    dagster_instance,
    prepare_dagster_home,
    prepare_home_of_workers,
)
from ingestion_pipeline.cli.output import FAILED, log_to_stderr
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = click.IntRange(1, 65535)

_host_option = click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
)


@click.command()
@click.option(
    "--ui-port",
    type=PORT,
    default=3000,
    envvar="UI_PORT",
    show_default=True,
    show_envvar=True,
    help="Port of the Dagster UI.",
)
@click.option(
    "--api-port",
    type=PORT,
    default=8000,
    envvar="API_PORT",
    show_default=True,
    show_envvar=True,
    help="Port of the admin API.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Execute runs in this many workers of Celery, with a Redis of their own.  [default: "
    "Dagster's daemon forks them]",
)
def dev(ui_port: int, api_port: int, workers: int | None) -> None:
    """Run the Dagster UI, its daemon and the admin API together, until Ctrl-C."""
    from ingestion_pipeline.cli.development import (
        Ports,
        new_token,
        require_free,
        require_redis,
        run_all,
    )
    from ingestion_pipeline.staging import database

    settings = load_settings()
    cities = load_cities(settings.cities_file)
    ports = Ports(ui=ui_port, api=api_port)
    require_free(ports)
    if workers:
        require_redis()
        # Of its own: the launcher of a home applies to all of its processes.
        home = settings.dagster_home.with_name(f"{settings.dagster_home.name}-workers")
        settings = settings.model_copy(update={"dagster_home": home})
        prepare_home_of_workers(home)
    engine = database.create_engine(settings.database)
    database.migrate(engine)
    prepare_dagster_home(settings.dagster_home)
    given = settings.admin_api_token
    token = given.get_secret_value().split(",")[0] if given else new_token()
    slug = next(iter(cities)).slug
    url = f"http://127.0.0.1:{api_port}"

    def print_addresses() -> None:
        click.echo(
            "\nReady.\n"
            f"  Dagster UI   http://127.0.0.1:{ui_port}\n"
            f"  Admin API    {url}/v1/api/health\n"
            f"  Database     {database.describe(engine)}\n"
            + (f"  Workers      {workers}, one run at a time each\n" if workers else "")
            + ("" if given else f"ADMIN_API_TOKEN is not set; for this session it is {token}\n")
            + "Enqueue a day:\n"
            f"  curl {url}/v1/admin/ingestion/osm/enqueue \\\n"
            f"    -H 'X-Admin-Token: {'...' if given else token}' \\\n"
            "    -H 'Content-Type: application/json' \\\n"
            f'    -d \'{{"city_slug": "{slug}", "day": "{settings.partitions_start}"}}\'\n'
            "Ctrl-C stops all processes.\n"
        )

    click.echo("Starting Dagster and the admin API ...")
    run_all(
        settings,
        token=given.get_secret_value() if given else token,
        ports=ports,
        workers=workers or 0,
        when_ready=print_addresses,
        when_slow=lambda: click.echo(
            "Still starting: the UI, the code location or the admin API does not answer yet.\n"
            "If something failed, the lines above show the error.",
            err=True,
        ),
    )
    click.echo("All processes have stopped.")


@click.command()
@_host_option
@click.option("--port", type=PORT, default=3000, show_default=True, help="Port.")
@click.option(
    "--workspace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Dagster's workspace.yaml.  [default: the one in the package]",
)
@click.option("--read-only", is_flag=True, help="Reject mutations.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    help="A host name that a proxy uses, besides those of loopback; may be repeated.",
)
def ui(
    host: str,
    port: int,
    workspace: Path | None,
    allowed_hosts: Sequence[str],
    *,
    read_only: bool,
) -> None:
    """Run Dagster's webserver, and reject cross-origin requests."""
    from ingestion_pipeline.dagster_runtime import webserver

    with dagster_instance(load_settings().dagster_home) as instance:
        webserver.serve(
            instance,
            workspace or Path(__file__).parents[1] / "workspace.yaml",
            host=host,
            port=port,
            read_only=read_only,
            allowed_hosts=allowed_hosts,
        )


@click.command()
@_host_option
@click.option("--port", type=PORT, default=8000, show_default=True, help="Port.")
def serve(host: str, port: int) -> None:
    """Serve the admin API, its own page (/docs) and the manual (/manual)."""
    from ingestion_pipeline.admin_api.app import create_app
    from ingestion_pipeline.admin_api.reading.mount import why_closed
    from ingestion_pipeline.admin_api.server import build_server
    from ingestion_pipeline.admin_api.service import secrets_in

    settings = load_settings()
    app = create_app(settings, load_cities(settings.cities_file))
    log_to_stderr("ingestion_pipeline", "uvicorn")
    click.echo(f"admin API on http://{f'[{host}]' if ':' in host else host}:{port}")
    if not secrets_in(settings.admin_api_token):
        click.echo("ADMIN_API_TOKEN is not set: all requests for jobs are rejected")
    if not secrets_in(settings.callback_signing_keys):
        click.echo("CALLBACK_SIGNING_KEYS is not set: the callback is closed")
    if refusal := why_closed(settings, embedded=settings.database.startswith("sqlite")):
        click.echo(f"/ogc: {refusal.detail}")
    server = build_server(app, host=host, port=port)
    # uvicorn raises these on Ctrl-C, and after it has logged why it cannot start.
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        server.run()
    if not server.started:
        sys.exit(FAILED)
