"""Where code and inputs came from: versions, digests, environment, timings. Reviewers only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.wording import NOT_STATED, anything, num


def build(evidence: Mapping[str, Any], attestation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Digests, environment and seconds as flat lists, in a fixed order."""

    def said(path: str) -> str:
        return ev.text(ev.at(evidence, path)) or NOT_STATED

    return {
        "digests": [
            ("Released file", said("release.sha256")),
            ("Audited file", said("subject.sha256")),
            ("Schema", said("schema.digest")),
            ("Claim", said("claim.digest")),
            ("Transcript", said("transcript.digest")),
            ("Ledger head", said("budget.head")),
        ],
        "environment": [
            (key, anything(value, NOT_STATED)) for key, value in ev.named(evidence.get("environment")) if not isinstance(value, Mapping)
        ],
        "libraries": [(k, ev.text(v) or NOT_STATED) for k, v in ev.named(ev.at(evidence, "environment.libraries"))],
        "seconds": [(k, num(v)) for k, v in ev.named(evidence.get("seconds"))],
        "attempt": num(ev.at(evidence, "release.attempt"), NOT_STATED),
        "subjects": list(attestation["subjects"]) if attestation else [],
    }
