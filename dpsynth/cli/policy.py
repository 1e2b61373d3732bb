"""``dpsynth policy``: read, explain, check and compare policies. None of it reads a record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dpsynth.cli.console import emit, panel, say, table
from dpsynth.cli.exits import DENIED, OK
from dpsynth.cli.gate import evidence_file
from dpsynth.cli.options import AsJson

group = typer.Typer(no_args_is_help=True, help="The written rules of release.")

Name = Annotated[str, typer.Argument(metavar="POLICY", help="A shipped policy or a policy file.")]


@group.command("list")
def list_(as_json: AsJson = False) -> int:
    """The policies that come with the package."""
    import policies

    loaded = [policies.load(name) for name in policies.names()]
    if as_json:
        emit(
            {
                "policies": [
                    {"name": p.name, "version": p.version, "title": p.title, "rules": len(p.rules), "digest": p.digest} for p in loaded
                ]
            }
        )
        return OK
    table(("policy", "version", "rules#", "for"), [(p.name, p.version, len(p.rules), p.title) for p in loaded])
    return OK


@group.command("show")
def show(policy: Name, as_json: AsJson = False) -> int:
    """Every rule in force, with where its threshold comes from."""
    import policies

    loaded = policies.load(policy)
    if as_json:
        emit(policies.effective(loaded))
        return OK
    say(f"{loaded.id}  {loaded.title}\n{loaded.digest}\nmade of {', '.join(loaded.chain)}; denies on {loaded.fail_on} and above\n")
    table(
        ("rule", "what must hold", "severity", "set by", "source"),
        [
            (
                rule.id,
                f"{rule.metric} {_limit(rule)}",
                rule.severity,
                _origin(rule, loaded.files),
                f"{rule.source.kind}: {rule.source.text}",
            )
            for rule in loaded.rules
        ],
    )
    say("")
    table(
        ("term", "value", "source"),
        [
            (
                f"{section}.{term}",
                str(value),
                f"{source.kind}: {source.text}" if (source := loaded.sources.get(f"{section}.{term}")) else "",
            )
            for section in ("budget", "defaults", "waivers")
            for term, value in loaded.document[section].items()
            if isinstance(value, str | int | float)
        ],
    )
    return OK


@group.command("explain")
def explain(
    policy: Name,
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A rule by its id, e.g. DP-001.")],
    as_json: AsJson = False,
) -> int:
    """What one rule asks, why, and what to do when it fails."""
    import policies

    loaded = policies.load(policy)
    text = policies.explain(loaded, rule)
    if as_json:
        emit({"policy": loaded.id, "rule": loaded.rule(rule).id, "explanation": text})
    else:
        say(text.rstrip("\n"))
    return OK


@group.command("lint")
def lint(policy: Name, as_json: AsJson = False) -> int:
    """Check a policy file and give advice. Errors exit with 2; advice does not."""
    import policies

    loaded = policies.load(policy)
    advice = [f"{item.rule}: {item.message}" if item.rule else item.message for item in policies.lint(loaded)]
    if as_json:
        emit({"policy": loaded.id, "digest": loaded.digest, "advice": advice, "exit_code": OK})
        return OK
    panel(
        "POLICY IS VALID",
        [("policy", loaded.id), ("rules", str(len(loaded.rules))), ("digest", loaded.digest)],
        style="green",
    )
    for line in advice:
        say(f"advice: {line}")
    return OK


@group.command("diff")
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A policy.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Another.")],
    evidence: Annotated[
        list[Path] | None,
        typer.Option("--evidence", metavar="FILE", help="Past evidence, or bundles, to replay under both. May be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """What changed between two policies, and which past releases they would decide differently."""
    import policies

    past = [policies.load_evidence(evidence_file(path)) for path in evidence or []]
    found = policies.diff(policies.load(old), policies.load(new), past, now=datetime.now(UTC))
    if as_json:
        emit(found.to_dict())
        return OK
    say(found.sentence)
    if found.changes:
        say("")
        table(
            ("rule", "change", "in"),
            [(change.rule, change.direction, ", ".join(change.parts)) for change in found.changes],
        )
    for term in found.terms:
        say(f"term {term}")
    if found.replays:
        say("")
        table(
            ("release", found.before, found.after, "newly kept back by"),
            [(replay.release, replay.before, replay.after, ", ".join(replay.rules)) for replay in found.replays],
        )
    return OK


@group.command("test")
def test(
    cases: Annotated[
        list[Path],
        typer.Argument(metavar="CASES...", help="Case files, or folders of them: evidence and the findings it must give."),
    ],
    as_json: AsJson = False,
) -> int:
    """Run case files against the policies they name; 1 if one gives another finding than it says."""
    import policies

    results = policies.run_cases(*cases)
    failed = [result for result in results if not result.passed]
    code = DENIED if failed else OK
    if as_json:
        told = [{"file": r.file, "case": r.description, "passed": r.passed, "problems": list(r.problems)} for r in results]
        emit({"cases": told, "failed": len(failed), "exit_code": code})
        return code
    for result in failed:
        say(f"{result.file}: {result.description}: {'; '.join(result.problems)}")
    say(f"{len(results) - len(failed)} cases as expected, {len(failed)} not")
    return code


def _origin(rule: Any, files: Mapping[str, str]) -> str:
    """The policy that the threshold comes from, or its file where it is not shipped."""
    name = rule.origin.get("value", rule.origin.get("ref", rule.origin.get("rule", "")))
    return Path(files[name]).name if name in files else name.partition("@")[0]


def _limit(rule: Any) -> str:
    if rule.op == "report_only":
        return "is reported"
    if rule.ref:
        return f"{rule.op} {rule.ref}"
    if isinstance(rule.value, list):
        return f"{rule.op} " + (", ".join(map(str, rule.value)) or "nothing")
    return f"{rule.op} {rule.value if isinstance(rule.value, str) else json.dumps(rule.value)}"
