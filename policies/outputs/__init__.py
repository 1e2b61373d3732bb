"""A decision as the formats that gates read. Every one shows verdicts only unless asked for ``disclosure="reviewer"``.

What a build server keeps is a publication: measured values belong in a file that a cleared person opens.
"""

from __future__ import annotations

from collections.abc import Callable

from policies.decision import Decision, check_disclosure
from policies.errors import PolicyError
from policies.outputs.github import render_github
from policies.outputs.json_document import render_json
from policies.outputs.junit import render_junit
from policies.outputs.sarif import render_sarif
from policies.outputs.text import render_text

RENDERERS: dict[str, Callable[[Decision, str], str]] = {
    "github": render_github,
    "json": render_json,
    "junit": render_junit,
    "sarif": render_sarif,
    "text": render_text,
}


def render(decision: Decision, output: str = "text", *, disclosure: str = "verdicts") -> str:
    """``decision`` as ``output``: text, json, sarif, junit or github. ``disclosure`` is verdicts or reviewer."""
    if output not in RENDERERS:
        raise PolicyError(f"output='{output}' must be one of {', '.join(RENDERERS)}")
    return RENDERERS[output](decision, check_disclosure(disclosure))


__all__ = ["RENDERERS", "render"]
