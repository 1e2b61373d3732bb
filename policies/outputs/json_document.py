"""The decision as one JSON object after ``policies/schemas/decision-1.schema.json``."""

from __future__ import annotations

import json

from policies.decision import Decision


def render_json(decision: Decision, disclosure: str) -> str:
    """Indented JSON with a final newline."""
    return json.dumps(decision.to_dict(disclosure), indent=2, ensure_ascii=True, allow_nan=False) + "\n"
