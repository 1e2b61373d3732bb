"""The decision as GitHub workflow commands: annotations on the run, one per rule that does not simply hold."""

from __future__ import annotations

import json

from policies.decision import Decision
from policies.outputs.text import printable

_COMMANDS = {"fail": "error", "indeterminate": "error", "warn": "warning", "waived": "notice"}


def render_github(decision: Decision, disclosure: str) -> str:
    """One line per command: text from evidence loses its line breaks, so that it cannot start a command of its own."""
    lines = []
    for finding in decision.findings:
        command = _COMMANDS.get(finding.status)
        if command is None:
            continue
        message = f"{finding.status} ({finding.severity}) {finding.metric}: {finding.message}"
        if finding.hint:
            message += f". To do: {finding.hint}"
        if disclosure == "reviewer":
            message += f". Measured: {json.dumps(finding.value)}"
        lines.append(f"::{command} title={_property(f'{finding.rule} {finding.title}')}::{_data(message)}")
    policy = decision.policy
    summary = f"{decision.verdict}: policy {policy['id']}@{policy['version']}, exit code {decision.exit_code}"
    lines.append(f"::{'notice' if decision.permitted else 'error'} title=dpsynth gate::{_data(summary)}")
    return "\n".join(lines) + "\n"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
