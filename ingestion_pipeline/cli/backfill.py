"""Submitting a backfill to Dagster, by the GraphQL API of its webserver.

Belongs here: the one request, and what its answers mean. Does not belong here: which days it is
made for (`plan.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from ingestion_pipeline.config.settings import SettingsError
from ingestion_pipeline.core.errors import IngestionError, quoted
from ingestion_pipeline.core.locations import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx

TIMEOUT_S = 300.0
"""Dagster looks at each partition before it answers: some seconds for tens of thousands."""

MUTATION = """\
mutation SubmitBackfill($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on Error { message }
  }
}
"""


class DagsterUnavailable(IngestionError):
    """Dagster's webserver does not answer."""

    code: ClassVar[str] = "dagster_unavailable"
    should_retry = True


class DagsterRefused(IngestionError):
    """Dagster's webserver answers, and does not do what is asked."""

    code: ClassVar[str] = "dagster_refused"


@dataclass(frozen=True)
class Backfill:
    """A backfill that Dagster took on.

    Attributes:
        id: Dagster's name for it.
        address: Its page in the UI.
    """

    id: str
    address: str


def submit(
    http: httpx.Client,
    url: str,
    *,
    assets: Sequence[str],
    partitions: Sequence[str],
    tags: Mapping[str, str],
    title: str,
) -> Backfill:
    """Have Dagster make a run of some assets for each partition.

    Args:
        http: The client to send with.
        url: Dagster's webserver; may hold a user and a password, which are never shown.
        assets: What to materialize.
        partitions: Their partitions; `<city>|<YYYY-MM-DD>`.
        tags: Tags of every run.
        title: What the UI calls the backfill.

    Raises:
        SettingsError: The URL is none.
        DagsterUnavailable: The webserver does not answer.
        DagsterRefused: It is another server, or does not want to.
    """
    try:
        endpoint = Endpoint.parse(f"{url.rstrip('/')}/graphql")
    except ValueError as error:
        raise SettingsError(
            f"DAGSTER_URL cannot be used: {error}; set it to the address of Dagster's webserver, "
            "such as http://127.0.0.1:3000"
        ) from None
    parameters = {
        "assetSelection": [{"path": [name]} for name in assets],
        "partitionNames": list(partitions),
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
        "title": title,
    }
    answer = _ask(http, endpoint, {"query": MUTATION, "variables": {"parameters": parameters}})
    if answer["__typename"] != "LaunchBackfillSuccess":
        _refuse(endpoint, f"{answer['__typename']}: {answer.get('message', 'no reason is given')}")
    name: str = answer["backfillId"]
    return Backfill(name, f"{endpoint.public.removesuffix('/graphql')}/runs/b/{name}")


def _ask(http: httpx.Client, endpoint: Endpoint, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send the request; give the value of the one field that it asks for."""
    import httpx

    try:
        reply = http.post(
            endpoint.target,
            json=request,
            auth=endpoint.auth or httpx.USE_CLIENT_DEFAULT,
            timeout=TIMEOUT_S,
        )
    except httpx.ConnectError as error:
        raise DagsterUnavailable(
            f"Dagster's webserver does not answer at {endpoint.public} ({error}); start it, or set "
            "DAGSTER_URL to where it is"
        ) from error
    except httpx.TransportError as error:
        raise DagsterUnavailable(_lost(endpoint, type(error).__name__)) from error
    if reply.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise DagsterUnavailable(_lost(endpoint, f"HTTP {reply.status_code}"))
    try:
        document = reply.json()
        if "errors" in document:
            _refuse(endpoint, document["errors"][0]["message"])
        (answer,) = document["data"].values()
        return dict(answer)
    except (ValueError, KeyError, TypeError, AttributeError):
        _refuse(
            endpoint,
            f"HTTP {reply.status_code}, and not what Dagster's webserver answers; check "
            "DAGSTER_URL, and whether a proxy stands before it",
        )


def _lost(endpoint: Endpoint, what: str) -> str:
    return (
        f"Dagster's webserver at {endpoint.public} broke off ({what}); look at its list of "
        "backfills, because it may have taken this one on. Submitting it again is harmless: what "
        "is staged by then costs nothing"
    )


def _refuse(endpoint: Endpoint, why: str) -> NoReturn:
    raise DagsterRefused(
        f"Dagster at {endpoint.public} did not take the backfill on: {quoted(why)}"
    )
