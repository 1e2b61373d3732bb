"""Releases of tables that nobody wants in memory: read in batches, codes in files, audited through a sample."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpsynth import pipeline
from dpsynth.encode import Encoded, Encoder
from dpsynth.privacy import Cohort, PrivacyBudget, PrivateData
from dpsynth.schema import Field, Schema, Unit

ROWS, PERSONS = 3000, 1500
KEY = 0x0F1E_2D3C_4B5A_6978_8796_A5B4_C3D2_E1F0
LEVELS = tuple(f"w{i}" for i in range(12))
SCHEMA = Schema(
    "visits",
    "patients",
    Unit("patient", "who", 3),
    (
        Field("ward", "string", categories=LEVELS, nullable=True),
        Field("days", "integer", ordered=True, minimum=0, maximum=50, bins=5),
        Field("dead", "boolean"),
        Field("who", "string", role="identifier"),
    ),
)


def _table() -> pa.Table:
    rng = np.random.default_rng(0)
    ward = rng.integers(0, 13, ROWS)
    return pa.table(
        {
            "ward": [LEVELS[i] if i < 12 else None for i in ward],
            "days": 3 * ward + rng.integers(0, 12, ROWS),
            "dead": rng.random(ROWS) < 0.2,
            "who": [str(i) for i in rng.integers(0, PERSONS, ROWS)],
        }
    )


@pytest.fixture
def codes_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kilobyte of memory for codes; all else goes to files."""
    original = Encoder.encode

    def encode(encoder: Encoder, batches: Iterable[pa.RecordBatch], **more: Any) -> Encoded:
        encoded = original(encoder, batches, 1000, **more)
        assert all(isinstance(codes, np.memmap) for codes in encoded.codes.values())
        return encoded

    monkeypatch.setattr(Encoder, "encode", encode)


def _exact(event: Any, exact: Any, draw: Any) -> Any:
    return KEY if event["kind"] == "coins" else exact


def _read(source: Any) -> PrivateData:
    return PrivateData.read(source, SCHEMA, PrivacyBudget(3.0, 1e-6), cohort=Cohort(0.2, audited_rows=400), hook=_exact)


def test_a_file_in_batches_with_codes_on_disk_counts_as_the_table_in_memory(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pq.write_table(_table(), tmp_path / "t.parquet", row_group_size=97)
    here = _read(_table())
    request.getfixturevalue("codes_in_files")
    there = _read(tmp_path / "t.parquet")
    cliques = [(), *combinations(here.domain.names, 2), here.domain.names]
    for one, other in zip(here._table.counts(cliques), there._table.counts(cliques), strict=True):
        np.testing.assert_array_equal(one, other)
    whole, streamed = here.read_for_audit(), there.read_for_audit()
    for name in whole.train.domain.names:
        np.testing.assert_array_equal(whole.train.columns[name], streamed.train.columns[name])
    np.testing.assert_array_equal(whole.train_units, streamed.train_units)
    np.testing.assert_array_equal(whole.control_units, streamed.control_units)


def test_an_audit_gets_the_whole_cohort_and_no_more_of_the_others_than_it_may() -> None:
    private = _read(_table())
    read = private.read_for_audit()
    everyone = PrivateData.read(
        _table(), SCHEMA, PrivacyBudget(3.0, 1e-6), cohort=Cohort(0.2, audited_rows=None), hook=_exact
    ).read_for_audit()
    np.testing.assert_array_equal(read.members, everyone.members)
    np.testing.assert_array_equal(read.control_units, everyone.control_units)
    assert read.trained == everyone.train.n_rows == int(private._table.counts([()])[0])
    of_members = np.isin(read.train_units, read.members)
    assert of_members.sum() == np.isin(everyone.train_units, everyone.members).sum()
    assert 300 < (~of_members).sum() <= 400
    # Units come whole: what is seen of a person is all that was trained on.
    for unit in np.unique(read.train_units):
        assert (read.train_units == unit).sum() == (everyone.train_units == unit).sum()


def test_the_sample_is_as_likely_to_hold_one_unit_as_another() -> None:
    """Chance of failing: below 1e-9 for 40 keys of 1,500 units, by Bernstein's bound at 6.5 standard deviations."""
    from dpsynth.privacy.cohort import buckets

    seen = np.zeros(1000)
    for key in range(40):
        seen += buckets(np.arange(1000), KEY + key) < (1 << 19)
    assert abs(seen.sum() - 20_000) < 6.5 * np.sqrt(10_000)
    assert seen.min() >= 4 and seen.max() <= 36


def test_a_release_is_decided_on_a_sample_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes_in_files: None) -> None:
    pq.write_table(_table(), tmp_path / "t.parquet", row_group_size=97)
    monkeypatch.setattr(pipeline, "_cohort", lambda schema: Cohort(0.2, audited_rows=400))
    monkeypatch.setattr(pipeline, "_RELEASED", 700)
    done = pipeline.release(
        tmp_path / "t.parquet", schema=SCHEMA, policy="demo-health", out=tmp_path / "b", epsilon=3.0, delta=1e-6, synthesizer="independent",
        tier="smoke",
    )  # fmt: skip
    evidence = json.loads((done.bundle.internal / "evidence.json").read_text())
    rows = evidence["audits"]["rows"]
    assert rows["seen"] < rows["trained"] < ROWS
    # Nobody asked for a number of rows, so the table stays small enough to be audited whole.
    assert done.n_rows == 700
    report = (done.bundle.internal / "report.html").read_text()
    assert f"the cohort and a sample of the others: {rows['seen']:,} of {rows['trained']:,} rows" in report


@pytest.mark.parametrize("units", [12_000, 30_000, 1_000_000, 10_000_000])
def test_a_cohort_holds_as_many_members_as_any_policy_asks_attacks(units: int) -> None:
    """One attack a member: whether there are enough must not be a matter of coins."""
    from scipy.stats import binom

    import policies.loader

    asked = max(rule.min_attacks for name in policies.loader.names() for rule in policies.load(name).rules)
    share = pipeline._cohort(replace(SCHEMA, rows=units)).share
    assert binom.cdf(asked - 1, units, share / 2) < 1e-6
