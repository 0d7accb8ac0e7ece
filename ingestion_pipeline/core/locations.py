"""Where upstream data is: an address or a template of one, and what of it may be shown.

Belongs here: taking a URL apart, keeping its secrets out of messages and logs, and the form of
templates. Does not belong here: asking for anything (`osm/`, `helpers/`).
"""

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
"""How the day may be written in a template: parts of a date, and text between them."""

DEFAULT_PORTS = {"http": 80, "https": 443}
HIDDEN = "***"


_NOT_HTTP = "it is not of the form http(s)://host[:port]/path"


def http_parts(url: str) -> tuple[SplitResult, int]:
    """Take an http(s) URL apart, and give its port.

    Raises:
        ValueError: It is not an http(s) URL with a host, or the host is a placeholder such as
            `...`. The message does not repeat the URL, because it may hold a password.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        raise ValueError(_NOT_HTTP) from None
    # A name may end with a dot (the root), and has no empty label otherwise.
    labels = (parts.hostname or "").removesuffix(".").split(".")
    if port is None or parts.scheme not in DEFAULT_PORTS or not all(labels):
        raise ValueError(_NOT_HTTP)
    return parts, port


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


def redacted(location: str) -> str:
    """Take user, password, query and fragment out of a URL; a path stays as it is."""
    return "::".join(_without_secrets(part) for part in location.split("::"))


def _without_secrets(url: str) -> str:
    if "://" not in url:
        return url
    scheme, netloc, path, _, _ = urlsplit(url)
    return urlunsplit((scheme, netloc.rpartition("@")[2], path, "", ""))


def require_template(template: str, *, allowed: str, fields: Collection[str]) -> None:
    """Refuse a template that holds anything else in braces than these fields.

    `{day}` may have a form, such as `{day:%y%m%d}`.

    Args:
        template: A path or URL.
        allowed: What is allowed, for the message.
        fields: The names that may stand in braces.

    Raises:
        ValueError: It holds something else.
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
    """Tell whether a template names another file for each day."""
    return any(name == "day" for _, name, _, _ in Formatter().parse(template))


def days_in(template: str, day: date) -> list[str]:
    """Give the texts that a template writes for a day, one for each place where it names it."""
    return [
        format(day, form or "") for _, name, form, _ in Formatter().parse(template) if name == "day"
    ]


class _UrlsWithoutSecrets(logging.Filter):
    """httpx logs the URL of every request, query included, at level INFO."""

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
    """Have httpx log URLs without user, password and query, in this whole process."""
    logging.getLogger("httpx").addFilter(_FILTER)
