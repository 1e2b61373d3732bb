"""The two folders of a release, written whole or not at all: ``public/`` from a whitelist, ``internal/`` for the rest.

A bundle is built in a hidden folder beside its destination and renamed at the end. A refused release has no public one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dpsynth.errors import OutputError
from dpsynth.mixing import refuse_real_records

CERTIFICATE: Final = "certificate.dsse.json"
SVR: Final = "svr.dsse.json"
SUMS: Final = "SHA256SUMS"
COMMITMENT: Final = "commitment.json"
ENVELOPES: Final = (CERTIFICATE, SVR)  # written last: they hold the digests of all other public files, so not their own

# Everything that may ever be public, and what the README says about it. A new kind of file is one line here.
PUBLIC: Final[Mapping[str, str]] = {
    "README.md": "this page",
    "VERIFY.md": "how to check that nothing was changed",
    "synthetic.parquet": "the synthetic records, Parquet",
    "synthetic.csv": "the same records, CSV",
    "datapackage.json": "the data dictionary (Frictionless Data Package)",
    "croissant.json": "the same for data catalogues (Croissant metadata)",
    "DATASHEET.md": "questions and answers about the table; blanks are for people",
    "deployment.yaml": "a draft record for the OpenDP deployments registry",
    "report.html": "the public report",
    SUMS: "SHA-256 of the files above",
    CERTIFICATE: "the certificate (in-toto statement, DSSE envelope)",
    SVR: "the same verdict as an in-toto Simple Verification Result",
}
_INTERNAL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Bundle:
    """Where a finished bundle is. ``public`` is None for a refused release."""

    root: Path
    public: Path | None
    internal: Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class BundleWriter:
    """Builds a bundle at ``out``. Use it as a context manager: leaving without ``finish`` removes every trace.

    >>> import tempfile
    >>> with BundleWriter(Path(tempfile.mkdtemp()) / "claims") as writer:
    ...     writer.write_internal("decision.json", "{}")
    ...     writer.refuse()
    ...     bundle = writer.finish()
    >>> sorted(p.name for p in bundle.root.iterdir())
    ['internal']
    """

    def __init__(self, out: str | os.PathLike[str], *, force: bool = False) -> None:
        """Claim ``out``. It must not exist, or with ``force`` be an earlier bundle, which is replaced at the end."""
        self.out = Path(out).absolute()
        self._force = force
        self._refused = self._sealed = self._finished = False
        self._check_destination()
        self._draft = self.out.with_name(f".{self.out.name}.{uuid.uuid4().hex[:12]}.partial")
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._draft.mkdir(mode=0o700)
            (self._draft / "public").mkdir(mode=0o755)
            (self._draft / "internal").mkdir(mode=0o700)
        except OSError as error:
            self.discard()
            raise _cannot_write(self.out.parent, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()

    def public_path(self, name: str) -> Path:
        """Where to write the public file ``name`` oneself: on the whitelist; after ``seal``, the envelopes."""
        if name not in PUBLIC:
            raise OutputError(f"'{name}' is not on the list of public files; write it with write_internal")
        if self._refused:
            raise OutputError(f"'{name}' cannot be public: the release was refused")
        if self._sealed != (name in ENVELOPES):
            when = "after" if name in ENVELOPES else "before"
            raise OutputError(f"'{name}' must be written {when} seal()")
        return self._draft / "public" / name

    def internal_path(self, name: str) -> Path:
        """Where to write the internal file ``name`` oneself."""
        if not _INTERNAL_NAME.fullmatch(name):
            raise OutputError(f"internal file name '{name}' must be plain letters, digits, dots, hyphens")
        return self._draft / "internal" / name

    def write_public(self, name: str, content: bytes | str | Path) -> None:
        """Write a public file: its bytes, its text, or a file to copy."""
        _write(self.public_path(name), content, 0o644)

    def write_internal(self, name: str, content: bytes | str | Path) -> None:
        """Write an internal file: its bytes, its text, or a file to copy. Only the owner can read it."""
        _write(self.internal_path(name), content, 0o600)

    def seal(self) -> dict[str, str]:
        """Close ``public/`` but for the certificate: write SHA256SUMS and return name -> SHA-256 of each file."""
        self.public_path(SUMS)
        for table in (path for path in (self._draft / "public").iterdir() if path.suffix in (".parquet", ".csv")):
            refuse_real_records(table)
        digests = {path.name: sha256_of(path) for path in sorted((self._draft / "public").iterdir())}
        self.write_public(SUMS, sums_text(digests))
        self._sealed = True
        return {**digests, SUMS: sha256_of(self._draft / "public" / SUMS)}

    def commit_internal(self) -> str:
        """Keyed digest of every internal file so far; key and digests go to ``internal/commitment.json``.

        The certificate carries it, so that evidence swapped later shows. The key is random, so it confirms no guess.
        """
        internal = self._draft / "internal"
        files = {path.name: sha256_of(path) for path in sorted(internal.iterdir())}
        key = secrets.token_bytes(32)
        self.write_internal(COMMITMENT, json.dumps({"key": key.hex(), "files": files}, indent=1) + "\n")
        return commitment(key, files)

    def refuse(self, *, keep: Iterable[str] = ()) -> None:
        """Make this the bundle of a refused release: what was written to ``public/`` goes, and nothing can be added.

        The public files named by ``keep`` move to ``internal/``.
        """
        for name in keep:
            self.public_path(name).rename(self.internal_path(name))
        shutil.rmtree(self._draft / "public", ignore_errors=True)
        self._refused = True

    def finish(self) -> Bundle:
        """Put the bundle in its place and return it. Unless it was refused, it must hold its certificate by now."""
        missing = [] if self._refused else [n for n in ENVELOPES if not (self._draft / "public" / n).is_file()]
        if missing:
            raise OutputError(f"the public bundle has no {missing[0]}; a release is certified or refused")
        try:
            for folder, mode in (("public", 0o644), ("internal", 0o600)):
                for path in sorted((self._draft / folder).glob("*")):
                    path.chmod(mode)
                    _sync(path)
                if (self._draft / folder).is_dir():
                    _sync(self._draft / folder)
            self._draft.chmod(0o755)
            self._check_destination()
            self._move_into_place()
            _sync(self.out.parent)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise _cannot_write(self.out, error) from None
        self._finished = True
        return Bundle(self.out, None if self._refused else self.out / "public", self.out / "internal")

    def discard(self) -> None:
        """Remove what was built, unless it is finished."""
        if not self._finished:
            shutil.rmtree(self._draft, ignore_errors=True)

    def _check_destination(self) -> None:
        if not os.path.lexists(self.out):
            return
        if not self._force:
            raise OutputError(f"output folder {self.out} exists; choose another, or --force to replace it")
        # --force must never wipe a folder that merely happens to bear the name.
        is_folder = self.out.is_dir() and not self.out.is_symlink()
        if not is_folder or {path.name for path in self.out.iterdir()} - {"public", "internal"}:
            raise OutputError(f"output folder {self.out} is not an earlier bundle; --force leaves it alone")

    def _move_into_place(self) -> None:
        """Rename. No folder is replaced in one step, so an earlier bundle steps aside first, and back if that fails."""
        if not self.out.exists():
            self._draft.rename(self.out)
            return
        aside = self.out.with_name(f".{self.out.name}.{uuid.uuid4().hex[:12]}.old")
        self.out.rename(aside)
        try:
            self._draft.rename(self.out)
        except OSError:
            aside.rename(self.out)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def sums_text(digests: Mapping[str, str]) -> str:
    """The content of SHA256SUMS, as ``sha256sum --check`` reads it."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def commitment(key: bytes, files: Mapping[str, str]) -> str:
    """HMAC-SHA-256 of the names and digests of the internal files."""
    message = json.dumps(dict(sorted(files.items())), separators=(",", ":")).encode()
    return hmac.new(key, message, "sha256").hexdigest()


def _write(path: Path, content: bytes | str | Path, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), mode)
        with os.fdopen(descriptor, "wb") as file:
            if isinstance(content, Path):
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file)
            else:
                file.write(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        raise _cannot_write(path, error) from None


def _sync(path: Path) -> None:
    """Have the disk hold ``path`` before the rename that makes it visible."""
    if os.name != "posix" and path.is_dir():
        return  # only POSIX opens folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} cannot be written: {error.strerror or type(error).__name__}")
