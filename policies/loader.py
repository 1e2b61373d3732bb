"""From a name or a file to a ``Policy``: strict parsing, our own schema, known metrics, pinned parents, nothing
loosened.

Every policy stands on ``core``, whether or not it says so: a falsified claim, seeded or watched noise, and audits of
another table are refused by all of them and cannot be waived.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from policies import documents
from policies.errors import PolicyError
from policies.metrics import AUDIT_NAMES, VERDICTS, Kind, full_path, metric, to_number
from policies.operators import JUDGES
from policies.overlays import fill, join_terms, loosened, put_rule, put_terms
from policies.policy import Policy

CORE = "core"
_PIN = re.compile(r"(?P<name>[^@#]+)@(?P<version>[0-9.]+)(#(?P<digest>sha256:[0-9a-f]{64}))?")
_SHIPPED_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MAX_CHAIN = 8


def names() -> tuple[str, ...]:
    """The policies that come with this package, sorted. ``core``, on which all stand, is not one to choose."""
    found = (item.name for item in resources.files("policies").joinpath("shipped").iterdir())
    return tuple(sorted(n.removesuffix(".json") for n in found if n.endswith(".json") and n != f"{CORE}.json"))


def load(name_or_path: str | os.PathLike[str]) -> Policy:
    """A shipped policy by name, or a policy file by path (one that ends in ``.json`` or has a folder in it).

    >>> load("healthcare-public").rule("DP-001").value
    5.0
    """
    ref = os.fspath(name_or_path)
    if _is_path(ref):
        path = Path(ref)
        return _Loader().policy(documents.read(path, what="policy"), what=f"policy '{ref}'", folder=path.parent, file=ref)
    return Policy(copy.deepcopy(_shipped_effective(ref)))


def loads(text: str | bytes | Mapping[str, Any], *, folder: str | os.PathLike[str] | None = None) -> Policy:
    """A policy from JSON text or an already parsed document; ``folder`` is where the files it extends are looked up."""
    what = "policy"
    if isinstance(text, Mapping):
        try:
            text = documents.canonical(dict(text))  # through the strict parser, which sees NaN and odd types
        except (TypeError, ValueError):
            raise PolicyError(f"{what} is not JSON: it has a value that JSON cannot write") from None
    return _Loader().policy(documents.parse(text, what=what), what=what, folder=Path(folder or "."), file=None)


def effective(policy: Policy) -> dict[str, Any]:
    """The policy with every parent laid in, as a document that loads again.

    Each rule's ``origin`` and ``files`` say where its parts come from; ``digest`` makes a later change of the file an
    error.
    """
    return {**policy.to_dict(), "digest": policy.digest, "files": dict(policy.files)}


def restore(document: Mapping[str, Any]) -> Policy:
    """The policy of an ``effective`` document as it was in force then, to derive a past verdict again.

    It is not held against the ``core`` of this version, which may be tighter by now: whoever decides anything new uses `loads`.
    """
    what = "policy"
    try:
        text = documents.canonical(dict(document))
    except (TypeError, ValueError):
        raise PolicyError(f"{what} is not JSON: it has a value that JSON cannot write") from None
    parsed = documents.parse(text, what=what)
    documents.validate(parsed, "policy-1", what=what)
    _check_rules(parsed, what)
    if missing := sorted({*_EMPTY, "digest"} - set(parsed)):
        raise PolicyError(f"{what} is not an effective one: it has no {', '.join(missing)}")
    body = {name: part for name, part in parsed.items() if name not in ("digest", "files")}
    if parsed["digest"] != (actual := documents.digest(body)):
        raise PolicyError(f"{what} at /digest: the policy has digest {actual}, so it was changed after it was written")
    return Policy(body)


@dataclass
class _Loader:
    """State of one load: the documents open above this one, and where each policy was read."""

    stack: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def policy(self, document: Any, *, what: str, folder: Path | None, file: str | None) -> Policy:
        return Policy(self.effective(document, what=what, folder=folder, file=file), dict(self.files))

    def effective(self, document: Any, *, what: str, folder: Path | None, file: str | None) -> dict[str, Any]:
        """``folder`` None means a shipped document: its parents come with it, so that their version pins them."""
        documents.validate(document, "policy-1", what=what)
        me = f"{document['policy']}@{document['version']}"
        if me in self.stack:
            raise PolicyError(f"{what} extends itself: {' > '.join([*self.stack, me])}")
        if len(self.stack) >= _MAX_CHAIN:
            raise PolicyError(f"{what} stands on more than {_MAX_CHAIN} policies")
        _check_rules(document, what)
        if file:
            self.files[me] = file
        self.stack.append(me)
        is_core = document["policy"] == CORE and folder is None
        under = _EMPTY if is_core else _shipped_effective(CORE)
        for i, pin in enumerate(document.get("extends", ())):
            parent = self.parent(pin, where=f"{what} at /extends/{i}", folder=folder)
            under = _join(under, parent, where=what)
        self.stack.pop()
        out = _overlay(document, under, me, what)
        if document.get("digest", actual := documents.digest(out)) != actual:
            raise PolicyError(f"{what} at /digest: the policy has digest {actual}, so it was changed after it was written")
        return out

    def parent(self, pin: str, *, where: str, folder: Path | None) -> dict[str, Any]:
        match = _PIN.fullmatch(pin)
        if match is None:
            raise PolicyError(f"{where}: '{pin}' must be name@version#sha256:digest")
        name, wanted = match["name"], match["digest"]
        if "://" in name or name.startswith(("//", "\\\\")):
            raise PolicyError(f"{where}: '{name}' is remote; extend a shipped policy or a local file")
        if _is_path(name) and folder is None:
            raise PolicyError(f"{where}: a shipped policy extends shipped policies only")
        try:
            if folder is not None and _is_path(name):
                path = folder / name
                found = self.effective(documents.read(path, what="policy"), what=f"policy '{name}'", folder=path.parent, file=str(path))
            else:
                found = _shipped_effective(name)
        except PolicyError as error:
            raise PolicyError(f"{where}: {error}") from None
        if found["version"] != match["version"]:
            raise PolicyError(f"{where}: '{name}' has version {found['version']}, not {match['version']}")
        actual = documents.digest(found)
        if wanted is None and folder is not None:
            raise PolicyError(f"{where}: '{pin}' has no digest; if this is the policy you reviewed, write {pin}#{actual}")
        if wanted is not None and wanted != actual:
            raise PolicyError(f"{where}: '{name}' has digest {actual}, not the one pinned; it changed since it was reviewed")
        return found


_EMPTY: dict[str, Any] = {
    "chain": [],
    "context": {},
    "budget": {},
    "waivers": {"max_days": 366, "min_approvers": 1, "non_waivable": []},
    "sources": {
        "waivers.max_days": {"kind": "house", "text": "an exception that outlives a year is a rule"},
        "waivers.min_approvers": {"kind": "house", "text": "somebody other than who asks"},
        "defaults.confidence": {"kind": "house", "text": "the usual level of a confidence interval"},
        "defaults.min_attacks": {"kind": "house", "text": "none until a policy gates on a figure and says how many it needs"},
    },
    "defaults": {
        "on_missing": "deny",
        "on_indeterminate": "deny",
        "confidence": 0.95,
        "min_attacks": 0,
        "fail_on": "critical",
    },
    "rules": [],
}


def _overlay(document: Mapping[str, Any], under: Mapping[str, Any], me: str, what: str) -> dict[str, Any]:
    parts = put_terms(document, under, where=what)
    added = document.get("waivers", {}).get("non_waivable", ())
    parts["waivers"]["non_waivable"] = sorted({*under["waivers"]["non_waivable"], *added})
    sources = _sources(document, under, parts, what)
    rules = {rule["id"]: rule for rule in under["rules"]}
    for i, rule in enumerate(document["rules"]):
        below = rules.get(rule["id"])
        filled = fill(rule, parts["defaults"], _without_origin(below))
        rules[rule["id"]] = put_rule(filled, below, by=me, where=f"{what} at /rules/{i}")
    if unknown := sorted(set(parts["waivers"]["non_waivable"]) - set(rules)):
        raise PolicyError(f"{what} at /waivers/non_waivable: there is no rule {', '.join(unknown)}")
    for rule in rules.values():
        ref = rule.get("ref", "")
        if ref.startswith("policy.") and ref.removeprefix("policy.budget.") not in parts["budget"]:
            raise PolicyError(f"{what}: rule {rule['id']} compares with '{ref}', which the policy does not set")
    return {
        "$schema": "dpsynth.policy/1",
        "policy": document["policy"],
        "version": document["version"],
        "title": document["title"],
        **({"description": document["description"]} if "description" in document else {}),
        "chain": document.get("chain") or [*under["chain"], me],
        "context": {**under["context"], **document.get("context", {})},
        **parts,
        "sources": sources,
        "rules": list(rules.values()),
    }


def _sources(document: Mapping[str, Any], under: Mapping[str, Any], parts: Mapping[str, Any], what: str) -> dict[str, Any]:
    """On whose word each term stands: this document's, or that of what lies below where the term is the same."""
    for key in document.get("sources", {}):
        section, term = key.split(".")
        if term not in parts[section]:
            raise PolicyError(f"{what} at /sources/{key}: the policy does not set it")
    kept = {key: source for key, source in under["sources"].items() if _term(under, key) == _term(parts, key)}
    return {**kept, **document.get("sources", {})}


