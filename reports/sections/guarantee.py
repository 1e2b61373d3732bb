"""The guarantee in words and numbers: unit, epsilon, delta, what an attacker can learn, what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.figures.belief import belief
from reports.figures.epsilon_dial import epsilon_dial
from reports.figures.model_graph import Clique, model_graph
from reports.figures.spending import spending
from reports.guarantee import DEPLOYMENTS, advantage, posterior, standing, strength
from reports.wording import FORM, NOT_STATED, answer, exact, neighbours, num, pct, plural


def build(evidence: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    """The public facts of the guarantee; transcript and model figures only where the evidence holds them."""
    dp = ev.mapping(evidence.get("dp"))
    epsilon, delta = ev.number(dp.get("epsilon")), ev.number(dp.get("delta"))
    if epsilon is not None and epsilon <= 0:
        epsilon = None
    unit = ev.text(dp.get("unit")) or "unit"
    facts = [
        ("Privacy unit", _unit(dp, unit)),
        ("Neighbouring tables", neighbours(dp.get("adjacency"), unit)),
        ("Epsilon", exact(epsilon)),
        ("Delta", exact(dp.get("delta"))),
        ("Accounting", " · ".join(part for part in (ev.text(dp.get("variant")), _rho(dp)) if part) or NOT_STATED),
        ("Accountant", ev.text(dp.get("accountant")) or NOT_STATED),
        ("Mechanisms", ", ".join(ev.strings(dp.get("mechanisms"))) or NOT_STATED),
        (
            "Noise from",
            ", ".join(f"{k} {ev.text(v)}" for k, v in ev.named(dp.get("libraries")) if ev.text(v)) or NOT_STATED,
        ),
        ("Recomposed from the transcript", answer(dp.get("recomposed"))),
    ]
    spent = ev.number(dp.get("epsilon_spent"))
    if spent is not None:
        facts.insert(4, ("Epsilon really spent", exact(spent)))
    return {
        "facts": facts,
        "words": _words(dp, unit, epsilon, delta),
        "strength": strength(epsilon) if epsilon is not None else None,
        "standing": (f"Among {DEPLOYMENTS.count} public deployments that state an epsilon, this one is {standing(epsilon)}.")
        if epsilon is not None
        else None,
        "deployments": DEPLOYMENTS,
        "dial": epsilon_dial(epsilon, _limits(decision)) if epsilon is not None else None,
        "belief": belief(epsilon) if epsilon is not None else None,
        "spending": _spending(evidence),
        "model": _model(evidence),
        "events": _events(evidence),
    }


def _unit(dp: Mapping[str, Any], unit: str) -> str:
    rows = ev.number(dp.get("max_rows"))
    if not ev.text(dp.get("unit")):
        return NOT_STATED
    if rows is None:
        return f"one {unit}"
    return f"one {unit}, " + ("one row" if rows == 1 else f"with at most {num(rows)} rows")


def _rho(dp: Mapping[str, Any]) -> str | None:
    rho = ev.number(dp.get("rho"))
    return None if rho is None else f"rho {num(rho)}"


def _words(dp: Mapping[str, Any], unit: str, epsilon: float | None, delta: float | None) -> list[str]:
    if epsilon is None:
        return ["The evidence states no usable epsilon, so there is no guarantee to describe."]
    factor = num(math.exp(epsilon)) if epsilon < 20 else f"e^{num(epsilon)}"
    rows = ev.number(dp.get("max_rows"))
    with_rows = f" (up to {num(rows)} rows)" if rows is not None and rows > 1 else ""
    change = (
        f"exchanging one {unit}{with_rows} for any other"
        if str(dp.get("adjacency")).startswith("replace")
        else f"taking any one {unit}{with_rows} out of the table, or putting one in,"
    )
    more = f", give or take {exact(delta)}" if delta else ""
    return [
        f"Whatever is done with this release, {change} multiplies the probability of any outcome by at most {factor}{more}.",
        f"An attacker who holds a statement about one {unit} to be 50% likely before seeing the release can come "
        f"to believe it at most {pct(posterior(0.5, epsilon))} afterwards. Guessing whether someone was in the table, "
        f"their hit rate exceeds their false-alarm rate by at most {pct(advantage(epsilon, delta or 0.0))}.",
        "Where k of them belong together, as in a family, the bound for all of them at once is k times epsilon.",
    ]


def _limits(decision: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    for finding in ev.records(decision.get("findings")):
        if finding.get("metric") == "dp.epsilon" and finding.get("op") in ("<=", "<"):
            marks = (("warn", ev.number(finding.get("warn"))), ("deny", ev.number(finding.get("threshold"))))
            return tuple((word, value) for word, value in marks if value is not None)
    return ()


def _spending(evidence: Mapping[str, Any]) -> Any:
    stages: dict[str, tuple[int, float]] = {}
    for event in ev.records(ev.at(evidence, "transcript.events")):
        name = ev.text(event.get("stage")) or "unnamed"
        count, rho = stages.get(name, (0, 0.0))
        stages[name] = (count + 1, rho + max(ev.number(event.get("rho")) or 0.0, 0.0))
    return spending([(name, count, rho) for name, (count, rho) in list(stages.items())[:40]]) if stages else None


def _model(evidence: Mapping[str, Any]) -> Any:
    nodes = ev.records(ev.at(evidence, "model.nodes"))
    cliques = [Clique((name,), ev.number(n.get("stddev"))) for n in nodes if (name := ev.text(n.get("name")))]
    for edge in ev.records(ev.at(evidence, "model.edges")):
        columns = tuple(dict.fromkeys(ev.strings(edge.get("clique"))))
        if columns:
            cliques.append(Clique(columns, ev.number(edge.get("stddev"))))
    return model_graph([c.columns[0] for c in cliques if len(c.columns) == 1], cliques) if cliques else None


def _events(evidence: Mapping[str, Any]) -> list[tuple[str, ...]]:
    out: list[tuple[str, ...]] = []
    for event in ev.records(ev.at(evidence, "transcript.events"))[:400]:
        if event.get("kind") == "gaussian":
            tables = [" × ".join(ev.strings(c)) for c in ev.sequence(event.get("cliques"))]
            what = ", ".join(t for t in tables[:6] if t) + (
                f" and {plural(len(tables) - 6, 'more')}".replace("mores", "more") if len(tables) > 6 else ""
            )
            forms = ", ".join(FORM.get(f, f) for f in ev.strings(event.get("forms")))
            how = f"{forms or 'counts'}, {plural(int(ev.number(event.get('cells')) or 0), 'cell')}, noise ±{num(event.get('stddev'), '?')}"
        elif event.get("kind") == "threshold":
            what = f"which values of {', '.join(' × '.join(ev.strings(c)) for c in ev.sequence(event.get('cliques')))} may be named"
            grain = ev.number(event.get("scale")) or 1.0
            least, noise = (num((ev.number(event.get(key)) or math.nan) / grain, "?") for key in ("threshold", "stddev"))
            named = num(event.get("selected"), "?")
            how = f"{named} named, from noisy counts of {least} on, noise ±{noise}, delta {exact(event.get('delta'))}"
        elif event.get("kind") == "exponential":
            what = f"one of {num(event.get('candidates'), '?')} candidates"
            how = f"epsilon {num(event.get('epsilon'), '?')}, score sensitivity {num(event.get('score_sensitivity'), '?')}"
        else:
            what, how = (
                "",
                "costs nothing; its results are not differentially private" if event.get("kind") == "audit_read" else "",
            )
        out.append(
            (
                ev.text(event.get("stage")) or "",
                (ev.text(event.get("kind")) or "").replace("_", " "),
                what,
                how,
                num(event.get("rho")),
            )
        )
    return out
