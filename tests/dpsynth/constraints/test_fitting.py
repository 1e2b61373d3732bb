"""Impossible cells have no mass in what the synthesizers fit, and the fit answers the measurements better for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dpsynth import evidence, pipeline
from dpsynth.constraints.checking import violations
from dpsynth.constraints.support import kept_apart, support_of
from dpsynth.encode import Encoder
from dpsynth.marginals import Recoding
from dpsynth.model import SyntheticModel
from dpsynth.pgm.lifting import lifted
from dpsynth.pgm.triples import TreeMarginals
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.privacy.noise import SeededNoise
from dpsynth.synthesizers import SYNTHESIZERS
from tests.dpsynth.constraints.tables import listed, model_of, number, schema, whole
from tests.dpsynth.pgm.joints import joint_of as joint_table

ROWS = 3000
MADE = schema(
    [
        listed("sex", "f", "m"),
        {"name": "pregnant", "type": "boolean", "dp:nullable": True},
        whole("age", 0, 99, bins="dp"),
        listed("icd", *(f"I{i}" for i in range(12))),
        listed("chapter", "A", "B", "C"),
        whole("in", 0, 200, bins="dp"),
        whole("out", 0, 250, bins="dp", nullable=True),
        listed("site", *"abcdefgh"),
        listed("team", *"abcdefgh"),
        number("fee", 0, 100, bins=20, step=0.01),
        number("tax", 0, 30, bins=20, step=0.01),
        number("bill", 0, 130, step=0.01),
    ],
    {"kind": "forbidden", "when": {"sex": "m", "pregnant": True}},
    {"kind": "forbidden", "when": {"age": {"minimum": 60}, "pregnant": True}},
    {"kind": "determines", "by": "icd", "field": "chapter"},
    {"kind": "order", "fields": ["in", "out"]},
    {"kind": "sum", "total": "bill", "parts": ["fee", "tax"]},
)


def _table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    sex, age, icd = rng.choice(["f", "m"], ROWS), rng.integers(0, 100, ROWS), rng.integers(0, 12, ROWS)
    start = rng.integers(0, 200, ROWS)
    end = pd.array(start + rng.integers(0, 40, ROWS), dtype="Int64")
    end[rng.random(ROWS) < 0.3] = pd.NA
    fee, tax = rng.integers(0, 10_000, ROWS) / 100, rng.integers(0, 3000, ROWS) / 100
    return pd.DataFrame(
        {
            "sex": sex,
            "pregnant": (sex == "f") & (age < 60) & (rng.random(ROWS) < 0.5),
            "age": age,
            "icd": [f"I{i}" for i in icd],
            "chapter": np.array(["A", "B", "C"])[icd // 4],
            "in": start,
            "out": end,
            "site": rng.choice(list("abcdefgh"), ROWS),
            "team": rng.choice(list("abcdefgh"), ROWS),
            "fee": fee,
            "tax": tax,
            "bill": np.round(fee + tax, 2),
        }
    )


@pytest.fixture(scope="module", params=sorted(SYNTHESIZERS))
def model(request: pytest.FixtureRequest) -> SyntheticModel:
    return SYNTHESIZERS[request.param]().fit(PrivateData.read(_table(), MADE, PrivacyBudget(3.0, 1e-6), hook=SeededNoise(0)))


def test_every_synthesizer_fits_no_mass_to_impossible_cells(model: SyntheticModel) -> None:
    assert "bill" not in model.domain
    support = support_of(model.encoder, model.model_domain, model.recoding)
    assert len(support.masks) == 3
    for axes, mask in support.masks:
        fitted = TreeMarginals(model.beliefs).table(axes)
        assert fitted[mask == 0.0].max() == 0.0
        assert fitted[mask == 1.0].sum() == pytest.approx(model.total)


def test_every_synthesizer_writes_rows_that_keep_every_relation(model: SyntheticModel) -> None:
    table = model.sample(2000, seed=0)
    found = violations(MADE, table)
    assert found["rows"] == 0
    assert [relation["violations"] for relation in found["relations"]] == [0] * 5
    # The likeliest chapter of a code under the noise is its own.
    assert (table["chapter"] == np.array(["A", "B", "C"])[table["icd"].str[1:].astype(int) // 4]).mean() > 0.95
    # What was impossible took nothing from what is not: the shares are those of the training table.
    assert (table["pregnant"] == True).mean() == pytest.approx(0.15, abs=0.05)  # noqa: E712
    assert table["out"].isna().mean() == pytest.approx(0.3, abs=0.06)


def test_a_condition_is_a_bin_edge_and_levels_it_tells_apart_are_not_merged() -> None:
    encoder = Encoder(MADE).with_edges({name: [] for name in ("age", "in", "out")})
    assert list(encoder.bin_cells("age")) == [0, 60, 100]
    recoding = kept_apart(encoder, Recoding({"sex": np.array([0, 0]), "site": np.array([0, 0, 1, 1, 1, 1, 1, 1])}))
    assert "sex" not in recoding.levels
    assert recoding.levels["site"].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_a_lifted_tree_holds_the_same_distribution() -> None:
    model = model_of(schema([listed(name, *"0123"[: 2 + i % 3]) for i, name in enumerate("abcde")]), seed=4, cliques=[(0, 1), (1, 2)])
    larger = lifted(model.beliefs, [(0, 2, 3)], [(1, 4)])
    assert larger.tree.home((0, 2, 3)) is not None and larger.tree.home((1, 4)) is not None
    np.testing.assert_allclose(joint_table(larger), joint_table(model.beliefs), rtol=1e-9)


def test_a_table_with_broken_rows_is_told_from_a_sound_one() -> None:
    table = _table()
    sound = violations(MADE, table)
    assert sound["rows"] == 0
    table.loc[:4, "sex"], table.loc[:4, "pregnant"] = "m", True
    table.loc[5, "out"], table.loc[5, "in"] = 3, 4
    table.loc[6, "bill"] = round(table.loc[6, "bill"] + 0.01, 2)
    table.loc[7, "chapter"] = "A" if table.loc[7, "chapter"] != "A" else "B"
    found = violations(MADE, table)
    assert found["rows"] == 8
    first, _, *others = (relation["violations"] for relation in found["relations"])
    assert (first, others) == (5, [1, 1, 1])


def test_a_release_counts_the_rows_of_the_very_file(tmp_path: Path) -> None:
    table = _table()
    table.loc[:2, "bill"] = 0.0
    table.to_parquet(tmp_path / "t.parquet")
    found = pipeline._kept_relations(MADE, tmp_path / "t.parquet")
    assert found["constraint_violations"] == 3
    assert found["constraints"][-1] == {"text": "bill = fee + tax", "violations": 3}
    assert pipeline._kept_relations(schema([whole("age", 0, 9)]), tmp_path / "t.parquet") == {"constraint_violations": 0, "constraints": []}


def test_the_dictionary_of_the_evidence_tells_computed_columns(model: SyntheticModel) -> None:
    said = evidence.dictionary(MADE, model.domain)
    assert said["relations"][-1] == "bill = fee + tax"
    computed = [field for field in said["fields"] if field["provenance"] == "computed"]
    assert [(field["name"], field["size"], field["maximum"]) for field in computed] == [("bill", None, 130)]
