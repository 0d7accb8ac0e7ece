"""Where an upstream server may send a request on to: never into this installation's own network.

Belongs here: the rule, and applying it to the HTTP of fsspec. Does not belong here: asking for
anything (`sources/pbf/extract.py`, `sources/feed/fetch.py`), and how many redirects are followed.

A redirect is an address that somebody else chose, and it is followed from inside: to the metadata
service of a cloud machine, a database's console, or Dagster's own webserver.
"""

from __future__ import annotations

import socket
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ingestion_pipeline.core.locations import DEFAULT_PORTS, redacted

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


class RedirectGuard:
    """What a location that an operator configured may send a request on to.

    Inner networks are loopback, link-local, private and all other addresses that are not global.
    A redirect may lead into one only where the first connection was into a network of that kind,
    whatever the names are: a name may get another address at any moment, that of the configured
    host too.
    """

    def __init__(self, configured: str, *, resolve: Resolve = addresses_of) -> None:
        """Guard the requests that begin at a location.

        Args:
            configured: The location that the operator configured.
            resolve: Returns the IP addresses of a host.
        """
        self._configured = urlsplit(configured)
        self._resolve = resolve
        self._own: set[str] | None = None

    def require(self, there: str) -> None:
        """Check the absolute address that a server answered with.

        Raises:
            RedirectRefused: It is not http(s), not https any more, or in an inner network.
        """
        target = urlsplit(there)
        if target.scheme not in DEFAULT_PORTS or not target.hostname:
            raise RedirectRefused("an address that is not http(s)")
        if self._configured.scheme == "https" and target.scheme != "https":
            raise RedirectRefused(f"{redacted(there)}, which is not https")
        self._require_network(target.hostname, self._resolve(target.hostname))

    def connecting(self, host: str, addresses: Collection[str]) -> None:
        """Check the addresses that are connected to; the first ones are the configured host's own.

        Raises:
            RedirectRefused: One of them is in an inner network.
        """
        if self._own is None and host == self._configured.hostname:
            self._own = _networks(addresses)
        self._require_network(host, addresses)

    def extensions(self, host: str) -> dict[str, Any]:
        """Return the extensions of an httpx request, which check what it really connects to.

        Args:
            host: The host of the request. A connection to another one is to a proxy, which the
                operator chose.
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
                    self.connecting(host, [address])
                except RedirectRefused:
                    connection.close()
                    raise

        return {"trace": look}

    def _require_network(self, host: str, addresses: Collection[str]) -> None:
        inner = _networks(addresses)
        if not inner:
            return
        if self._own is None:  # nothing was connected to directly: there is a proxy
            own = self._configured.hostname
            self._own = _networks(self._resolve(own)) if own else set()
        if inner - self._own:
            kinds = ", ".join(sorted(inner - self._own))
            raise RedirectRefused(f"{host}, which is in an inner network ({kinds})")


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
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _TRANSLATED) and int(address) > 1:  # `::1` is its own
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


_TRANSLATED = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
"""Of which the last 32 bits are an IPv4 address: NAT64 (RFC 6052, 8215), and the form of old."""


def fsspec_options(configured: str) -> dict[str, Any]:
    """Return the options with which fsspec opens a location and looks at its redirects."""
    if not configured.startswith(("http://", "https://")):
        return {}
    return {"get_client": client_of_fsspec(configured)}


@cache
def client_of_fsspec(configured: str) -> Any:
    """Return what makes the client of fsspec's HTTP file system (`get_client`) for a location.

    The client looks at each redirect before it follows it, and at the addresses of each host as it
    connects.
    """
    import aiohttp

    guard = RedirectGuard(configured)

    class Resolver(aiohttp.ThreadedResolver):
        async def resolve(self, host: str, *args: Any, **options: Any) -> Any:
            found = await super().resolve(host, *args, **options)
            guard.connecting(host, [each["host"] for each in found])
            return found

    async def on_redirect(_session: Any, _context: Any, redirect: Any) -> None:
        to = redirect.response.headers.get("Location") or redirect.response.headers.get("URI") or ""
        guard.require(urljoin(str(redirect.response.url), to))

    async def get_client(**options: Any) -> aiohttp.ClientSession:
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(on_redirect)
        connector = aiohttp.TCPConnector(resolver=Resolver())
        return aiohttp.ClientSession(connector=connector, trace_configs=[tracing], **options)

    return get_client
