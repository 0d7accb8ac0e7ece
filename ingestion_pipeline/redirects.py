"""Where an upstream server may send a request on to: never into this installation's own network.

Belongs here: the rule, and applying it to the HTTP of fsspec. Does not belong here: asking for
anything (`osm/extract.py`, `helpers/fetch.py`), and how many redirects are followed.

A redirect is an address that somebody else chose, and it is followed from inside: to the metadata
service of a cloud machine, a database's console, or Dagster's own webserver.
"""

from __future__ import annotations

import socket
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ingestion_pipeline.locations import DEFAULT_PORTS, redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Resolve = Callable[[str], Collection[str]]


class RedirectRefused(Exception):
    """A redirect leads to where it may not; says so without the secrets of an address."""


def addresses_of(host: str) -> set[str]:
    """Return the IP addresses of a host; none where its name is not known here."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(address[0]).partition("%")[0] for *_, address in found}


def require_allowed(configured: str, there: str, *, resolve: Resolve = addresses_of) -> None:
    """Refuse a redirect from https to http, or from outside into an inner network.

    Inner networks are loopback, link-local, private and all other addresses that are not global.
    One is allowed where the configured location is in a network of the same kind itself.

    Args:
        configured: The location that the operator configured, from which the redirects began.
        there: The absolute address that a server answered with.
        resolve: Returns the IP addresses of a host.

    Raises:
        RedirectRefused: It is refused.
    """
    first, target = urlsplit(configured), urlsplit(there)
    if target.scheme not in DEFAULT_PORTS or not target.hostname:
        raise RedirectRefused("an address that is not http(s)")
    if first.scheme == "https" and target.scheme != "https":
        raise RedirectRefused(f"{redacted(there)}, which is not https")
    require_allowed_host(configured, target.hostname, resolve(target.hostname), resolve=resolve)


def require_allowed_host(
    configured: str, host: str, addresses: Collection[str], *, resolve: Resolve = addresses_of
) -> None:
    """Refuse a host that a redirect led to, by the addresses that it has.

    Raises:
        RedirectRefused: One of them is in an inner network, and the configured location is not.
    """
    own = urlsplit(configured).hostname
    inner = _networks(addresses)
    if not inner or host == own:
        return
    inner -= _networks(resolve(own)) if own else set()
    if inner:
        raise RedirectRefused(f"{host}, which is in an inner network ({', '.join(sorted(inner))})")


def watch_httpx(configured: str, host: str) -> dict[str, Any]:
    """Return the extensions of an httpx request that is made because of a redirect.

    They look at the address that was really connected to, before the request is sent: the name may
    have got another one since it was resolved.

    Args:
        configured: The location that the operator configured.
        host: The host that the redirect leads to. A connection to another one is to a proxy, which
            the operator chose.
    """
    connecting_to = ""

    def look(event: str, info: dict[str, Any]) -> None:
        nonlocal connecting_to
        if event == "connection.connect_tcp.started":
            connecting_to = info["host"]
        elif event == "connection.connect_tcp.complete" and connecting_to == host:
            connection = info["return_value"]
            address, *_ = connection.get_extra_info("server_addr")
            try:
                require_allowed_host(configured, host, [address])
            except RedirectRefused:
                connection.close()
                raise

    return {"trace": look}


def _networks(addresses: Collection[str]) -> set[str]:
    """Return the kinds of inner networks that some addresses are in."""
    kinds = (_network(ip_address(address)) for address in addresses)
    return {kind for kind in kinds if kind is not None}


def _network(address: IPv4Address | IPv6Address) -> str | None:
    inside = _embedded(address)
    if inside.is_loopback or inside.is_unspecified:
        return "loopback"
    if inside.is_link_local:
        return "link-local"
    return None if inside.is_global and not inside.is_multicast else "private"


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address.sixtofour or address
    return address


def fsspec_options(configured: str) -> dict[str, Any]:
    """Return the options with which fsspec opens a location and looks at its redirects."""
    if not configured.startswith(("http://", "https://")):
        return {}
    return {"get_client": client_of_fsspec(configured)}


@cache
def client_of_fsspec(configured: str) -> Any:
    """Return what makes the client of fsspec's HTTP file system (`get_client`) for a location.

    The client looks at each redirect before it follows it, and at the addresses of each host as it
    connects: the name may have got another one in between.
    """
    import aiohttp

    class Resolver(aiohttp.ThreadedResolver):
        async def resolve(self, host: str, *args: Any, **options: Any) -> Any:
            found = await super().resolve(host, *args, **options)
            require_allowed_host(configured, host, [each["host"] for each in found])
            return found

    async def on_redirect(_session: Any, _context: Any, redirect: Any) -> None:
        to = redirect.response.headers.get("Location") or redirect.response.headers.get("URI") or ""
        require_allowed(configured, urljoin(str(redirect.response.url), to))

    async def get_client(**options: Any) -> aiohttp.ClientSession:
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(on_redirect)
        connector = aiohttp.TCPConnector(resolver=Resolver())
        return aiohttp.ClientSession(connector=connector, trace_configs=[tracing], **options)

    return get_client
