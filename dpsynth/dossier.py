"""What is written about a decided release: all of ``internal/``, and ``public/`` if it was permitted.

A refused release keeps its table inside where a waiver could still let it go, and the ledger keeps the digest of what was written then;
see `dpsynth.publication`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dpsynth import bundle as bundles
from dpsynth import certificate, companions
from dpsynth.schema import Schema

if TYPE_CHECKING:
    from policies import Decision, Policy, Waiver

TABLES: Final = ("synthetic.parquet", "synthetic.csv")
# In a refused release: what its documents would be made of, and the digests of its tables.
WITHHELD: Final = "withheld.json"
WITHHELD_SCHEMA: Final = "dpsynth.withheld/1"
SEALED: Final = ("evidence.json", "decision.json", "policy.json", "transcript.json", "provenance.json", WITHHELD)
"""What a later decision is made of; the tables are in it by their digests."""


@dataclass(frozen=True)
class Dossier:
    """A release and everything that its documents are made of, but for the decision."""

    evidence: Mapping[str, Any]
    schema: Schema
    policy: Policy
    transcript: Mapping[str, Any]
    seed: int
    about: companions.About
    supersedes: str | None

    def write(
        self,
        writer: bundles.BundleWriter,
        decision: Decision,
        waivers: Sequence[Waiver],
        key: certificate.SigningKey | None,
        role: str,
    ) -> None:
        """Write both folders as ``decision`` says. The tables lie in the writer's ``public/`` already."""
        self._write_internal(writer, decision, waivers)
        if decision.permitted:
            self._publish(writer, decision, key, role)
        elif self._is_kept(decision):
            writer.refuse(keep=TABLES)
        else:
            writer.refuse()

    def seal(self, writer: bundles.BundleWriter, decision: Decision) -> str | None:
        """What the ledger is to remember of a refusal whose table is kept; None for any other decision."""
        if not self._is_kept(decision):
            return None
        return seal_of({name: text.encode() for name, text in self._documents(writer, decision).items()})

    def _is_kept(self, decision: Decision) -> bool:
        """Without a ledger nothing outside the folder would tell an edited refusal from the one that was written."""
        return not decision.permitted and bool(self.evidence["budget"]["ledger"]) and can_be_waived(decision, self.policy)

    def _documents(self, writer: bundles.BundleWriter, decision: Decision) -> dict[str, str]:
        """The JSON files of ``internal/``."""
        import policies

        documents = {
            "evidence.json": self.evidence,
            "decision.json": decision.to_dict(),
            "policy.json": policies.effective(self.policy),
            "transcript.json": self.transcript,
            "provenance.json": {"seed": self.seed, "environment": self.evidence["environment"]},
        }
        if self._is_kept(decision):
            documents[WITHHELD] = self._withheld(writer)
        return {name: as_json(document) for name, document in documents.items()}

    def _withheld(self, writer: bundles.BundleWriter) -> dict[str, Any]:
        return {
            "$schema": WITHHELD_SCHEMA,
            "files": {name: bundles.sha256_of(writer.public_path(name)) for name in TABLES},
            "schema": self.schema.to_dict(),
            "about": self.about.to_dict(),
            "supersedes": self.supersedes,
        }

    def _write_internal(self, writer: bundles.BundleWriter, decision: Decision, waivers: Sequence[Waiver]) -> None:
        import policies
        import reports

        document, decided = self.evidence, decision.to_dict()
        for name, text in self._documents(writer, decision).items():
            writer.write_internal(name, text)
        writer.write_internal("results.sarif", policies.render(decision, "sarif"))
        writer.write_internal("results.junit.xml", policies.render(decision, "junit"))
        writer.write_internal("report.html", reports.render(document, decided, audience="reviewer"))
        if decision.permitted:
            declared = self.schema.to_dict()
            writer.write_internal("anonymization-report.md", companions.anonymization_report(document, decided, declared))
            writer.write_internal("expert-determination.md", companions.expert_determination(document, decided, declared))
        if waivers:
            given = [{name: value for name, value in vars(waiver).items() if value is not None} for waiver in waivers]
            writer.write_internal("waivers.json", as_json({"$schema": "dpsynth.waivers/1", "waivers": given}))

    def _publish(self, writer: bundles.BundleWriter, decision: Decision, key: certificate.SigningKey | None, role: str) -> None:
        """The public folder: tables are there already; the rest is cut from the certificate's predicate."""
        import reports

        document, decided = self.evidence, decision.to_dict()
        commitment = writer.commit_internal()
        said = certificate.predicate(document, decided, internal_commitment=commitment, supersedes=self.supersedes)
        resources = {}
        for name in TABLES:
            path = writer.public_path(name)
            resources[name] = (path.stat().st_size, bundles.sha256_of(path))
        declared = self.schema.to_dict()
        public = {
            "datapackage.json": as_json(companions.datapackage(declared, said, resources, self.about)),
            "croissant.json": as_json(companions.croissant(declared, said, resources, self.about)),
            "DATASHEET.md": companions.datasheet(
                declared, said, self.about, relations=[relation.text for relation in self.schema.relations]
            ),
            "deployment.yaml": companions.deployment(declared, said, self.about),
            "VERIFY.md": companions.VERIFY_TEXT,
        }
        attested = {"predicateType": certificate.PREDICATE_TYPE, "predicate": said, "subject": []}
        public["report.html"] = reports.render(document, decided, attested, audience="public")
        public["README.md"] = companions.readme(said, [*resources, *public])
        for name, text in public.items():
            writer.write_public(name, text)
        files = writer.seal()
        statement = certificate.build(document, decided, files, internal_commitment=commitment, supersedes=self.supersedes)
        for name, content in certificate.envelopes(statement, key, role).items():
            writer.write_public(name, content)


def seal_of(documents: Mapping[str, bytes]) -> str:
    """SHA-256 over the names and digests of the `SEALED` documents."""
    listed = "".join(f"{hashlib.sha256(documents[name]).hexdigest()}  {name}\n" for name in SEALED)
    return hashlib.sha256(listed.encode()).hexdigest()


def can_be_waived(decision: Decision, policy: Policy) -> bool:
    """Whether every rule that keeps the release back takes a waiver. A table that may never leave is not kept."""
    return not {finding.rule for finding in decision.findings if finding.blocking} & policy.non_waivable


def as_json(document: Any) -> str:
    """The text of a JSON file of ours: one key a line, no NaN."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"
