"""What was released, from what, for whom and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.wording import NOT_STATED, ROWS_SOURCE, WHOLE_UNITS_SOURCE, num


def build(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of the release in reading order."""

    def said(path: str) -> str:
        return ev.text(ev.at(evidence, path)) or NOT_STATED

    rows = num(ev.at(evidence, "release.n_rows"), NOT_STATED)
    whole = ev.at(evidence, "release.whole_units") is True
    origin = (WHOLE_UNITS_SOURCE if whole else ROWS_SOURCE).get(ev.text(ev.at(evidence, "release.rows_source")) or "")
    columns = len(ev.records(ev.at(evidence, "schema.fields")))
    tool = " ".join(part for part in (ev.text(ev.at(evidence, "tool.name")), ev.text(ev.at(evidence, "tool.version"))) if part)
    facts = [
        ("Data set", said("release.dataset")),
        ("People behind it", said("release.population")),
        ("Purpose", said("release.purpose")),
        ("Recipient", said("release.recipient")),
        ("Synthetic rows", f"{rows} ({origin})" if origin and rows != NOT_STATED else rows),
        ("Columns", num(columns) if columns else NOT_STATED),
        ("Synthesizer", said("release.synthesizer")),
        ("Made with", tool or NOT_STATED),
        ("Created", said("release.created")),
    ]
    return {
        "id": ev.text(ev.at(evidence, "release.id")),
        "title": ev.text(ev.at(evidence, "release.title")) or "Untitled release",
        "sha256": ev.text(ev.at(evidence, "release.sha256")),
        "labelled": ev.at(evidence, "label.synthetic") is True,
        "facts": facts,
    }
