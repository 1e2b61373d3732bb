"""Which addresses may become links: https only, so that no evidence string smuggles in a script or a file address."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit


def safe_url(value: Any) -> str | None:
    """The address if it is a plain https one with a host, else None."""
    if not isinstance(value, str) or len(value) > 500 or not value.isprintable() or any(c in value for c in " \"'<>\\`{}"):
        return None
    try:
        parts = urlsplit(value)
        host, user = parts.hostname, parts.username
    except ValueError:
        return None
    return value if parts.scheme == "https" and host and user is None else None
