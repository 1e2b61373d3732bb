"""What a build server prints is kept and read by people without clearance: measured values go into a file there, or nowhere."""

from __future__ import annotations

import os
from pathlib import Path

from dpsynth.cli.options import Disclosure
from dpsynth.errors import ConfigError

_OFF = ("", "0", "false", "no")


def check_disclosure(disclosure: Disclosure, out: Path | None = None) -> None:
    """Refuse to print figures of real records where the environment says ``CI``. A file given by ``out`` is the caller's to guard."""
    if disclosure is Disclosure.REVIEWER and out is None and os.environ.get("CI", "").lower() not in _OFF:
        raise ConfigError(
            "disclosure=reviewer prints figures of real records and CI is set, so the log would keep them; "
            "write them to a guarded file with gate --out FILE, or leave the option out"
        )
