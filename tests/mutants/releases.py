"""A small release up to its smoke-tier code audits: read, fit, sample, and the audits that the pipeline would run on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import audits
from audits.code.toy import Toy
from dpsynth.code_audits import audit_code, toy_for
from dpsynth.errors import DpsynthError
from dpsynth.privacy import Cohort, PrivacyBudget, PrivateData
from dpsynth.synthesizers import SYNTHESIZERS, Adaptive
from dpsynth.toy_mechanism import ToyMechanism, audit_columns
from dpsynth.toy_schema import standard_schema
from tests.mutants.defects import Change

EPSILON, DELTA = 1.0, 1e-6
PERSONS = 150
# A smaller table, for what is repeated over many seeds: a column of each kind, and fewer cells than their joint for `Adaptive`.
FEW = ("ward", "smoker", "age", "cost")
_FEW_CELLS = 1000


@dataclass(frozen=True)
class Caught:
    """What the audits answered to a release, or the error by which the kernel refused to make it."""

    results: Mapping[str, audits.AuditResult]
    refused_by_kernel: str | None = None

    @property
    def verdicts(self) -> dict[str, str]:
        return {name: str(result.verdict) for name, result in self.results.items()}

    @property
    def seconds(self) -> dict[str, float]:
        return {name: result.seconds for name, result in self.results.items()}

    @property
    def caught(self) -> bool:
        return "VIOLATION" in self.verdicts.values() or self.refused_by_kernel is not None

    @property
    def green(self) -> bool:
        return self.refused_by_kernel is None and set(self.verdicts.values()) == {"NOT_FALSIFIED"}


def released(change: Change, mechanism: str, seed: int = 0, tier: str = "smoke", *, few: bool = False) -> Caught:
    """Plant ``change`` and release through ``mechanism``: the audits see what the pipeline shows them, and nothing of the patch.

    The table has the standard columns, or, with ``few``, four of them.
    """
    schema = standard_schema("person", change.max_rows, change.neighbours)
    if few:
        schema = replace(schema, fields=tuple(f for f in schema.fields if f.name in (*FEW, schema.unit.field)))
    recipe = Adaptive(tree_limit=_FEW_CELLS) if few and mechanism == "adaptive" else SYNTHESIZERS[mechanism]()
    unchanged = ToyMechanism(recipe, PrivacyBudget(EPSILON, DELTA), schema)
    toy = Toy(tuple(unchanged.columns), unchanged.unit_field, change.max_rows)
    records = unchanged._written(toy.frame(toy.units(PERSONS, seed)))
    with change.patch():
        budget = PrivacyBudget(EPSILON, DELTA)
        try:
            private = PrivateData.read(records, schema, budget, cohort=Cohort(0.2))
            model = recipe.fit(private)
            synthetic = model.sample(PERSONS, seed=seed)
        except DpsynthError as error:
            return Caught({}, type(error).__name__)
        audited = toy_for(recipe, schema, budget)
        code = audit_code(audited, tier=tier, seed=seed)
        suite = audits.run(
            synthetic=synthetic,
            columns=audit_columns(schema),
            transcript=private.transcript(),
            claim=audited.claim,
            mechanism=audited,
            tier=tier,
            names=["recomposition", *code.results],
            known=code.results,
        )
    return Caught(suite.results)
