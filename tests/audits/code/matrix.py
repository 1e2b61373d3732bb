"""Prints the table of docs/audit-power.md, defect by audit: ``python -m tests.audits.code.matrix``."""

from __future__ import annotations

import sys

import pandas as pd

from audits.code.eprocess import noise_eprocess
from audits.code.likelihood import transcript_likelihood
from audits.code.recomposition import recomposition
from audits.code.record_replay import record_replay
from audits.code.residuals import residual_calibration
from audits.code.toy import Toy
from audits.result import AuditInput
from tests.audits.code.reference import COLUMNS, DEFECTS, NON_DEFECTS, Reference, claim, transcript

AUDITS = (recomposition, record_replay, residual_calibration, noise_eprocess, transcript_likelihood)
MARKS = {"VIOLATION": "**caught**", "NOT_FALSIFIED": "–", "INCONCLUSIVE": "cannot play"}


def row(defect: str | None, tier: str) -> str:
    """One line of the table: the verdict of each audit."""
    neighbours = "replace_one" if str(defect).startswith("replace_one") else "add_remove"
    mechanism = Reference(claim(0.2, 3, neighbours), defect)
    toy = Toy(COLUMNS, "person", 3)
    written = transcript(mechanism, toy.frame(toy.units(40, 0)))
    inp = AuditInput(pd.DataFrame(), COLUMNS, transcript=written, claim=mechanism.claim, mechanism=mechanism, tier=tier)
    marks = [MARKS[str(audit(inp).verdict)] for audit in AUDITS]
    return f"| {defect or 'none'} | {' | '.join(marks)} |"


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "smoke"
    sys.stdout.write("| defect | " + " | ".join(audit.__name__ for audit in AUDITS) + " |\n|" + "---|" * 6 + "\n")
    for name in (None, *NON_DEFECTS, *DEFECTS):
        sys.stdout.write(row(name, chosen) + "\n")
        sys.stdout.flush()
