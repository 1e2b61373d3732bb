"""``dpsynth gate``: a policy's answer about evidence that exists. Reads no record; fit for a pipeline."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit
from dpsynth.cli.disclosure import check_disclosure
from dpsynth.cli.options import AsJson, Disclose, Disclosure, Force, PolicyName, WaiversPath
from dpsynth.cli.tables import check_free, write_text


class Format(StrEnum):
    """How the findings are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"
    GITHUB = "github"


class FailOn(StrEnum):
    """The lightest severity that denies."""

    WARN = "warn"
    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"
    BLOCKER = "blocker"


def command(
    evidence: Annotated[Path, typer.Argument(metavar="EVIDENCE", help="evidence.json from a bundle's internal/, or a bundle.")],
    policy: PolicyName,
    waivers: WaiversPath = None,
    style: Annotated[Format, typer.Option("--format", help="How the findings are written.")] = Format.TEXT,
    fail_on: Annotated[FailOn | None, typer.Option("--fail-on", help="Deny on lighter failures too. Default: as the policy says.")] = None,
    disclosure: Disclose = Disclosure.VERDICTS,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write to a file instead of stdout.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Decide whether a release may leave under a policy: 0 permitted, 1 denied, 3 indeterminate."""
    import policies

    # With --json the findings go to stdout even beside a file.
    check_disclosure(disclosure, None if as_json else out)
    if out is not None:
        check_free(out, force, reads=(evidence_file(evidence), policy, waivers))
    decision = policies.evaluate(
        policies.load_evidence(evidence_file(evidence)),
        policies.load(policy),
        waivers=policies.load_waivers(waivers) if waivers else (),
        now=datetime.now(UTC),
        fail_on=fail_on.value if fail_on else None,
    )
    if as_json and out is None:
        emit(decision.to_dict(disclosure.value))
        return decision.exit_code
    text = policies.render(decision, style.value, disclosure=disclosure.value)
    if out is not None:
        write_text(text, out, private=disclosure is Disclosure.REVIEWER)
        if as_json:
            emit(decision.to_dict(disclosure.value))
    else:
        # As it is: a formatter that wraps or colours would break what a machine reads.
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    return decision.exit_code


def evidence_file(path: Path) -> Path:
    """The evidence itself, or that of a bundle."""
    return path / "internal" / "evidence.json" if path.is_dir() else path
