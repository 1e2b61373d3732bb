"""Where answers of code audits are kept between releases: small files in the user's cache folder, each sealed with the user's key.

The seal tells a file that was damaged, edited or brought from elsewhere. It does not bind the user: who can write here can also read the
key, as they could change the program itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FORMAT = "dpsynth.code-audits/1"
_KEY_BYTES = 32


@dataclass(frozen=True)
class CodeAuditCache:
    """Answers by the digest of what they answer. Whatever cannot be read, or is not sealed by this user, is not there."""

    folder: Path

    @classmethod
    def of_user(cls) -> CodeAuditCache | None:
        """``$XDG_CACHE_HOME/dpsynth/code-audits``, or under ``~/.cache``; None for a user without a home, as in some containers."""
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():
            try:
                base = Path.home() / ".cache"
            except RuntimeError:
                return None
        return cls(base / "dpsynth" / "code-audits")

    def read(self, digest: str) -> dict[str, Any] | None:
        """What was written under ``digest``, or None."""
        raw, key = _private_bytes(self._path(digest)), self._key()
        if raw is None or key is None:
            return None
        try:
            document = json.loads(raw)
            seal, body = document.pop("seal"), document.pop("body")
        except (ValueError, KeyError, AttributeError):
            return None
        if not isinstance(seal, str) or not hmac.compare_digest(seal.encode(), _seal(key, digest, body).encode()):
            return None
        return body if isinstance(body, dict) else None

    def write(self, digest: str, body: Mapping[str, Any]) -> None:
        """Keep ``body`` under ``digest``. A folder that cannot be written costs the next release its time, and nothing else."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            key = self._key() or self._new_key()
            _write(self._path(digest), json.dumps({"seal": _seal(key, digest, body), "body": body}, sort_keys=True).encode())

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"

    def _key(self) -> bytes | None:
        key = _private_bytes(self.folder / "key")
        return key if key is not None and len(key) == _KEY_BYTES else None

    def _new_key(self) -> bytes:
        key = secrets.token_bytes(_KEY_BYTES)
        _write(self.folder / "key", key)
        return key


def _seal(key: bytes, digest: str, body: Any) -> str:
    text = json.dumps([_FORMAT, digest, body], sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _private_bytes(path: Path) -> bytes | None:
    """The content of a regular file that is this user's and that nobody else can write."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(handle)
            theirs = os.name == "posix" and (facts.st_uid != os.getuid() or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
            return None if theirs or not stat.S_ISREG(facts.st_mode) else file.read()
    except OSError:
        return None


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, readable by this user alone."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
