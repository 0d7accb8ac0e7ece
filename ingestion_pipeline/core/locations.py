"""Locations of upstream data: URLs, templates of URLs, and which parts of them may be shown."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from string import Formatter
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

_DATE_FORM = re.compile(r"([^{}%]|%[YymdjbB])+")
"""The format of a day in a template: parts of a date, and text between them."""

DEFAULT_PORTS = {"http": 80, "https": 443}
HIDDEN = "***"


_NOT_HTTP = "it is not of the form http(s)://host[:port]/path"


def http_parts(url: str) -> tuple[SplitResult, int]:
    """Return the parts of an http(s) URL, and its port.

    Raises:
        ValueError: It is not an http(s) URL with a host, or the host is a placeholder such as
            `...`. The message does not repeat the URL, because it may contain a password.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        raise ValueError(_NOT_HTTP) from None
    # A host name may end with a dot (the root) and has no other empty label.
    labels = (parts.hostname or "").removesuffix(".").split(".")
    if port is None or parts.scheme not in DEFAULT_PORTS or not all(labels):
        raise ValueError(_NOT_HTTP)
    return parts, port


@dataclass(frozen=True)
class Endpoint:
    """An http(s) URL.

    Attributes:
        public: The URL without user, password and query: for evidence, messages and logs.
        server: `host:port`.
        target: The URL to send requests to: with its query, without user and password.
        auth: User and password for HTTP basic authentication, or None.
    """

    public: str
    server: str
    target: str = field(repr=False)
    auth: tuple[str, str] | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL.

        Raises:
            ValueError: It is not an http(s) URL with a host. The message does not repeat the URL,
                because it may contain a password.
        """
        import httpx

        parts, port = http_parts(url)
        try:
            httpx.URL(url.strip())
        except httpx.InvalidURL:
            raise ValueError(_NOT_HTTP) from None
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
        """Return the request URL of another resource in the same folder."""
        parts = urlsplit(self.target)
        folder = parts.path.rpartition("/")[0]
        return urlunsplit(parts._replace(path=f"{folder}/{name}"))

    def redact(self, text: str) -> str:
        """Return a server's text without the secrets of this URL."""
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


def redacted(location: str) -> str:
    """Return a URL without user, password, query and fragment; a path is returned unchanged."""
    return "::".join(_without_secrets(part) for part in location.split("::"))


def _without_secrets(url: str) -> str:
    if "://" not in url:
        return url
    try:
        scheme, netloc, path, _, _ = urlsplit(url)
    except ValueError:  # such as an unmatched bracket; its parts are not known
        return HIDDEN
    return urlunsplit((scheme, netloc.rpartition("@")[2], path, "", ""))


def require_template(template: str, *, allowed: str, fields: Collection[str]) -> None:
    """Check the placeholders of a template. `{day}` may have a format, such as `{day:%y%m%d}`.

    Args:
        template: A path or URL.
        allowed: What is allowed, for the message.
        fields: The allowed names.

    Raises:
        ValueError: It contains another placeholder or an invalid one.
    """
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{allowed} ({error})") from error
    for _, name, form, conversion in parts:
        is_date_form = name == "day" and form is not None and _DATE_FORM.fullmatch(form)
        if name not in fields or conversion or (form and not is_date_form):
            raise ValueError(
                f"{allowed}, and nothing else in braces but a form of the day, as {{day:%y%m%d}}"
            )


def is_dated(template: str) -> bool:
    """Return whether a template gives another location for each day."""
    return any(name == "day" for _, name, _, _ in Formatter().parse(template))


def days_in(template: str, day: date) -> list[str]:
    """Return the text of a day at each placeholder of a template."""
    return [
        format(day, form or "") for _, name, form, _ in Formatter().parse(template) if name == "day"
    ]


class _UrlsWithoutSecrets(logging.Filter):
    """Removes secrets from httpx's log lines, which show the whole URL of every request."""

    def filter(self, record: logging.LogRecord) -> bool:
        import httpx

        if isinstance(record.args, tuple):
            record.args = tuple(
                _public(str(value)) if isinstance(value, httpx.URL) else value
                for value in record.args
            )
        return True


def _public(url: str) -> str:
    try:
        return Endpoint.parse(url).public
    except ValueError:
        return HIDDEN


_FILTER = _UrlsWithoutSecrets()


def keep_secrets_out_of_httpx_log() -> None:
    """Make httpx log URLs without user, password and query, in the whole process."""
    logging.getLogger("httpx").addFilter(_FILTER)
