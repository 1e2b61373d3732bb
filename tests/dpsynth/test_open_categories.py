"""Columns whose categories nobody has listed: how they are declared, read, released and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dpsynth import pipeline
from dpsynth.encode import Encoder, closed_by
from dpsynth.errors import ConfigError, LedgerError, SchemaError
from dpsynth.lexicon import Lexicon
from dpsynth.mixing import mix
from dpsynth.model import load
from dpsynth.planning.plan import plan
from dpsynth.privacy.ledger import Ledger
from dpsynth.schema import Schema
from dpsynth.sources import open_source
from dpsynth.toy_schema import toy_schema
from tests.chance import kernel_noise


def _document(*fields: dict[str, Any], **code: Any) -> dict[str, Any]:
    return {
        "dp:dataset": {"id": "visits", "population": "patients"},
        "dp:unit": {"name": "patient"},
        "dp:rows": 4000,
        "fields": [
            {"name": "code", "type": "string", "dp:categories": "dp", "dp:role": "sensitive", **code},
            {"name": "ward", "type": "string", "categories": ["a", "b", "c"], "dp:role": "quasi"},
            *fields,
        ],
    }


def _table(rows: int = 8000, levels: int = 300, seed: int = 0) -> pd.DataFrame:
    """A column of 300 codes, few of them common, and a ward that follows the code."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, levels + 1) ** 1.05
    code = rng.choice(levels, rows, p=share / share.sum())
    ward = np.where(rng.random(rows) < 0.9, code % 3, rng.integers(0, 3, rows))
    return pd.DataFrame({"code": [f"D{c:03d}" for c in code], "ward": np.array(list("abc"))[ward]})


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ({"type": "boolean"}, 'which is for "type": "string"'),
        ({"dp:categories": "data"}, "it must be 'dp'"),
        ({"dp:categories": None}, "it must be 'dp'"),
        ({"dp:other": " "}, "also a missing value"),
        ({"dp:unseen": "x"}, "dp:unseen beside dp:other"),
        ({"dp:minimumCount": 0}, "must be >= 1"),
        ({"dp:ordered": True}, "and an order"),
        ({"dp:hierarchy": {"a": "b"}}, "nothing can be said of single categories"),
        ({"dp:hierarchy": "icd11"}, "dp:hierarchy='icd11'"),
        ({"dp:role": "identifier"}, "dp:categories has no meaning"),
    ],
)
def test_what_cannot_be_said_of_open_categories_is_refused(code: dict[str, Any], words: str) -> None:
    with pytest.raises(SchemaError) as told:
        Schema.from_dict(_document(**code))
    assert words in str(told.value)


def test_a_minimum_count_needs_open_categories_and_relations_need_listed_ones() -> None:
    document = _document()
    document["fields"][1]["dp:minimumCount"] = 5
    with pytest.raises(SchemaError, match="dp:minimumCount, which goes with"):
        Schema.from_dict(document)
    document = _document() | {"dp:constraints": [{"kind": "forbidden", "when": {"code": "x", "ward": "a"}}]}
    with pytest.raises(SchemaError, match="names 'code', whose categories are found under the budget"):
        Schema.from_dict(document)


def test_a_schema_with_open_categories_survives_a_round_trip_open_and_closed() -> None:
    schema = Schema.from_dict(_document(**{"dp:minimumCount": 20}))
    closed = schema.closed({"code": ["flu", "cold", "other"]})

    assert Schema.from_dict(schema.to_dict()) == schema
    assert Schema.from_dict(json.loads(json.dumps(closed.to_dict()))) == closed
    assert (schema.open, closed.open) == (("code",), ())
    assert closed["code"].categories == ("other", "cold", "flu")
    assert closed.declared == schema and closed.digest == schema.digest
    assert any("takes its categories from the records" in line for line in schema.lint())
    assert any("keep one" in line for line in closed.lint())


