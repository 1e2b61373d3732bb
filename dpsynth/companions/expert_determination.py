"""A template for an expert's determination under 45 CFR 164.514(b)(1), filled with what the run knows.

Order after the rule and HHS's guidance on de-identification of 26 November 2012 (replicability, availability, distinguishability).
It holds figures of real records. The determination itself is the expert's, and every line of it is blank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpsynth.companions.dictionary import described
from dpsynth.companions.markdown import plain, table
from dpsynth.companions.measured import TO_COMPLETE, risks, utility
from dpsynth.companions.wording import adjacency, parameters


def expert_determination(evidence: Mapping[str, Any], decision: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The template as Markdown; ``schema`` is ``Schema.to_dict()``. What no run can know reads "(to be completed)"."""
    release, guarantee, declared = evidence["release"], evidence["dp"], evidence["schema"]
    blank = plain(TO_COMPLETE)
    months = evidence["certificate"]["reassess_months"]
    features = [(name, role.partition(", ")[2], values, *(TO_COMPLETE,) * 3) for name, _, role, values in described(schema)]
    lines = [
        "# Expert determination, 45 CFR 164.514(b)(1)",
        "",
        "**Internal. A template, not a determination.** Figures below come from real records.",
        "The rule asks a person with appropriate knowledge and experience to determine that the risk is very small that the information",
        "could be used, alone or with other reasonably available information, by an anticipated recipient to identify an individual,",
        "and to document the methods and results. The rule gives no number.",
        "",
        "## 1. The expert",
        "",
        *table(
            ("Item", "Entry"),
            [
                ("Name", TO_COMPLETE),
                ("Knowledge and experience with statistical and scientific de-identification", TO_COMPLETE),
                ("Relation to the covered entity", TO_COMPLETE),
            ],
        ),
        "",
        "## 2. The information and its recipient",
        "",
        *table(
            ("Item", "Entry"),
            [
                ("Data set", release["title"]),
                ("Individuals", release["population"]),
                ("Release", release["id"]),
                ("SHA-256 of synthetic.parquet", release["sha256"]),
                ("Purpose", release["purpose"] or TO_COMPLETE),
                ("Anticipated recipient", release["recipient"] or TO_COMPLETE),
                ("Recipient's means, contract and environment", TO_COMPLETE),
                ("Other information reasonably available to the recipient", TO_COMPLETE),
            ],
        ),
        "",
        "## 3. Principles and methods applied",
        "",
        f"- Synthesis under {parameters(guarantee)} differential privacy ({plain(guarantee['variant'])}), synthesizer "
        f"{plain(release['synthesizer'])}. {plain(adjacency(guarantee))}",
        f"- Accounting: {plain(guarantee['accountant'])}. Recomposed by an independent accountant: "
        f"{'yes' if guarantee['recomposed'] else 'no'}.",
        f"- Attacks on the release, tier {plain(evidence['audits']['tier'])}, against people left out of the model by a coin.",
        f"- Release policy {plain(decision['policy']['id'])} {plain(decision['policy']['version'])}: {plain(decision['verdict'])}.",
        f"- Methods added by the expert: {blank}",
        "",
        "## 4. Features of the data",
        "",
        "The expert rates each feature high or low, as HHS's guidance describes.",
        "",
        *table(("Column", "Role", "Values released", "Replicability", "Availability elsewhere", "Distinguishability"), features),
        "",
        "For comparison, what the safe harbour, 164.514(b)(2)(i), names:",
        "",
        *table(
            ("Item", "This release"),
            [
                ("Columns with real direct identifiers", str(declared["direct_identifiers"])),
                ("Finest precision of dates", declared["date_precision"] or "no date column"),
                ("Highest age, from columns named as ages", _age(declared["age_top_code"])),
                ("Smallest population of a geographic unit", str(declared.get("geo_min_population") or TO_COMPLETE)),
            ],
        ),
        "",
        "## 5. Results",
        "",
        *table(("Risk", "Value", "Upper bound", "Policy's limit", "Attacks", "Audit's verdict"), risks(evidence, decision)),
        "",
        *table(("Usefulness", "Value", "Sampling floor"), utility(evidence)),
        "",
        "An audit that finds nothing does not prove that there is nothing. Bounds hold for the attacks that were tried.",
        *(f"Not covered by the guarantee: {plain(text)}." for text in guarantee["unprotected_quantities"]),
        f"Further results of the expert: {blank}",
        "",
        "## 6. Determination",
        "",
        *table(
            ("Item", "Entry"),
            [
                ("The risk is very small (yes or no), and why", TO_COMPLETE),
                ("Conditions on use and on the recipient", TO_COMPLETE),
                ("Valid until", f"{TO_COMPLETE} The certificate asks for reassessment after {months} months." if months else TO_COMPLETE),
                ("Where this documentation is kept, and how long", TO_COMPLETE),
                ("Date", TO_COMPLETE),
                ("Signature of the expert", TO_COMPLETE),
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def _age(top: float | None) -> str:
    return TO_COMPLETE if top is None else f"{top:g}"
