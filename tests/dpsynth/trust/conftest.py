"""One small permitted release, made by the real writer, certificate and policy code."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import policies
from dpsynth import certificate
from dpsynth.bundle import Bundle, BundleWriter
from dpsynth.certificate import SigningKey
from dpsynth.companions import VERIFY_TEXT, croissant, datapackage, datasheet, deployment, readme


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"age": [31, 46], "sex": ["f", "m"]}), buffer)
    return buffer.getvalue()


TABLE = _parquet()
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
# Facts of the real data that evidence holds and nothing public may repeat; long enough to be in no digest by chance.
CANARIES = ("2019020190", "0.56789", "987654321", "/home/nurse", "wardhost", "3.14159", "f00dfeed" * 8)

SCHEMA: dict[str, Any] = {
    "dp:dataset": {"id": "hie", "population": "hie-participants"},
    "dp:unit": {"name": "person", "field": "pid", "maxRows": 5},
    "missingValues": [""],
    "primaryKey": "pid",
    "internalNote": "wardhost",
    "fields": [
        {"name": "pid", "type": "integer", "dp:role": "identifier", "dp:fake": "surrogate"},
        {
            "name": "age",
            "type": "integer",
            "constraints": {"minimum": 0, "maximum": 90},
            "dp:bins": 10,
            "observed": 2019020190,
        },
        {"name": "sex", "type": "string", "categories": ["f", "m"], "dp:nullable": True},
        {"name": "day", "type": "date", "constraints": {"minimum": "2020-01-01", "maximum": "2020-12-31"}},
    ],
}
POLICY = {
    "$schema": "dpsynth.policy/1",
    "policy": "test-policy",
    "version": "1.2.0",
    "title": "two rules",
    "rules": [
        {
            "id": "DP-001",
            "title": "epsilon",
            "metric": "dp.epsilon",
            "op": "<=",
            "value": 5.0,
            "warn": 1.0,
            "severity": "blocker",
            "source": {"kind": "house", "text": "test"},
        },
        {
            "id": "AUD-001",
            "title": "membership",
            "metric": "audits.results.membership",
            "op": "<=",
            "value": 0.6,
            "severity": "blocker",
            "source": {"kind": "house", "text": "test"},
        },
    ],
}
WAIVERS: dict[str, Any] = {"$schema": "dpsynth.waivers/1", "waivers": []}


@pytest.fixture
def evidence() -> dict[str, Any]:
    digest = hashlib.sha256(TABLE).hexdigest()
    return {
        "$schema": "dpsynth.evidence/1",
        "tool": {"name": "dpsynth", "version": "0.1.0"},
        "release": {
            "id": "0123456789abcdef0123456789abcdef",
            "created": "2026-11-22T10:00:00Z",
            "title": "Health insurance experiment",
            "dataset": "hie",
            "population": "hie-participants",
            "synthesizer": "mst",
            "n_rows": 20000,
            "rows_source": "caller",
            "sha256": digest,
            "purpose": "teaching",
            "recipient": None,
            "attempt": 1,
        },
        "subject": {"sha256": digest},
        "dp": {
            "variant": "zCDP",
            "epsilon": 3.0,
            "delta": "1e-06",
            "rho": 0.12,
            "epsilon_spent": 2.99,
            "unit": "person",
            "max_rows": 5,
            "adjacency": "add_remove_one_unit",
            "noise_seeded": False,
            "noise_observed": False,
            "recomposed": True,
            "unprotected_tables": [],
            "unprotected_quantities": ["the verdict of each release attempt"],
            "accountant": "zCDP, Canonne et al. 2020",
            "mechanisms": ["discrete Gaussian", "exponential mechanism"],
            "libraries": {"opendp": "0.16.0"},
            "population_bound": 10000,
        },
        "schema": {"domain_provenance": ["declared"], "digest": "0" * 64},
        "audits": {
            "tier": "standard",
            "rows": {"trained": 9990, "seen": 9990},
            "alpha": 0.01,
            "verdict": "NOT_FALSIFIED",
            "requested": ["membership"],
            "results": {
                "membership": {
                    "name": "membership",
                    "verdict": "NOT_FALSIFIED",
                    "value": 0.51,
                    "interval": [0.49, 0.56789],
                    "confidence": 0.99,
                    "n": 2019020190,
                    "seconds": 3.14159,
                    "reason": "",
                    "details": {"seed": 987654321},
                }
            },
        },
        "content": {"constraint_violations": 0},
        "budget": {
            "ledger": True,
            "population": "hie-participants",
            "unit": "person",
            "cap": {"epsilon": 10.0, "delta": "1e-05"},
            "before": {"epsilon": 0.0, "delta": "0", "releases": 0},
            "this": {"epsilon": 3.0, "delta": "1e-06"},
            "after": {"epsilon": 3.0, "delta": "0.000001", "releases": 1},
            "head": "a" * 64,
            "attempt": 1,
        },
        "approvals": {
            "distinct_roles": 1,
            "items": [{"role": "data-owner", "name": "Dr wardhost", "date": "2026-11-21"}],
        },
        "certificate": {"signed": False, "reassess_months": 12},
        "provenance": {"input_sha256": "f00dfeed" * 8, "path": "/home/nurse/hie.parquet"},
        "environment": {"platform": "wardhost"},
        "seconds": {"fit": 3.14159},
    }


@pytest.fixture
def decision(evidence: dict[str, Any]) -> dict[str, Any]:
    return decide(evidence)


def decide(evidence: dict[str, Any]) -> dict[str, Any]:
    return policies.evaluate(evidence, policies.loads(POLICY), now=NOW).to_dict()


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return new_key(tmp_path, "owner")


def new_key(folder: Path, name: str) -> SigningKey:
    pytest.importorskip("cryptography")
    return SigningKey.read(certificate.keygen(folder / f"{name}.pem").private)


Make = Callable[..., Bundle]


@pytest.fixture
def make(tmp_path: Path, evidence: dict[str, Any]) -> Make:
    """Makes a released bundle; ``evidence`` may be changed before it is called."""

    def make(
        key: SigningKey | None = None,
        role: str = "data-owner",
        name: str = "bundle",
        force: bool = False,
        waived: bool = True,
    ) -> Bundle:
        decision = decide(evidence)
        with BundleWriter(tmp_path / name, force=force) as writer:
            writer.write_internal("evidence.json", json.dumps(evidence))
            writer.write_internal("decision.json", json.dumps(decision))
            writer.write_internal("policy.json", json.dumps(policies.effective(policies.loads(POLICY))))
            if waived:
                writer.write_internal("waivers.json", json.dumps(WAIVERS))
            said = certificate.predicate(evidence, decision)
            writer.write_public("synthetic.parquet", TABLE)
            writer.write_public("synthetic.csv", "pid,age,sex,day\n1,40,f,2020-05-05\n")
            sizes = {"synthetic.parquet": (len(TABLE), hashlib.sha256(TABLE).hexdigest())}
            writer.write_public("datapackage.json", json.dumps(datapackage(SCHEMA, said, sizes)))
            writer.write_public("README.md", readme(said, ["synthetic.parquet", "synthetic.csv", "datapackage.json"]))
            writer.write_public("VERIFY.md", VERIFY_TEXT)
            writer.write_public("croissant.json", json.dumps(croissant(SCHEMA, said, sizes)))
            writer.write_public("DATASHEET.md", datasheet(SCHEMA, said))
            writer.write_public("deployment.yaml", deployment(SCHEMA, said))
            writer.write_public("report.html", "<!doctype html><title>report</title>")
            files = writer.seal()
            statement = certificate.build(evidence, decision, files, internal_commitment=writer.commit_internal())
            for file, content in certificate.envelopes(statement, key, role, date(2026, 11, 22)).items():
                writer.write_public(file, content)
            return writer.finish()

    return make
