"""What each audit asks, in a sentence for people who run none. An audit not listed is shown under its own name."""

from __future__ import annotations

from dataclasses import dataclass

CODE = "The mechanism, on worst-case data"
RELEASE = "This release, against people who were and were not in it"
SECOND = "Second opinion: anonymeter"
OTHER = "Other audits"
FAMILIES = (CODE, RELEASE, SECOND, OTHER)


@dataclass(frozen=True)
class Entry:
    """Title, question and family of one audit."""

    title: str
    question: str
    family: str


AUDITS = {
    "recomposition": Entry(
        "Recomposition",
        "Does an independent accountant, reading the transcript alone, reach at most the claimed loss?",
        CODE,
    ),
    "record_replay": Entry("Record and replay", "Do two neighbouring tables take the same steps, within the declared sensitivity?", CODE),
    "residual_calibration": Entry("Residual calibration", "Is the noise that was added as large as the noise that was claimed?", CODE),
    "transcript_likelihood": Entry("Transcript likelihood ratio", "How well could the best test tell two neighbouring tables apart?", CODE),
    "noise_eprocess": Entry(
        "Anytime noise test", "Does a betting test against the claimed noise ever win more than the claim allows?", CODE
    ),
    "membership": Entry("Membership inference", "Can an attacker tell who was in the table from who was left out by a coin?", RELEASE),
    "one_run_epsilon": Entry("One-run epsilon", "What privacy loss do the coin flips of this one run prove at least?", RELEASE),
    "singling_out": Entry(
        "Singling out",
        "Do descriptions found in the synthetic data isolate real people more often than strangers?",
        RELEASE,
    ),
    "linkability": Entry("Linkability", "Can two halves of one person's record be joined through the synthetic data?", RELEASE),
    "attribute_inference": Entry(
        "Attribute inference",
        "Is a sensitive value guessed better for people in the table than for people outside it?",
        RELEASE,
    ),
    "outliers": Entry("Outliers", "Are the most unusual people more exposed than the rest?", RELEASE),
    "exact_copies": Entry("Exact copies", "Are unique real rows repeated more often than chance explains?", RELEASE),
    "direct_identifiers": Entry(
        "Direct identifiers",
        "Does any released column look like names, contacts, national ids or account numbers?",
        RELEASE,
    ),
    "anonymeter_singling_out": Entry("Singling out (anonymeter)", "The same question, asked by a published tool.", SECOND),
    "anonymeter_linkability": Entry("Linkability (anonymeter)", "The same question, asked by a published tool.", SECOND),
    "anonymeter_inference": Entry("Inference (anonymeter)", "The same question, asked by a published tool.", SECOND),
}


def audit_title(name: str) -> str:
    """Title of an audit, its own name if it is not in the catalogue."""
    return AUDITS[name].title if name in AUDITS else name.replace("_", " ").strip().capitalize() or "Unnamed audit"


def position(name: str) -> tuple[int, str]:
    """Sort key: the catalogue's order, then the alphabet."""
    order = list(AUDITS)
    return (order.index(name) if name in AUDITS else len(order), name)