def _term(parts: Mapping[str, Any], key: str) -> Any:
    section, term = key.split(".")
    return parts[section].get(term)


def _join(left: Mapping[str, Any], right: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Two parents as one: of two rules with the same id the tighter, which must be one of the two."""
    rules = {rule["id"]: rule for rule in left["rules"]}
    for rule in right["rules"]:
        mine = rules.get(rule["id"])
        if mine is None or not loosened(rule, mine):
            rules[rule["id"]] = rule
        elif reasons := loosened(mine, rule):
            raise PolicyError(f"{where}: the policies it extends contradict each other in {rule['id']}: {'; '.join(reasons)}")
    parts = join_terms(left, right)
    parts["waivers"]["non_waivable"] = sorted({*left["waivers"]["non_waivable"], *right["waivers"]["non_waivable"]})
    sources = {key: source for side in (left, right) for key, source in side["sources"].items() if _term(side, key) == _term(parts, key)}
    chain = [*left["chain"], *(item for item in right["chain"] if item not in left["chain"])]
    return {
        **right,
        **parts,
        "context": {**left["context"], **right["context"]},
        "chain": chain,
        "sources": sources,
        "rules": list(rules.values()),
    }


def _check_rules(document: Mapping[str, Any], what: str) -> None:
    seen: set[str] = set()
    for i, rule in enumerate(document["rules"]):
        where = f"{what} at /rules/{i}"
        if rule["id"] in seen:
            raise PolicyError(f"{where}/id: rule {rule['id']} stands twice")
        seen.add(rule["id"])
        try:
            known = metric(rule["metric"])
            if rule["metric"].startswith("policy."):
                raise PolicyError(f"metric '{rule['metric']}' is a term of the policy, not evidence; use it as ref")
        except PolicyError as error:
            raise PolicyError(f"{where}/metric: {error}") from None
        if known.kind not in JUDGES[rule["op"]]:
            raise PolicyError(f"{where}/op: '{rule['op']}' cannot judge '{rule['metric']}', which is a {known.kind.value}")
        _check_statistic(rule, known.kind, where)
        if "value" in rule:
            _check_value(rule, known.kind, where)
        if "ref" in rule:
            try:
                other = metric(rule["ref"])
            except PolicyError as error:
                raise PolicyError(f"{where}/ref: {error}") from None
            fits = {Kind.NUMBER, Kind.AUDIT} if known.kind in (Kind.NUMBER, Kind.AUDIT) else {known.kind}
            if "*" in rule["ref"] or other.kind is Kind.AUDIT or other.kind not in fits:
                raise PolicyError(f"{where}/ref: '{rule['ref']}' cannot be compared with '{rule['metric']}'")


def _check_statistic(rule: Mapping[str, Any], kind: Kind, where: str) -> None:
    if kind is not Kind.AUDIT:
        for key in ("statistic", "min_attacks", "confidence"):
            if key in rule:
                raise PolicyError(f"{where}/{key}: only a rule about an audit has one")
        return
    name = full_path(rule["metric"]).split(".")[2]
    if name not in AUDIT_NAMES | {"*"} and rule.get("on_missing", "deny") != "deny":
        raise PolicyError(f"{where}/on_missing: audit '{name}' is not one of ours, so its absence must deny")
    if rule["op"] == "report_only":
        return
    verdict = rule.get("statistic", "verdict" if rule["op"] == "in" else "ci_upper") == "verdict"
    if verdict != (rule["op"] == "in"):
        raise PolicyError(f"{where}/statistic: a verdict is judged with 'in', a figure with an order")
    if verdict and "VIOLATION" in rule.get("value", ()):
        raise PolicyError(f"{where}/value: a VIOLATION cannot be allowed; it falsifies the claim")


_FITS: dict[Kind, Callable[[Any], bool]] = {
    Kind.NUMBER: lambda value: to_number(value) is not None,
    Kind.TEXT: lambda value: isinstance(value, str),
    Kind.FLAG: lambda value: isinstance(value, bool),
    Kind.LIST: lambda value: isinstance(value, list),
    Kind.GRANULARITY: lambda value: isinstance(value, str),
    Kind.AUDIT: lambda value: value in VERDICTS,
}


def _check_value(rule: Mapping[str, Any], kind: Kind, where: str) -> None:
    if rule["op"] == "==":
        fits = _FITS[kind](rule["value"])
    elif rule["op"] == "in":
        fits = all(_FITS[kind](item) for item in rule["value"])
    else:
        return  # the schema has checked limits, sets and granularities
    if not fits:
        raise PolicyError(f"{where}/value: it cannot be compared with '{rule['metric']}', which is a {kind.value}")


@cache
def _shipped_effective(name: str) -> dict[str, Any]:
    """Shared between loads, so nobody may change it; ``load`` gives away copies."""
    return _Loader().effective(_shipped(name), what=f"policy '{name}'", folder=None, file=None)


def _shipped(name: str) -> Any:
    item = resources.files("policies").joinpath("shipped", f"{name}.json")
    if not _SHIPPED_NAME.fullmatch(name) or not item.is_file():
        from difflib import get_close_matches

        near = get_close_matches(name, names(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        known = ", ".join(names())
        raise PolicyError(f"policy '{name}' is not shipped; {hint}there are {known}, or give a file that ends in .json")
    return documents.parse(item.read_bytes(), what=f"policy '{name}'")


def _is_path(ref: str) -> bool:
    return ref.endswith(".json") or "/" in ref or os.sep in ref


def _without_origin(rule: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if rule is None else {key: value for key, value in rule.items() if key != "origin"}
