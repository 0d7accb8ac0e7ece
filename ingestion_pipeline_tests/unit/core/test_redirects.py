"""Redirects: followed within the open network, never from there into this installation's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fsspec
import httpx
import pytest

from ingestion_pipeline.core.redirects import (
    RedirectGuard,
    RedirectRefused,
    addresses_of,
    client_of_fsspec,
)
from ingestion_pipeline_tests.support.feed_server import FeedServer
from ingestion_pipeline_tests.support.overpass_server import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTSIDE = "https://data.example/toilets.geojson"
NAMES = {
    "data.example": ["9.9.9.9"],
    "other.example": ["8.8.8.8", "2620:fe::fe"],
    "intranet.example": ["10.1.2.3"],
    "archive.example": ["10.9.9.9"],
    "both.example": ["8.8.8.8", "192.168.0.7"],
    "localhost": ["::1", "127.0.0.1"],
}


def resolve(host: str) -> list[str]:
    return NAMES.get(host, [host] if host[0].isdigit() or ":" in host else [])


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer() as server:
        yield server


@pytest.mark.parametrize(
    "there",
    [
        "https://other.example/x",
        "https://data.example/elsewhere",
        "https://unknown.example/x",
        "https://[2620:fe::fe]/x",
    ],
)
def test_a_redirect_in_the_open_network_is_followed(there: str) -> None:
    RedirectGuard(OUTSIDE, resolve=resolve).require(there)


@pytest.mark.parametrize(
    ("there", "network"),
    [
        ("https://localhost:3000/graphql?query=mutation", "loopback"),
        ("https://127.8.8.8/", "loopback"),
        ("https://0.0.0.0/", "loopback"),
        ("https://[::1]/", "loopback"),
        ("https://[::ffff:127.0.0.1]/", "loopback"),
        ("https://169.254.169.254/latest/meta-data/", "link-local"),
        ("https://[fe80::1]/", "link-local"),
        ("https://intranet.example/", "private"),
        ("https://both.example/", "private"),
        ("https://172.16.0.1/", "private"),
        ("https://100.64.0.1/", "private"),
        ("https://[fd00::1]/", "private"),
        ("https://[2002:a00:1::]/", "private"),
        ("https://[64:ff9b::a9fe:a9fe]/", "link-local"),
        ("https://[64:ff9b:1::7f00:1]/", "loopback"),
        ("https://[::127.0.0.1]/", "loopback"),
        ("https://[::]/", "loopback"),
        ("https://224.0.0.1/", "private"),
    ],
)
def test_a_redirect_into_an_inner_network_is_refused_whatever_its_name(
    there: str, network: str
) -> None:
    with pytest.raises(RedirectRefused, match=rf"inner network \({network}\)") as refused:
        RedirectGuard(OUTSIDE, resolve=resolve).require(there)
    assert "mutation" not in str(refused.value)


@pytest.mark.parametrize(
    ("configured", "there"),
    [
        ("http://intranet.example/a", "http://archive.example/a"),
        ("http://localhost:8080/a", "http://127.0.0.1:8081/a"),
        ("http://10.0.0.1/a", "https://other.example/a"),
    ],
)
def test_a_location_in_an_inner_network_may_send_on_within_its_kind(
    configured: str, there: str
) -> None:
    RedirectGuard(configured, resolve=resolve).require(there)


@pytest.mark.parametrize(
    "there", ["http://127.0.0.1:3000/graphql", "http://169.254.169.254/", "http://192.168.0.1/x"]
)
def test_a_private_location_may_send_to_private_addresses_only(there: str) -> None:
    if "192.168" in there:
        RedirectGuard("http://intranet.example/a", resolve=resolve).require(there)
    else:
        with pytest.raises(RedirectRefused):
            RedirectGuard("http://intranet.example/a", resolve=resolve).require(there)


@pytest.mark.parametrize("there", ["http://data.example/x", "ftp://data.example/x", "file:///x"])
def test_a_redirect_away_from_https_is_refused(there: str) -> None:
    with pytest.raises(RedirectRefused, match=r"not https|not http"):
        RedirectGuard(OUTSIDE, resolve=resolve).require(there)


def test_names_are_resolved_by_the_system_and_one_that_is_not_known_has_no_address() -> None:
    assert addresses_of("localhost") & {"127.0.0.1", "::1"}
    assert addresses_of("no-such-host.invalid") == set()


@pytest.mark.server
def test_a_host_that_got_another_address_meanwhile_is_noticed_before_the_request_is_sent(
    server: FeedServer,
) -> None:
    extensions = RedirectGuard("https://8.8.8.8/feed").extensions("127.0.0.1")
    with httpx.Client() as http, pytest.raises(RedirectRefused, match="loopback"):
        http.get(server.address("feed"), extensions=extensions)
    assert server.requests == []


@pytest.mark.server
def test_a_connection_to_a_proxy_is_the_operators_choice(server: FeedServer) -> None:
    server.enqueue(Reply(200, "{}"))
    extensions = RedirectGuard("https://8.8.8.8/feed").extensions("other.example")
    with httpx.Client() as http:
        assert http.get(server.address("feed"), extensions=extensions).status_code == 200


@pytest.mark.server
def test_fsspec_follows_no_redirect_into_an_inner_network(server: FeedServer) -> None:
    with FeedServer() as inner:
        inner.default = Reply(200, b"secret", "application/octet-stream")
        # The name is what this machine calls itself; the target is another inner network.
        server.default = Reply(302, headers={"Location": "http://169.254.169.254/secret"})
        location = server.address("region.osm.pbf")
        filesystem = fsspec.filesystem("http", get_client=client_of_fsspec(location))
        with pytest.raises(RedirectRefused, match="link-local"):
            filesystem.cat_file(location)
        server.default = Reply(302, headers={"Location": inner.address("file")})
        assert filesystem.cat_file(location) == b"secret"


@pytest.mark.server
def test_fsspec_connects_to_no_host_that_got_an_inner_address(server: FeedServer) -> None:
    address = server.address("secret").replace("127.0.0.1", "localhost")
    filesystem = fsspec.filesystem("http", get_client=client_of_fsspec("https://8.8.8.8/x"))
    with pytest.raises(RedirectRefused, match="loopback"):
        filesystem.cat_file(address)
    assert server.requests == []


def test_the_configured_host_may_be_in_an_inner_network() -> None:
    guard = RedirectGuard("http://intranet.example/x", resolve=resolve)
    guard.connecting("intranet.example", ["10.1.2.3"])
    guard.require("http://intranet.example/y")


def test_the_configured_host_may_not_move_into_an_inner_network() -> None:
    names = {"data.example": ["9.9.9.9"]}
    guard = RedirectGuard(OUTSIDE, resolve=lambda host: names.get(host, [host]))
    guard.connecting("data.example", ["9.9.9.9"])
    names["data.example"] = ["127.0.0.1"]
    with pytest.raises(RedirectRefused, match="loopback"):
        guard.require("https://data.example:3000/graphql")
    with pytest.raises(RedirectRefused, match="loopback"):
        guard.connecting("data.example", ["127.0.0.1"])
    with pytest.raises(RedirectRefused, match="loopback"):
        guard.require("https://127.0.0.1/")