def test_an_encoder_without_a_budget_does_not_read_open_columns() -> None:
    encoder = Encoder(Schema.from_dict(_document()))
    with pytest.raises(ConfigError, match="columns code have no categories yet"):
        encoder.encode(open_source(_table(20), encoder.columns))


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["a", " a ", "b", None, "", "NA", "1", "1.0", "x" * 257, "\x00"]),
        pa.array(["a", " a ", "b", None, "", "NA", "1", "1.0", "x" * 257, "\x00"]).dictionary_encode(),
        pa.array(["a", " a ", "b", None, "", "NA", "1", "1.0", "x" * 257, "\x00"], pa.large_string()),
    ],
)
def test_texts_get_codes_however_they_are_stored_and_split(array: pa.Array) -> None:
    schema = Schema.from_dict(_document(**{"dp:nullable": True, "missingValues": ["", "NA"]}))
    encoder = Encoder(schema)
    ward = pa.array(["a"] * len(array))
    whole = pa.RecordBatch.from_arrays([array, ward], names=["code", "ward"])
    found = []
    for parts in ([whole], [whole.slice(0, 3), whole.slice(3, 4), whole.slice(7)]):
        lexicons = encoder.lexicons()
        codes = np.asarray(encoder.encode(parts, lexicons=lexicons).codes["code"]).astype(np.int64)
        lexicon = lexicons["code"]
        named = [*["rest"], *lexicon.texts]
        found.append(["missing" if c >= lexicon.size else named[c] for c in codes.tolist()])
    assert found[0] == found[1] == ["a", "a", "b", "missing", "missing", "missing", "1", "1", "rest", "rest"]


def test_numbers_and_empty_columns_are_texts_too() -> None:
    encoder = Encoder(Schema.from_dict(_document(**{"dp:nullable": True})))
    for array, texts in ((pa.array([7, 7, None, 8]), ["7", "8"]), (pa.array([7.0, 1.5, None, 7.0]), ["7", "1.5"]), (pa.nulls(4), [])):
        lexicons = encoder.lexicons()
        encoder.encode([pa.RecordBatch.from_arrays([array, pa.array(["a"] * 4)], names=["code", "ward"])], lexicons=lexicons)
        assert sorted(lexicons["code"].texts) == sorted(texts)


def test_digests_of_texts_do_not_depend_on_their_order() -> None:
    found = []
    for texts in (["a", "b", "c"], ["c", "x", "a", "b"]):
        lexicon = Lexicon(("",), "other", nullable=True)
        lexicon.code(np.arange(len(texts)), pa.array(texts))
        found.append(dict(zip(["rest", *lexicon.texts, "missing"], lexicon.digests().tolist(), strict=True)))
    assert all(found[0][name] == found[1][name] for name in found[0])
    assert len(set(found[1].values())) == 6


def test_a_table_with_300_codes_is_released_and_the_model_is_read_again(tmp_path: Path) -> None:
    table = _table()
    table.loc[0, "code"] = "Ms Unique"
    path = tmp_path / "t.csv"
    table.to_csv(path, index=False)
    with kernel_noise(1):
        fitted = pipeline.fit(path, schema=Schema.from_dict(_document()), epsilon=3.0, delta=1e-6, synthesizer="mst", seed=1)
    made = fitted.table()

    found = fitted.schema["code"].categories
    assert found is not None and found[0] == "other" and "Ms Unique" not in found
    common = table["code"].value_counts()
    threshold = next(e for e in fitted.model.transcript["events"] if e["kind"] == "threshold")["threshold"]
    # Six standard deviations of the noise on either side.
    assert set(common[common > 2 * threshold].index) <= set(found)
    assert set(common[common < threshold / 10].index).isdisjoint(found)
    assert 10 < len(found) < 120
    assert set(made["code"]) <= set(found)
    rest = ~table["code"].isin(found)
    assert abs((made["code"] == "other").mean() - rest.mean()) < 0.05
    # The ward follows the code in the synthetic rows as it does in the table.
    right = made.loc[made["code"] != "other"]
    assert ((right["code"].str[1:].astype(int) % 3).map(dict(enumerate("abc"))) == right["ward"]).mean() > 0.8
    fitted.model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    pd.testing.assert_frame_equal(again.sample(100, seed=3), fitted.model.sample(100, seed=3))
    assert set(again.sample(50, seed=0, where={"code": found[1]})["code"]) == {found[1]}


