"""The address of an upstream server, which may hold credentials, and what of it may be shown.

Belongs here: taking a URL apart, and keeping its secrets out of messages and logs. Does not
belong here: sending anything (`overpass.py`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit, urlunsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
HIDDEN = "***"


@dataclass(frozen=True)
class Endpoint:
    """An http(s) address.

    Attributes:
        public: The address without user, password and query: for evidence, messages and logs.
        server: `host:port`.
        target: The address to send to: with its query, without user and password.
        auth: User and password for HTTP basic authentication, or None.
    """

    public: str
    server: str
    target: str = field(repr=False)
    auth: tuple[str, str] | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take a URL apart.

        Raises:
            ValueError: It is not an http(s) URL with a host. The message does not repeat the URL,
                because it may hold a password.
        """
        import httpx

        try:
            httpx.URL(url.strip())
            parts = urlsplit(url.strip())
            port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        except (httpx.InvalidURL, ValueError):
            port = None
        if port is None or parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError("it is not of the form http(s)://host[:port]/path")
        host = parts.netloc.rpartition("@")[2]
        auth = None
        if parts.username is not None:
            auth = (unquote(parts.username), unquote(parts.password or ""))
        return cls(
            public=urlunsplit((parts.scheme, host, parts.path, "", "")),
            server=f"{parts.hostname}:{port}",
            target=urlunsplit((parts.scheme, host, parts.path, parts.query, "")),
            auth=auth,
        )

    def sibling(self, name: str) -> str:
        """Give the address to send to for another resource beside this one."""
        parts = urlsplit(self.target)
        folder = parts.path.rpartition("/")[0]
        return urlunsplit(parts._replace(path=f"{folder}/{name}"))

    def redact(self, text: str) -> str:
        """Hide every secret of the address in a text that the server wrote."""
        secrets = {value for _, value in parse_qsl(urlsplit(self.target).query)}
        secrets.update(self.auth or ())
        spellings = {
            spelling
            for secret in secrets
            if secret
            for spelling in (secret, quote(secret, safe=""), quote_plus(secret))
        }
        for spelling in sorted(spellings, key=len, reverse=True):
            text = text.replace(spelling, HIDDEN)
        return text


class _UrlsWithoutSecrets(logging.Filter):
    """httpx logs the URL of every request, query included, at level INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        import httpx

        if isinstance(record.args, tuple):
            record.args = tuple(
                _without_secrets(str(value)) if isinstance(value, httpx.URL) else value
                for value in record.args
            )
        return True


def _without_secrets(url: str) -> str:
    try:
        return Endpoint.parse(url).public
    except ValueError:
        return HIDDEN


_FILTER = _UrlsWithoutSecrets()


def keep_secrets_out_of_httpx_log() -> None:
    """Have httpx log URLs without user, password and query, in this whole process."""
    logging.getLogger("httpx").addFilter(_FILTER)
