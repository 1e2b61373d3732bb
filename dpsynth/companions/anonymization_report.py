"""An anonymization report in the order that EMA Policy 0070 and Health Canada's PRCI ask for, filled with what the run knows.

Order after EMA/90915/2016, chapter 6.3 (variables, adversaries, threshold, risk, utility, method), put in our own words.
It holds figures of real records: for regulators under their own terms, never for ``public/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dpsynth.companions.dictionary import described
from dpsynth.companions.markdown import plain, table
from dpsynth.companions.measured import TO_COMPLETE, risks, sources, utility
from dpsynth.companions.wording import adjacency, parameters

_TREATMENT: Final = {
    "identifier": ("direct identifier", "never read into the model; replaced by made-up values"),
    "quasi": ("indirect identifier", "generalised to the declared values, then drawn from a model with noise"),
    "target": ("target of analysis", "generalised to the declared values, then drawn from a model with noise"),
    "sensitive": ("sensitive", "generalised to the declared values, then drawn from a model with noise"),
}
_OTHER: Final = ("other", "generalised to the declared values, then drawn from a model with noise")


def anonymization_report(evidence: Mapping[str, Any], decision: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The report as Markdown; ``schema`` is ``Schema.to_dict()``. What no run can know reads "(to be completed)"."""
    release, guarantee = evidence["release"], evidence["dp"]
    roles = {item["name"]: item.get("dp:role", "other") for item in schema["fields"]}
    columns = [(name, *_TREATMENT.get(roles[name], _OTHER), values) for name, _, _, values in described(schema)]
    known = plain(", ".join(name for name, role in roles.items() if role == "quasi")) or "none was declared"
    lines = [
        "# Anonymization report",
        "",
        "**Internal.** Figures below come from real records. The tool fills in what it knows; people complete and judge the rest.",
        "The tool does not decide whether the data are anonymized in the sense of a law.",
        "",
        "## 1. Submission",
        "",
        *table(
            ("Item", "Entry"),
            [
                ("Data set", release["title"]),
                ("People behind it", release["population"]),
                ("Release", release["id"]),
                ("Created", release["created"]),
                ("Purpose", release["purpose"] or TO_COMPLETE),
                ("Recipient", release["recipient"] or TO_COMPLETE),
                ("Sponsor or data owner", TO_COMPLETE),
                ("Product, procedure or study number", TO_COMPLETE),
                ("Contact", TO_COMPLETE),
            ],
        ),
        "",
        "## 2. Method and why it was chosen",
        "",
        f"A table of {release['n_rows']} made-up records was drawn from a model fitted under {parameters(guarantee)} differential privacy",
        f"by the synthesizer {plain(release['synthesizer'])}. {plain(adjacency(guarantee))}",
        "No record of a person is passed on, so identifiers are not masked record by record: no released record has a person behind it.",
        f"Reasons for choosing synthesis over other techniques: {plain(TO_COMPLETE)}",
        "",
        "## 3. Data variables and their treatment",
        "",
        *table(("Variable", "Identifier", "Technique", "Values after treatment"), columns),
        "",
        "Why each indirect identifier is kept at this granularity: " + plain(TO_COMPLETE),
        "",
        "## 4. Adversaries and plausible attacks",
        "",
        f"- Assumed knowledge about a person: {known}.",
        "- Assumed access: the whole released table, and the method. Attackers of the audits also hold the records of other people.",
        "- Attacks that were carried out on this release: those in section 6.",
        f"- Who would plausibly attack, with what motive and means: {plain(TO_COMPLETE)}",
        f"- Controls at the recipient (contract, environment): {plain(TO_COMPLETE)}",
        "",
        "## 5. Threshold",
        "",
        f"Policy {plain(decision['policy']['id'])} {plain(decision['policy']['version'])}.",
        "Its limits stand beside the figures in section 6.",
        "",
        *table(("Rule", "Kind of source", "Source"), sources(decision)),
        "",
        f"Why these thresholds fit this submission: {plain(TO_COMPLETE)}",
        "",
        "## 6. Risk of re-identification",
        "",
        f"Initial risk, before treatment: {plain(TO_COMPLETE)} The tool attacks what is released; it does not score the original table.",
        "",
        "Residual risk: success on people in the table beyond success on people who are not in it, with the upper end of its interval.",
        "",
        *table(("Risk", "Value", "Upper bound", "Limit", "Attacks", "Audit's verdict"), risks(evidence, decision)),
        "",
        f"Verdict of the policy on this release: {plain(decision['verdict'])}.",
        "An audit that finds nothing does not prove that there is nothing.",
        "",
        "## 7. Data utility",
        "",
        *table(("Figure", "Value", "Sampling floor"), utility(evidence)),
        "",
        f"What this means for secondary analysis: {plain(TO_COMPLETE)}",
        "",
        "## 8. Limits",
        "",
        *(f"- Not covered by the guarantee: {plain(text)}." for text in guarantee["unprotected_quantities"]),
        *(f"- Table outside the guarantee: {plain(text)}." for text in guarantee["unprotected_tables"]),
        "- Facts about groups remain true of their members.",
        "- Risk grows when more data about the same people become available; assess again in time.",
        "",
        "## 9. Conclusion and sign-off",
        "",
        *table(
            ("Conclusion", "Name", "Role", "Date", "Signature"),
            [(TO_COMPLETE,) * 5],
        ),
    ]
    return "\n".join(lines) + "\n"
