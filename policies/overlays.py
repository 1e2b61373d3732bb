"""How one policy document goes on top of another: everything may be tightened, nothing loosened.

Whoever needs an exception asks for a waiver, which has a name, a reason and an end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from policies.errors import PolicyError
from policies.metrics import GRANULARITIES, Kind, full_path, metric, to_number
from policies.operators import same
from policies.policy import SEVERITIES

_EFFECTS = ("pass", "warn", "deny")
_ON_FALSE = ("warn", "indeterminate", "deny")


def _lower(new: Any, old: Any) -> bool:
    a, b = to_number(new), to_number(old)
    return a is not None and b is not None and a <= b


def _within(new: Any, old: Any) -> bool:
    return all(any(same(item, allowed) for allowed in old) for item in new)


def _coarser(new: Any, old: Any) -> bool:
    return GRANULARITIES.index(new) >= GRANULARITIES.index(old)


# Whether the first limit lets through no more than the second.
TIGHTER: dict[str, Callable[[Any, Any], bool]] = {
    "<": _lower,
    "<=": _lower,
    "==": same,
    ">": lambda new, old: _lower(old, new),
    ">=": lambda new, old: _lower(old, new),
    "coarser_or_equal": _coarser,
    "in": _within,
    "report_only": lambda new, old: True,
    "subset_of": _within,
}


def fill(rule: Mapping[str, Any], defaults: Mapping[str, Any], under: Mapping[str, Any] | None) -> dict[str, Any]:
    """A rule with nothing left implicit: from itself, else from the rule ``under`` it, else from ``defaults``."""
    base = dict(under or {})
    if "ref" in rule or rule["op"] == "report_only":
        base.pop("value", None)
    if "value" in rule:
        base.pop("ref", None)
    if "warn" in base and "warn" not in rule and "value" in rule and TIGHTER[rule["op"]](rule["value"], base["warn"]):
        # What would have warned fails now.
        del base["warn"]
    out = {**base, **rule, "metric": full_path(rule["metric"])}
    out.setdefault("on_missing", defaults["on_missing"])
    out.setdefault("on_indeterminate", defaults["on_indeterminate"])
    out.setdefault("on_false", "deny")
    if metric(out["metric"]).kind is Kind.AUDIT:
        out.setdefault("statistic", "verdict" if rule["op"] in ("in", "report_only") else "ci_upper")
        # A verdict already accounts for its sample; only a figure needs a number of attacks behind it.
        out.setdefault("min_attacks", 0 if out["statistic"] == "verdict" else defaults["min_attacks"])
        out.setdefault("confidence", defaults["confidence"])
    return out


def loosened(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """What of rule ``new`` would let through more than ``old``; empty when it only tightens."""
    out = []
    if new["metric"] != old["metric"]:
        out.append(f"metric '{new['metric']}' replaces '{old['metric']}'")
    if new["op"] != old["op"] and not (old["op"] == "report_only" or (old["op"], new["op"]) in (("<=", "<"), (">=", ">"))):
        out.append(f"op '{new['op']}' replaces '{old['op']}'")
    elif old["op"] != "report_only":
        if new.get("ref") != old.get("ref"):
            out.append("what the rule compares with changes")
        elif "value" in old and not TIGHTER[old["op"]](new["value"], old["value"]):
            out.append(f"value {new['value']} is looser than {old['value']}")
        if "warn" in old and not TIGHTER[old["op"]](new.get("warn", new.get("value")), old["warn"]):
            out.append("warn is looser")
    if new.get("statistic") != old.get("statistic"):
        out.append(f"statistic '{new.get('statistic')}' replaces '{old.get('statistic')}'")
    out += [f"{key} {new[key]} is less than {old[key]}" for key in ("min_attacks", "confidence") if key in old and new[key] < old[key]]
    if SEVERITIES.index(new["severity"]) < SEVERITIES.index(old["severity"]):
        out.append(f"severity '{new['severity']}' is lighter than '{old['severity']}'")
    for key, order in (("on_missing", _EFFECTS), ("on_indeterminate", _EFFECTS), ("on_false", _ON_FALSE)):
        if order.index(new[key]) < order.index(old[key]):
            out.append(f"{key} '{new[key]}' is weaker than '{old[key]}'")
    return out


def put_rule(rule: Mapping[str, Any], under: Mapping[str, Any] | None, *, by: str, where: str) -> dict[str, Any]:
    """Lay ``rule`` over the rule of the same id ``under`` it and note which of the two set each part."""
    if under is None:
        return {**rule, "origin": rule.get("origin") or {"rule": by}}
    if reasons := loosened(rule, under):
        raise PolicyError(
            f"{where}: rule {rule['id']} loosens {_origin(under)}: {'; '.join(reasons)}. An overlay only tightens; an exception is a waiver"
        )
    changed = {key: by for key in rule if key != "origin" and rule[key] != under.get(key)}
    return {**rule, "origin": {**under["origin"], **(rule.get("origin") or changed)}}


def put_terms(new: Mapping[str, Any], old: Mapping[str, Any], *, where: str) -> dict[str, dict[str, Any]]:
    """Lay the budget, waiver terms and defaults of one document over those below it."""
    out: dict[str, dict[str, Any]] = {}
    for section, orders in _TERMS.items():
        below, above = old.get(section, {}), new.get(section, {})
        for key, value in above.items():
            if key in below and not orders[key](value, below[key]):
                raise PolicyError(f"{where} at /{section}/{key}: {value} is looser than {below[key]}; an overlay only tightens")
        out[section] = {**below, **above}
    return out


def join_terms(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The terms of two parents as one: of each the stricter."""
    out: dict[str, dict[str, Any]] = {}
    for section, orders in _TERMS.items():
        a, b = left.get(section, {}), right.get(section, {})
        both = {key: a[key] if orders[key](a[key], b[key]) else b[key] for key in a if key in b}
        out[section] = {**a, **b, **both}
    return out


def _origin(rule: Mapping[str, Any]) -> str:
    return str(rule["origin"].get("rule", "what it extends"))


def _ordered(order: tuple[str, ...]) -> Callable[[Any, Any], bool]:
    return lambda new, old: order.index(new) >= order.index(old)


def _higher(new: Any, old: Any) -> bool:
    return _lower(old, new)


# Whether the first term is at least as strict as the second. ``fail_on`` is stricter when it is lighter.
_TERMS: dict[str, dict[str, Callable[[Any, Any], bool]]] = {
    "budget": {"lifetime_epsilon": _lower, "lifetime_delta": _lower, "max_attempts": _lower},
    "defaults": {
        "on_missing": _ordered(_EFFECTS),
        "on_indeterminate": _ordered(_EFFECTS),
        "confidence": _higher,
        "min_attacks": _higher,
        "fail_on": _ordered(tuple(reversed(SEVERITIES))),
    },
    "waivers": {
        "max_days": _lower,
        "min_approvers": _higher,
        "non_waivable": lambda new, old: True,  # joined by the loader, so nothing can be taken off the list
    },
}
