"""Reading a saved ``evidence.json``: as strict as a policy, and silent about what is in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from policies import documents
from policies.errors import PolicyError


def load_evidence(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The evidence in a file of at most 8 MB.

    Errors name the file and the place, never a value: evidence describes real people.
    """
    document = documents.read(Path(path), what="evidence", limit=documents.EVIDENCE_BYTES)
    if not isinstance(document, dict):
        raise PolicyError(f"evidence '{os.fspath(path)}' must be a JSON object")
    found = document.get("$schema")
    if found != "dpsynth.evidence/1":
        raise PolicyError(f"evidence '{os.fspath(path)}' at /$schema: it must be 'dpsynth.evidence/1'")
    return document
