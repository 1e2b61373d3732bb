"""Every audit, in one literal table: to add one, write a module and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audits.anonymeter_adapter import anonymeter_inference, anonymeter_linkability, anonymeter_singling_out
from audits.attribute_inference import infer_attributes
from audits.code.eprocess import noise_eprocess
from audits.code.likelihood import transcript_likelihood
from audits.code.recomposition import recomposition
from audits.code.record_replay import record_replay
from audits.code.residuals import residual_calibration
from audits.direct_identifiers import find_direct_identifiers
from audits.exact_copies import find_exact_copies
from audits.linkability import link_records
from audits.membership import infer_membership
from audits.one_run import bound_epsilon
from audits.outliers import attack_outliers
from audits.result import AuditInput, AuditResult
from audits.singling_out import single_out

TIERS = ("smoke", "standard", "deep")


@dataclass(frozen=True)
class Audit:
    """An audit, the cheapest tier it runs in, and what it cannot do without: fields of AuditInput, or
    ``anonymeter``."""

    run: Callable[[AuditInput], AuditResult]
    tier: str
    needs: tuple[str, ...]

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers it runs in: its own and all above."""
        return TIERS[TIERS.index(self.tier) :]


_RECORDS = ("train", "control")

AUDITS: dict[str, Audit] = {
    "recomposition": Audit(recomposition, "smoke", ("transcript", "claim")),
    "record_replay": Audit(record_replay, "smoke", ("mechanism",)),
    "residual_calibration": Audit(residual_calibration, "smoke", ("mechanism",)),
    "transcript_likelihood": Audit(transcript_likelihood, "standard", ("mechanism",)),
    "noise_eprocess": Audit(noise_eprocess, "smoke", ("mechanism",)),
    "membership": Audit(infer_membership, "smoke", _RECORDS),
    "one_run_epsilon": Audit(bound_epsilon, "smoke", _RECORDS),
    "singling_out": Audit(single_out, "standard", _RECORDS),
    "linkability": Audit(link_records, "standard", _RECORDS),
    "attribute_inference": Audit(infer_attributes, "standard", _RECORDS),
    "outliers": Audit(attack_outliers, "standard", _RECORDS),
    "exact_copies": Audit(find_exact_copies, "smoke", _RECORDS),
    "direct_identifiers": Audit(find_direct_identifiers, "smoke", ()),
    "anonymeter_singling_out": Audit(anonymeter_singling_out, "standard", (*_RECORDS, "anonymeter")),
    "anonymeter_linkability": Audit(anonymeter_linkability, "standard", (*_RECORDS, "anonymeter")),
    "anonymeter_inference": Audit(anonymeter_inference, "standard", (*_RECORDS, "anonymeter")),
}