def test_what_is_released_says_which_categories_a_mixed_table_has() -> None:
    table = _table(6000)
    schema = Schema.from_dict(_document())
    made = pipeline.fit(table, schema=schema, epsilon=3.0, delta=1e-6, synthesizer="mst", seed=1).table()
    values = sorted(set(made["code"]) - {"other"})
    assert closed_by(schema, made)["code"].categories == ("other", *values)

    mixed = mix(table, made, schema, seed=0)
    assert set(mixed["code"]) <= {"other", *values}
    assert (mixed.loc[mixed["dp_origin"] == "real", "code"] == "D000").sum() == (table["code"] == "D000").sum()


def test_one_batch_after_another_is_counted_like_one_table() -> None:
    table = _table(3000)
    batches = pa.Table.from_pandas(table, preserve_index=False).to_batches(max_chunksize=170)
    stream = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    fitted = pipeline.fit(stream, schema=Schema.from_dict(_document()), epsilon=3.0, delta=1e-6, synthesizer="independent", seed=1)

    assert {"other", "D000", "D001"} <= set(fitted.schema["code"].categories or ())


def test_a_release_says_what_was_found_and_what_it_cost(tmp_path: Path) -> None:
    table = _table(6000).assign(cost=np.random.default_rng(0).exponential(50.0, 6000))
    # Bins that are found too: the transcript then ends with the grid, on which categories are paid for already.
    cost = {"name": "cost", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}, "dp:bins": "dp"}
    # The calibration audit has a level: one in two hundred runs is an alarm.
    with kernel_noise(1):
        done = pipeline.release(
            table, schema=Schema.from_dict(_document(cost)), policy="base", out=tmp_path / "out", epsilon=3.0, delta=1e-6, tier="smoke",
            seed=1, synthesizer="independent", cache=False,
        )  # fmt: skip
    evidence = json.loads((done.bundle.internal / "evidence.json").read_text())

    assert evidence["dp"]["recomposed"] is True
    assert (evidence["dp"]["epsilon"], evidence["dp"]["delta"]) == (3.0, "1e-06")
    assert evidence["dp"]["epsilon_spent"] <= 3.0
    assert evidence["dp"]["variant"] == "approximate zCDP" and "e-07 of delta is set aside first" in evidence["dp"]["accountant"]
    assert evidence["claim"]["threshold_delta"] == pytest.approx(1e-7)
    assert evidence["schema"]["domain_provenance"] == ["declared", "dp"]
    field = evidence["schema"]["fields"][0]
    assert field["provenance"] == "dp" and field["categories"][0] == "other" and len(field["categories"]) == field["size"]
    assert "discrete Gaussian with a threshold (categories)" in evidence["dp"]["mechanisms"]
    assert {evidence["audits"]["results"][name]["verdict"] for name in ("record_replay", "residual_calibration")} == {"NOT_FALSIFIED"}
    page = (done.bundle.internal / "report.html").read_text()
    assert "The categories of code are values that many records share" in page
    assert "which values of code may be named" in page


def test_a_ledger_composed_by_zcdp_takes_no_delta_that_rho_does_not_cover(tmp_path: Path) -> None:
    book = Ledger.open(tmp_path / "l")
    book.set_cap("patients", "patient", 10, 1e-5, composition="zcdp")
    with pytest.raises(LedgerError, match="no rho"):
        pipeline.fit(_table(100), schema=Schema.from_dict(_document()), epsilon=1.0, delta=1e-6, ledger=tmp_path / "l")


def test_a_plan_says_from_how_many_rows_on_a_value_is_named() -> None:
    said = plan(Schema.from_dict(_document()), delta=1e-6, epsilon=1.0)
    dear = plan(Schema.from_dict(_document(**{"dp:minimumCount": 5000})), delta=1e-6, epsilon=1.0)

    assert said.chosen.columns[0].found and said.chosen.columns[0].levels == 64
    assert said.chosen.rho < plan(Schema.from_dict(_document()).closed({"code": ["a"]}), delta=1e-6, epsilon=1.0).chosen.rho
    assert any("'code' names values from about 77 rows on (noise 14.4)" in line for line in said.advice)
    assert any("from about 5000 rows on" in line for line in dear.advice)


def test_the_toy_of_the_code_audits_has_an_open_column_too() -> None:
    toy = toy_schema(Schema.from_dict(_document()))
    assert toy["code"].open and toy["code"].categories is None
