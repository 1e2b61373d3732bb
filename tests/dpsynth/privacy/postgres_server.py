"""A Postgres server of the test's own, from binaries that are on the machine; nothing is installed and no port is opened."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_NUMBERS = count(1)


class Server:
    """A running server that listens on a socket in its own folder."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self.binaries, self.folder, self._user = binaries, folder, user

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), "-D", str(self.folder / "data"), *arguments]
        more: dict[str, Any] = {} if self._user is None else {"user": self._user, "extra_groups": []}
        with (self.folder / "log").open("a") as log:
            done = subprocess.run(command, stdout=log, stderr=log, cwd=self.folder, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, **more)
        assert done.returncode == 0, (self.folder / "log").read_text()

    def start(self) -> None:
        self.run("pg_ctl", "-w", "-o", f"-c listen_addresses='' -c unix_socket_directories='{self.socket}'", "start")

    def crash(self) -> None:
        """End every process of the server at once, as a power cut would, as far as the database can tell."""
        self.run("pg_ctl", "-m", "immediate", "stop")

    def url(self, schema: str | None = None, user: str = "owner") -> str:
        """Where a new, empty place for a ledger is; or a known ``schema``, as another ``user``."""
        import psycopg

        if schema is None:
            schema = f"ledger_{next(_NUMBERS)}"
            with psycopg.connect(f"postgresql://owner@/postgres?host={self.socket}") as connection:
                connection.execute(f"CREATE SCHEMA {schema}")
        return f"postgresql://{user}:swordfish@/postgres?host={self.socket}&options=-csearch_path%3D{schema}"


@contextmanager
def running() -> Iterator[Server]:
    """A fresh server, stopped and removed afterwards; skips the test where none can be had."""
    pytest.importorskip("psycopg", reason="a ledger in Postgres needs the extra 'sql'")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no Postgres server is installed here (initdb, pg_ctl, postgres)")
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = next((name for name in ("postgres", "nobody") if name in names), None)
        if user is None:
            pytest.skip("running as root, and there is no other user to run the server as")
    # Not in pytest's folder: that one is closed to other users, and its path may be too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = Server(binaries, folder, user)
    started = False
    try:
        server.socket.mkdir()
        (folder / "log").touch()
        if user is not None:
            for path in (folder, server.socket):
                shutil.chown(path, user)
        server.run("initdb", "--username=owner", "--auth=trust", "--no-instructions", "--encoding=UTF8", "--no-sync")
        server.start()
        started = True
        yield server
    finally:
        if started:
            server.run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _binaries() -> Path | None:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name) if p.parent.name.isdigit() else 0)
    if found := shutil.which("initdb"):
        places.insert(0, Path(found).resolve().parent)
    return next((p for p in reversed(places) if all((p / name).exists() for name in ("initdb", "pg_ctl", "postgres"))), None)
