"""Attack a synthetic table, or the mechanism that made it, and say what could have been caught.

A leaf: tables, transcripts and plain claims in, answers out. It certifies nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audits.result import AuditError, AuditInput, AuditResult, Claim, Column, Mechanism, Verdict
from audits.suite import SuiteResult, audit_mechanism, overall, run

if TYPE_CHECKING:
    from audits.direct_identifiers import scan_content
    from audits.fidelity import measure_fidelity
    from audits.registry import AUDITS
    from audits.similarity import measure_similarity
    from audits.tables import infer_columns
    from audits.text_columns import typed

__all__ = [
    "AUDITS",
    "AuditError",
    "AuditInput",
    "AuditResult",
    "Claim",
    "Column",
    "Mechanism",
    "SuiteResult",
    "Verdict",
    "audit_mechanism",
    "infer_columns",
    "measure_fidelity",
    "measure_similarity",
    "overall",
    "run",
    "scan_content",
    "typed",
]

# Found on first use: these modules import SciPy, which a command that audits nothing should not wait for.
_LATER = {
    "AUDITS": "registry",
    "infer_columns": "tables",
    "measure_fidelity": "fidelity",
    "measure_similarity": "similarity",
    "scan_content": "direct_identifiers",
    "typed": "text_columns",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
