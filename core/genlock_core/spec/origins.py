"""Origins of web pages (RFC 6454), as a session's owner names them and as browsers send them.

A browser sends `Origin: https://www.example.org`, or `null` for a page that has none: a file, a sandboxed frame.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

ANY: Final = "*"
"""Every page, also one whose origin is `null`."""
MAX_ORIGINS: Final = 16
MAX_ORIGIN_CHARS: Final = 270
"""https:// and a host name of 253 characters and a port."""

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_PATTERN = rf"^(\*|https?://({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\])(:[1-9][0-9]{{0,4}})?)$"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def checked_origin(text: str) -> str:
    """The text, if it is `*` or an origin: scheme, host and perhaps a port, nothing behind them. Raises ValueError."""
    if not re.fullmatch(_PATTERN, text):
        raise ValueError(
            f"must be {ANY} or an origin in small letters, such as https://www.example.org or http://192.0.2.1:8000, "
            "without a path"
        )
    return text


Origin = Annotated[
    str,
    Field(
        max_length=MAX_ORIGIN_CHARS,
        description="https://HOST, https://HOST:PORT, the same with http, or * for every page.",
        json_schema_extra={"pattern": _PATTERN},
    ),
    AfterValidator(checked_origin),
]
"""An origin, or `*`."""


def is_among(origin: str, named: Iterable[str]) -> bool:
    """Whether a browser's `Origin` is one of those that were named; `null`, and what is no origin, only by `*`."""
    asking = _parts(origin)
    return any(one == ANY or (asking is not None and _parts(one) == asking) for one in named)


def _parts(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port, so that a default port may be written or left out; None for what is no origin."""
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return None
    if url.scheme not in _DEFAULT_PORTS or not url.hostname or origin.count("/") != 2 or url.username is not None:
        return None
    return url.scheme, url.hostname, _DEFAULT_PORTS[url.scheme] if port is None else port
