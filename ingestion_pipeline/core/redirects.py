"""Which redirects of an upstream server are followed: none into this installation's own network.

A redirect is a URL that a third party chose, requested from inside: it could lead to the metadata
service of a cloud machine, a database's console, or Dagster's webserver.
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
    """A redirect is not allowed. The message contains no secrets of the URL."""


def addresses_of(host: str) -> set[str]:
    """Return the IP addresses of a host; empty if its name does not resolve."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(address[0]).partition("%")[0] for *_, address in found}


class RedirectGuard:
    """The redirects that are allowed for a configured location.

    Inner networks are loopback, link-local, private and all other addresses that are not global. A
    redirect may lead into one only if the first connection was into a network of the same kind.
    Names do not matter: any name may resolve to another address at any time.
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
        """Check the absolute URL of a redirect.

        Raises:
            RedirectRefused: It is not http(s), leaves https, or is in an inner network.
        """
        target = urlsplit(there)
        if target.scheme not in DEFAULT_PORTS or not target.hostname:
            raise RedirectRefused("a URL that is not http(s)")
        if self._configured.scheme == "https" and target.scheme != "https":
            raise RedirectRefused(f"{redacted(there)}, which is not https")
        self._require_network(target.hostname, self._resolve(target.hostname))

    def connecting(self, host: str, addresses: Collection[str]) -> None:
        """Check the addresses of a connection; the first ones are those of the configured host.

        Raises:
            RedirectRefused: One of them is in an inner network.
        """
        if self._own is None and host == self._configured.hostname:
            self._own = _networks(addresses)
        self._require_network(host, addresses)

    def extensions(self, host: str) -> dict[str, Any]:
        """Return extensions of an httpx request that check the address of its connection.

        Args:
            host: The host of the request. A connection to another host goes to a proxy, which the
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
        if self._own is None:  # no direct connection: a proxy is in use
            own = self._configured.hostname
            self._own = _networks(self._resolve(own)) if own else set()
        if inner - self._own:
            kinds = ", ".join(sorted(inner - self._own))
            raise RedirectRefused(f"{host}, which is in an inner network ({kinds})")


def _networks(addresses: Collection[str]) -> set[str]:
    """Return the kinds of inner networks that the addresses are in."""
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
    """Return the IPv4 address that an IPv6 address embeds, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _TRANSLATED) and int(address) > 1:  # `::1` is its own
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


_TRANSLATED = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
"""Networks whose last 32 bits are an IPv4 address: NAT64 (RFC 6052, 8215), and IPv4-compatible."""


def fsspec_options(configured: str) -> dict[str, Any]:
    """Return the options with which fsspec opens a location and checks its redirects."""
    if not configured.startswith(("http://", "https://")):
        return {}
    return {"get_client": client_of_fsspec(configured)}


@cache
def client_of_fsspec(configured: str) -> Any:
    """Return a factory for the client of fsspec's HTTP file system (`get_client`).

    The client checks each redirect before it follows it, and the addresses of each connection.
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
