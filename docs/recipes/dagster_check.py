"""Dagster: a blocking check on the asset, so that nothing downstream runs on a release that was not permitted."""

from __future__ import annotations

from dagster import AssetCheckResult, asset_check
from gate_task import ReleaseRefused, gate

OUT, POLICY = "out/claims", "healthcare-public"


@asset_check(asset="synthetic_claims", blocking=True)
def permitted_by_policy() -> AssetCheckResult:
    try:
        sha256 = gate(f"{OUT}/internal/evidence.json", POLICY)
    except ReleaseRefused as refused:
        return AssetCheckResult(passed=False, metadata={"policy": POLICY, "verdict": str(refused).splitlines()[0]})
    return AssetCheckResult(passed=True, metadata={"policy": POLICY, "sha256": sha256})
