"""Codes in a public hierarchy: read at its level, merged inside their group, and what hangs on the group survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from dpsynth.encode import Encoder
from dpsynth.errors import SchemaError
from dpsynth.hierarchies import icd9_categories, icd9_category, icd10_categories, icd10_category, parents
from dpsynth.marginals import Attribute, Domain, Measurement
from dpsynth.model import load
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.privacy.noise import SeededNoise
from dpsynth.schema import Schema
from dpsynth.sources import open_source
from dpsynth.synthesizers import Mst
from dpsynth.synthesizers.levels import coarsen
from dpsynth.synthesizers.one_way import rare_as_one


def _schema(*fields: dict[str, Any]) -> Schema:
    return Schema.from_dict({"dp:dataset": {"id": "d", "population": "p"}, "dp:unit": {"name": "row"}, "fields": list(fields)})


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("250.83", "250"), ("250", "250"), ("250.", "250"), ("8", "008"), ("41.9", "041"), ("V57.1", "V57"), ("v3", "V03"),
        ("E909", "E909"), ("E80", "E080"), (" 401 ", "401"), ("?", None), ("", None), ("2500", None), ("X12", None), ("25a", None),
    ],
)  # fmt: skip
def test_codes_as_tables_write_them(text: str, category: str | None) -> None:
    assert icd9_category(text) == category


def test_chapters_of_well_known_codes() -> None:
    # cholera, diabetes, hypertension, heart attack, femur fracture; liveborn; transport accident
    known = ["001", "250", "401", "410", "820", "V30", "E810"]
    groups = dict(zip(known, parents(known, "icd9"), strict=True))
    assert groups["401"] == groups["410"]
    assert len({groups[code] for code in ("001", "250", "401", "820", "V30", "E810")}) == 6
    every = parents(icd9_categories(), "icd9")
    assert len(icd9_categories()) == len(set(icd9_categories())) == 2090
    assert max(every) + 1 == 19
    # The first and the last category of a chapter.
    at = dict(zip(icd9_categories(), every, strict=True))
    assert at["140"] == at["239"] != at["240"]
    assert at["800"] == at["999"] != at["V01"]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("E11.65", "E11"), ("E1165", "E11"), ("E11", "E11"), ("e11.", "E11"), ("S72.001A", "S72"), ("s72001a", "S72"), ("Z3A.38", "Z3A"),
        ("C7A.00", "C7A"), (" I10 ", "I10"), ("U07.1", "U07"), ("E1A", None), ("250.83", None), ("E1", None), ("", None), ("E11.65.", None),
        ("E11-65", None), ("EE1", None), ("E11.123456", None),
    ],
)  # fmt: skip
def test_icd10_codes_as_tables_write_them(text: str, category: str | None) -> None:
    assert icd10_category(text) == category


def test_icd10_chapters_begin_and_end_where_the_tabular_list_says() -> None:
    # Of every chapter the first and the last block's category, as in the tabular list.
    ranges = [
        ("A00", "B99"), ("C00", "D49"), ("D50", "D89"), ("E00", "E89"), ("F01", "F99"), ("G00", "G99"), ("H00", "H59"), ("H60", "H95"),
        ("I00", "I99"), ("J00", "J99"), ("K00", "K95"), ("L00", "L99"), ("M00", "M99"), ("N00", "N99"), ("O00", "O9A"), ("P00", "P96"),
        ("Q00", "Q99"), ("R00", "R99"), ("S00", "T88"), ("U00", "U85"), ("V00", "Y99"), ("Z00", "Z99"),
    ]  # fmt: skip
    every = icd10_categories()
    at = dict(zip(every, parents(every, "icd10"), strict=True))
    assert len(every) == len(set(every)) == 26 * 100 + 7
    assert all(at[first] == at[last] for first, last in ranges)
    assert len({at[first] for first, _ in ranges}) == len(set(at.values())) == 22
    assert at["D3A"] == at["C4A"] == at["C00"]


def test_a_column_of_icd10_needs_no_list_and_zip_codes_go_by_their_first_three_digits() -> None:
    listed = ["10115", "10117", "80331"]
    schema = _schema(
        {"name": "dx", "type": "string", "dp:hierarchy": "icd10", "dp:nullable": True},
        {"name": "zip", "type": "string", "categories": listed, "dp:hierarchy": "prefix:3", "dp:other": "80331"},
    )
    coder = Encoder(schema)
    table = pd.DataFrame({"dx": ["E11.65", "E1165", "z3a.38", None, "250.83"], "zip": [10115, 10117, 80331, 99999, 10115]})
    codes = coder.bin(coder.encode(open_source(table, ["dx", "zip"])).codes).columns
    assert coder.decode(codes)["dx"].tolist() == ["E11", "E11", "Z3A", None, None]
    assert coder.decode(codes)["zip"].tolist() == ["10115", "10117", "80331", "80331", "10115"]
    assert coder.domain["zip"].parents == (0, 0, 1)
    assert "categories" not in schema.to_dict()["fields"][0]
    assert Schema.from_dict(schema.to_dict()) == schema


def test_prefixes_and_given_groups() -> None:
    assert parents(["10115", "10117", "80331"], "prefix:3") == (0, 0, 1)
    assert parents(["a", "b", "c"], (("a", "x"), ("b", "y"), ("c", "x"))) == (0, 1, 0)


def test_a_column_of_icd9_needs_no_list_and_reads_finer_codes() -> None:
    schema = _schema({"name": "dx", "type": "string", "dp:hierarchy": "icd9", "dp:nullable": True, "missingValues": ["", "?"]})
    coder = Encoder(schema)
    table = pd.DataFrame({"dx": ["250.83", "250", "8", "?", None, "V57", "nonsense"]})
    codes = coder.bin(coder.encode(open_source(table, ["dx"])).codes).columns
    assert coder.decode(codes)["dx"].tolist() == ["250", "250", "008", None, None, "V57", None]
    assert "categories" not in schema.to_dict()["fields"][0]
    assert Schema.from_dict(schema.to_dict()) == schema


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"dp:hierarchy": "icd11", "categories": ["a"]}, 'must be "icd9"'),
        ({"dp:hierarchy": "prefix:0", "categories": ["a"]}, 'must be "icd9"'),
        ({"dp:hierarchy": {"a": "x"}, "categories": ["a", "b"]}, "without a group for the category 'b'"),
        ({"dp:hierarchy": "icd9", "type": "boolean"}, "is for categories"),
        ({"dp:hierarchy": "icd9", "dp:role": "identifier"}, "dp:hierarchy has no meaning"),
    ],
)
def test_hierarchies_that_cannot_be_are_refused(item: dict[str, Any], words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        _schema({"name": "dx", "type": "string", **item}, {"name": "x", "type": "boolean"})


def test_rare_levels_merge_with_their_own_kind_when_together_they_stand_out() -> None:
    #                 kept   group 0: 3 rare    group 1: 2 rare, too few    a rare one alone
    values = np.array([90.0, 6.0, 6.0, 6.0, 1.0, 0.0, 5.0])
    codes = rare_as_one(values, 10.0, (0, 0, 0, 0, 1, 1, 2))
    assert codes is not None
    # 18 < 10 sqrt(3) is false: the three stand out together.
    assert codes.tolist() == [0, 1, 1, 1, 2, 2, 2]
    plain = rare_as_one(values, 10.0)
    assert plain is not None and plain.tolist() == [0, 1, 1, 1, 1, 1, 1]
    assert rare_as_one(np.array([90.0, 80.0, 3.0]), 10.0, (0, 0, 1)) is None


def test_adaptive_coarsens_inside_groups_too() -> None:
    domain = Domain((Attribute("c", 7, parents=(0, 0, 0, 0, 1, 1, 2)),))
    one_way = Measurement(("c",), np.array([90.0, 6.0, 6.0, 6.0, 1.0, 0.0, 5.0]), 10.0 / 3.0)
    assert coarsen(domain, [one_way], 114.0, 4).levels["c"].tolist() == [0, 1, 1, 1, 2, 2, 2]
    # An ordered column keeps its order: its bins are runs of levels.
    ordered = Domain((Attribute("c", 7, ordered=True, parents=(0, 1, 0, 1, 0, 1, 0)),))
    codes = coarsen(ordered, [one_way], 114.0, 4).levels["c"]
    assert np.all(np.diff(codes) >= 0)


def _codes_table(rows: int) -> pd.DataFrame:
    """300 codes in three groups; the group alone decides the ward."""
    rng = np.random.default_rng(0)
    code: npt.NDArray[np.int64] = rng.integers(0, 300, rows)
    ward = np.where(rng.random(rows) < 0.9, code // 100, rng.integers(0, 3, rows))
    return pd.DataFrame({"code": np.array([f"{'ABC'[c // 100]}{c % 100:02d}" for c in range(300)])[code], "ward": ward.astype(str)})


def test_what_hangs_on_the_group_survives_the_merging_of_rare_codes(tmp_path: Path) -> None:
    table = _codes_table(6000)
    right = {}
    for hierarchy in ({}, {"dp:hierarchy": "prefix:1"}):
        listed = [f"{letter}{i:02d}" for letter in "ABC" for i in range(100)]
        schema = _schema(
            {"name": "code", "type": "string", "categories": listed, **hierarchy},
            {"name": "ward", "type": "string", "categories": ["0", "1", "2"]},
        )
        model = Mst().fit(PrivateData.read(table, schema, PrivacyBudget(0.5, 1e-6), hook=SeededNoise(0)))
        made = model.sample(6000, seed=0)
        right[bool(hierarchy)] = float((made["code"].str[0].map({"A": "0", "B": "1", "C": "2"}) == made["ward"]).mean())
        model.save(tmp_path / "m")
        pd.testing.assert_frame_equal(load(tmp_path / "m").sample(50, seed=1), model.sample(50, seed=1))
    # In the table 93 % of rows are in their group's ward; all codes are rare at this budget, so without groups a third are.
    assert right[True] > 0.8
    assert right[False] < 0.6
