"""``dpsynth verify``: offline, from the bundle alone; names the first file that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpsynth.cli.console import emit, panel
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson
from dpsynth.errors import ConfigError

if TYPE_CHECKING:
    from dpsynth.certificate import VerificationReport

_INTERNAL = {
    "rederived": "certified files, and they give the same verdict again",
    "matched": "certified files; they hold no evidence to judge again",
    "absent": "not here, so the verdict was not derived again",
}


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle folder, or its public/ as you received it.")],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="[ROLE=]FILE", help="A public key that must have signed, in that role. May be repeated."),
    ] = None,
    revocations: Annotated[
        Path | None,
        typer.Option("--revocations", metavar="FILE", help="Releases and keys that were taken back. See: dpsynth revoke."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check every file and signature of a bundle. Exit code 5 names the first thing that is wrong."""
    from dpsynth import certificate

    taken_back = () if revocations is None else certificate.read_revocations(revocations)
    report = certificate.verify(bundle, keys=_keys(key or []), revocations=taken_back)
    if as_json:
        emit({**report.to_dict(), "exit_code": OK})
        return OK
    rows = [
        ("release", report.release),
        ("files", f"{report.files} in public/, each as certified"),
        *signers(report),
        *([("replaces", replaced)] if (replaced := report.statement["predicate"]["release"]["supersedes"]) else []),
        *([] if revocations is None else [("revocations", f"{len(taken_back)} looked at, none against this release")]),
        ("internal/", _INTERNAL[report.internal]),
        *(("but", warning) for warning in report.warnings),
    ]
    panel("BUNDLE VERIFIED", rows, style="yellow" if report.warnings else "green")
    return OK


def signers(report: VerificationReport) -> list[tuple[str, str]]:
    """One row per signature."""
    return [
        ("signed by", f"{s.role} on {s.date}, key {s.keyid[:16]}" + (", a key you gave" if s.trusted else "")) for s in report.signers
    ] or [("signed by", "nobody")]


def _keys(given: list[str]) -> Sequence[str] | Mapping[str, str]:
    """Paths, or paths by role when each names one."""
    pairs = [(role, file) for role, equals, file in (item.partition("=") for item in given) if equals]
    if not pairs:
        return given
    if len(pairs) != len(given):
        raise ConfigError("give every --key a role, or none")
    if len(dict(pairs)) != len(pairs):
        raise ConfigError("two keys in one role; a role is signed once")
    return dict(pairs)
