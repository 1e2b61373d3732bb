"""``dpsynth report``: one HTML file from saved evidence. The same evidence gives the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dpsynth.cli.console import emit, say
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson, Force
from dpsynth.cli.tables import check_free, write_text
from dpsynth.errors import InputError


def command(
    source: Annotated[
        Path,
        typer.Argument(metavar="BUNDLE", help="A bundle with its internal/, or an evidence.json beside a decision.json."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the HTML goes.")],
    public: Annotated[bool, typer.Option("--public", help="The report without a figure of real records.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Draw the report of a release again."""
    import reports
    from dpsynth import certificate
    from dpsynth.bundle import CERTIFICATE

    internal = source / "internal" if source.is_dir() else source.parent
    evidence_file, decision_file = internal / "evidence.json" if source.is_dir() else source, internal / "decision.json"
    check_free(out, force, reads=(evidence_file, decision_file))
    evidence, decision = _json(evidence_file, "evidence"), _json(decision_file, "decision")
    envelope = internal.parent / "public" / CERTIFICATE
    statement = certificate.read(envelope) if envelope.exists() else None
    audience = "public" if public else "reviewer"
    write_text(reports.render(evidence, decision, statement, audience=audience), out)
    if as_json:
        emit({"out": str(out), "audience": audience, "exit_code": OK})
    else:
        say(f"{audience} report in {out}" + ("" if public else "  (internal: holds figures of real records)"))
    return OK


def _json(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{what} {str(path)!r} cannot be read") from None
    except ValueError:
        raise InputError(f"{what} {str(path)!r} is not JSON") from None
    except RecursionError:
        raise InputError(f"{what} {str(path)!r} is nested too deeply") from None
