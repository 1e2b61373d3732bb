"""Case files: what a policy must decide, as JSON that an auditor can read and run.

A file names a policy and a piece of evidence; each case changes some of it and says the verdict or findings it expects.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from policies import documents
from policies.errors import PolicyError
from policies.evaluator import evaluate
from policies.loader import load, loads
from policies.waivers import read_waivers

# A case that does not say when is decided at this moment, so that no case file expires by itself.
_NOW = "2026-11-22T12:00:00Z"


@dataclass(frozen=True)
class CaseResult:
    """One case; ``problems`` is empty when the policy decided as written."""

    file: str
    description: str
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems


def run_cases(*paths: str | os.PathLike[str]) -> tuple[CaseResult, ...]:
    """Run the case files at ``paths``; of a folder, every ``*.json`` in it that is a case file."""
    files = [file for path in paths for file in _files(Path(path))]
    if not files:
        raise PolicyError(f"there is no case file at {', '.join(os.fspath(path) for path in paths) or 'no path'}")
    return tuple(result for file in files for result in _run(file))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.glob("*.json")):
        document = documents.read(file, what="case file", limit=documents.EVIDENCE_BYTES)
        if isinstance(document, dict) and document.get("$schema") == "dpsynth.policy-case/1":
            yield file


def _run(file: Path) -> Iterator[CaseResult]:
    what = f"case file '{file}'"
    document = documents.read(file, what="case file", limit=documents.EVIDENCE_BYTES)
    documents.validate(document, "case-1", what=what)
    named = document["policy"]
    if isinstance(named, dict):
        policy = loads(named, folder=file.parent)
    else:
        policy = load(file.parent / named if named.endswith(".json") else named)
    base = document["evidence"]
    if isinstance(base, str):
        base = documents.read(file.parent / base, what="evidence", limit=documents.EVIDENCE_BYTES)
    for case in document["cases"]:
        evidence = _changed(base, case, what)
        waivers = read_waivers({"$schema": "dpsynth.waivers/1", "waivers": case.get("waivers", [])}, what=what)
        decision = evaluate(
            evidence,
            policy,
            waivers=waivers,
            now=_moment(case.get("now") or document.get("now") or _NOW, what),
            fail_on=case.get("fail_on"),
        )
        problems = []
        if case.get("verdict", decision.verdict) != decision.verdict:
            kept = ", ".join(f.rule for f in decision.findings if f.blocking) or "none"
            problems.append(f"verdict is {decision.verdict}, not {case['verdict']}; kept back by {kept}")
        found = {finding.rule: finding.status for finding in decision.findings}
        for rule, status in case.get("findings", {}).items():
            if found.get(rule) != status:
                problems.append(f"{rule} is {found.get(rule, 'not a rule of the policy')}, not {status}")
        yield CaseResult(file.name, f"{document['description']}: {case['description']}", tuple(problems))


def _changed(base: Any, case: Mapping[str, Any], what: str) -> dict[str, Any]:
    if not isinstance(base, dict):
        raise PolicyError(f"{what}: evidence must be a JSON object")
    out = copy.deepcopy(base)
    for path, value in case.get("set", {}).items():
        node, last = _parent(out, path, what)
        node[last] = value
    for path in case.get("unset", []):
        node, last = _parent(out, path, what)
        if last not in node:
            raise PolicyError(f"{what}: unset '{path}' names nothing in the evidence")
        del node[last]
    return out


def _parent(document: dict[str, Any], path: str, what: str) -> tuple[dict[str, Any], str]:
    *parts, last = path.split(".")
    node = document
    for part in parts:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise PolicyError(f"{what}: '{path}' goes through something that is not an object")
    return node, last


def _moment(text: str, what: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PolicyError(f"{what}: now='{text}' is not a date and time") from None
    if moment.tzinfo is None:
        raise PolicyError(f"{what}: now='{text}' has no time zone")
    return moment
