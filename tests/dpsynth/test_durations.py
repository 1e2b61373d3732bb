"""Durations: read from every spelling, counted in whole steps, written in one; what is modelled is a column of whole numbers."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpsynth import pipeline
from dpsynth.constraints.checking import violations
from dpsynth.durations import seconds_of, text_of
from dpsynth.encode import Encoder
from dpsynth.errors import ConfigError, InputError, SchemaError
from dpsynth.evidence import dictionary
from dpsynth.level_labels import level_labels
from dpsynth.model import load
from dpsynth.planning.plan import plan
from dpsynth.schema import Schema
from dpsynth.sources import open_source
from dpsynth.streaming import Chunks
from dpsynth.toy_mechanism import audit_columns
from dpsynth.toy_schema import toy_schema


def _schema(*more: dict[str, Any], low: Any = "P0D", high: Any = "P30D", constraints: list[Any] | None = None, **stay: Any) -> Schema:
    return Schema.from_dict(
        {
            "dp:dataset": {"id": "stays", "population": "patients"},
            "dp:unit": {"name": "patient"},
            "dp:rows": 3000,
            "fields": [
                {"name": "stay", "type": "duration", "constraints": {"minimum": low, "maximum": high}, **stay},
                {"name": "ward", "type": "string", "categories": ["a", "b"]},
                *more,
            ],
            **({} if constraints is None else {"dp:constraints": constraints}),
        }
    )


def _codes(schema: Schema, array: pa.Array) -> list[int]:
    encoder = Encoder(schema)
    batch = pa.RecordBatch.from_arrays([array, pa.array(["a"] * len(array))], names=["stay", "ward"])
    return [int(code) for code in encoder.encode([batch]).codes["stay"]]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("P3D", 259_200), ("P0D", 0), ("PT0S", 0), ("-P1D", -86_400), ("+P1D", 86_400), ("p1dt2h", 93_600), (" P1D ", 86_400),
        ("P1W", 604_800), ("P1W2D", 777_600), ("PT90M", 5_400), ("PT1H30M", 5_400), ("PT1.5S", 1), ("-PT1.5S", -2), ("PT0,5H", 1_800),
        ("P1Y", None), ("P1M", None), ("P1Y2M3D", None), ("P", None), ("PT", None), ("P1DT", None), ("3 days", None), ("3", None),
        ("", None), ("PT1D", None), ("P1H", None), ("P-1D", None), ("P١D", None), ("P1D1W", None), ("P" + "9" * 16 + "D", None),
        ("P999999999999999W", 2**53), ("-P999999999999999W", -(2**53)),
    ],
)  # fmt: skip
def test_texts_and_their_seconds(text: str, seconds: int | None) -> None:
    assert seconds_of(text) == seconds


@given(st.integers(-(2**53), 2**53))
def test_what_is_written_is_read_back(seconds: int) -> None:
    text = text_of(seconds)
    assert seconds_of(text) == seconds
    # As the standard library understands it: the sum of the parts.
    assert text.removeprefix("-").startswith("P") and not text.endswith("T")


def test_cells_go_to_whole_steps_inside_the_bounds() -> None:
    texts = ["P0D", "P3D", "PT71H", "P31D", "-P1D", "P1M", "x", "", None, "P1W"]
    nullable = _schema(**{"dp:nullable": True})
    assert _codes(nullable, pa.array(texts)) == [0, 3, 2, 30, 0, 31, 31, 31, 31, 7]
    assert _codes(_schema(**{"dp:unseen": "P5D"}), pa.array(texts)) == [0, 3, 2, 30, 0, 5, 5, 5, 5, 7]
    hours = _schema(low="-PT2H", high="PT5H", **{"dp:resolution": "hour"})
    assert _codes(hours, pa.array(["-PT3H", "-PT1H30M", "PT0S", "PT119M", "P1D"])) == [0, 0, 2, 3, 7]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_way_of_storing_a_duration_gives_the_same_codes(unit: str) -> None:
    lengths = [timedelta(days=2), timedelta(hours=47), None, timedelta(days=-1), timedelta(days=40)]
    wanted = [2, 1, 31, 0, 30]
    schema = _schema(**{"dp:nullable": True})
    assert _codes(schema, pa.array(lengths, pa.duration(unit))) == wanted
    assert _codes(schema, pa.array(["P2D", "PT47H", None, "-P1D", "P40D"]).dictionary_encode()) == wanted
    encoder = Encoder(schema)
    frame = pd.DataFrame({"stay": pd.Series(lengths, dtype=f"timedelta64[{unit}]"), "ward": "a"})
    objects = pd.DataFrame({"stay": pd.Series(lengths, dtype=object), "ward": "a"})
    for table in (frame, objects, pa.table({"stay": pa.array(lengths, pa.duration(unit)), "ward": ["a"] * 5})):
        assert encoder.encode(open_source(table, ["stay", "ward"])).codes["stay"].tolist() == wanted


def test_a_column_of_numbers_is_no_column_of_durations() -> None:
    with pytest.raises(InputError, match="column 'stay' has Arrow type int64; the schema says type=duration"):
        _codes(_schema(), pa.array([1, 2]))
    # A frame column in which every cell is missing arrives as floats.
    assert _codes(_schema(**{"dp:nullable": True}), pa.array([None, None], pa.float64())) == [31, 31]


def test_decoded_cells_are_canonical_texts_that_encode_to_the_same_bins() -> None:
    schema = _schema(low="PT0S", high="P2D", **{"dp:resolution": "minute", "dp:bins": ["PT30M", "PT1H", "P1D"], "dp:nullable": True})
    encoder = Encoder(schema)
    codes = {"stay": np.array([0, 1, 2, 3, 4], dtype=np.uint8), "ward": np.zeros(5, dtype=np.uint8)}
    for rng in (None, np.random.default_rng(0)):
        table = encoder.decode(codes, rng)
        assert table["stay"].iloc[4] is None
        assert all(seconds_of(text) is not None and text == text_of(seconds_of(text) or 0) for text in table["stay"].iloc[:4])
        assert encoder.bin(encoder.encode(open_source(table, encoder.columns)).codes).columns["stay"].tolist() == [0, 1, 2, 3, 4]
        batch = encoder.decode_batch(codes, np.random.default_rng(0) if rng else None)
        assert encoder.bin(encoder.encode([batch]).codes).columns["stay"].tolist() == [0, 1, 2, 3, 4]
        assert batch.schema.field("stay").type == pa.dictionary(pa.int32(), pa.string())
    # Audits compare numbers of steps.
    canonical = encoder.canonical(encoder.encode(open_source(table, encoder.columns)).codes)
    assert canonical["stay"].dtype == "Int64" and canonical["stay"].iloc[0] < 30


@pytest.mark.parametrize(
    ("stay", "words"),
    [
        ({"constraints": {"maximum": "P3D"}}, 'no constraints.minimum; give a public bound, e.g. "P0D"'),
        ({"constraints": {"minimum": "P3D"}}, 'no constraints.maximum; give a public bound, e.g. "P365D"'),
        ({"constraints": {"minimum": "P0D", "maximum": 30}}, "constraints.maximum=30; write an ISO 8601 duration"),
        ({"constraints": {"minimum": "P0D", "maximum": "P1Y"}}, "without years and months"),
        ({"constraints": {"minimum": "P0D", "maximum": "PT36H"}}, "which is no whole number of days; set a finer dp:resolution"),
        ({"constraints": {"minimum": "P4D", "maximum": "P3D"}}, "must be below"),
        ({"dp:resolution": "month"}, "for a duration it must be one of week, day, hour"),
        ({"dp:bins": ["P5D", "P2D"]}, "not strictly increasing"),
        ({"dp:bins": [5]}, "dp:bins=5; write an ISO 8601 duration"),
        ({"dp:spikes": ["P31D"]}, "outside its bounds"),
        ({"dp:unseen": 3}, "dp:unseen=3; write an ISO 8601 duration"),
        ({"categories": ["P1D"]}, "and categories"),
        ({"dp:anchor": "ward"}, "dp:anchor"),
        ({"dp:other": "x"}, "dp:other"),
    ],
)
def test_what_cannot_be_is_refused(stay: dict[str, Any], words: str) -> None:
    with pytest.raises(SchemaError) as told:
        Schema.from_dict(
            {
                "dp:dataset": {"id": "d", "population": "p"},
                "dp:unit": {"name": "row"},
                "fields": [{"name": "stay", "type": "duration", "constraints": {"minimum": "P0D", "maximum": "P30D"}, **stay}],
            }
        )
    assert words in str(told.value)


def test_a_schema_with_durations_survives_a_round_trip() -> None:
    schema = _schema(**{"dp:bins": ["P1D", "P1W"], "dp:spikes": ["P0D"], "dp:unseen": "P2D"})
    written = schema.to_dict()["fields"][0]
    assert written["constraints"] == {"minimum": "P0D", "maximum": "P30D"}
    assert (written["dp:bins"], written["dp:spikes"], written["dp:unseen"]) == (["P1D", "P7D"], ["P0D"], "P2D")
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    assert dictionary(schema, Encoder(schema).domain)["fields"][0]["maximum"] == "P30D"
    assert dictionary(schema, Encoder(schema).domain)["date_precision"] is None
    (stay, _) = audit_columns(schema)
    assert (stay.kind, stay.minimum, stay.maximum) == ("ordered", 0.0, 30.0)
    assert toy_schema(schema)["stay"].type == "integer"
    assert plan(schema, delta=1e-6, epsilon=1.0).chosen.columns[0].levels == 3


def test_relations_compare_durations_of_one_resolution() -> None:
    total = {"name": "total", "type": "duration", "constraints": {"minimum": "P0D", "maximum": "P60D"}}
    order = [{"kind": "order", "fields": ["stay", "total"]}, {"kind": "forbidden", "when": {"ward": "a", "stay": {"minimum": "P20D"}}}]
    schema = _schema(total, constraints=order)
    rows = pd.DataFrame({"stay": ["P3D", "P5D", "P21D"], "ward": ["a", "b", "a"], "total": ["P4D", "P4D", "P30D"]})
    assert violations(schema, rows)["rows"] == 2
    with pytest.raises(SchemaError, match="compares 'stay'"):
        _schema({**total, "dp:resolution": "hour"}, constraints=order[:1])
    with pytest.raises(SchemaError, match="a sum is about numbers"):
        _schema(total, constraints=[{"kind": "sum", "total": "total", "parts": ["stay", "ward"]}])
    fitted = pipeline.fit(pd.concat([rows] * 300), schema=schema, epsilon=3.0, delta=1e-6, synthesizer="mst", seed=0)
    assert violations(schema, fitted.table())["rows"] == 0


def test_stays_are_modelled_sampled_conditioned_streamed_and_released(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    days = np.minimum(rng.geometric(0.2, 3000), 30)
    pd.DataFrame({"stay": [f"P{d}D" for d in days], "ward": np.where(days > 4, "a", "b")}).to_csv(tmp_path / "t.csv", index=False)
    schema = _schema(**{"dp:role": "quasi"})
    done = pipeline.release(
        tmp_path / "t.csv", schema=schema, policy="base", out=tmp_path / "out", epsilon=3.0, delta=1e-6, tier="smoke", seed=1,
        synthesizer="mst", cache=False,
    )  # fmt: skip
    evidence = json.loads((done.bundle.internal / "evidence.json").read_text())
    assert evidence["schema"]["fields"][0]["minimum"] == "P0D"
    assert evidence["fidelity"]["columns"]["stay"]["tv"] < 0.1
    assert evidence["audits"]["results"]["recomposition"]["verdict"] == "NOT_FALSIFIED"

    fitted = pipeline.fit(tmp_path / "t.csv", schema=schema, epsilon=3.0, delta=1e-6, synthesizer="mst", seed=1)
    fitted.model.save(tmp_path / "m")
    model = load(tmp_path / "m")
    table = model.sample(3000, seed=0)
    made = np.array([seconds_of(text) or 0 for text in table["stay"]]) / 86_400
    assert level_labels(model.domain["stay"], model.encoder)[:3] == ("P0D", "P1D", "P2D")
    assert abs(made.mean() - days.mean()) < 0.5
    # Noise may leave a little of the other ward.
    assert (model.sample(200, seed=0, where={"stay": "P1D"})["ward"] == "b").mean() > 0.9
    with pytest.raises(ConfigError, match="not in the declared domain"):
        model.sample(10, where={"stay": "P31D"})
    chunks = pa.Table.from_batches(list(Chunks(model, 500, 1)))
    assert all(seconds_of(text) is not None for text in chunks["stay"].to_pylist())


def test_output_texts_are_what_pyarrow_and_pandas_read_back_from_csv(tmp_path: Path) -> None:
    table = Encoder(_schema()).decode({"stay": np.array([0, 3], dtype=np.uint8), "ward": np.zeros(2, dtype=np.uint8)})
    table.to_csv(tmp_path / "o.csv", index=False)
    assert pa.csv.read_csv(tmp_path / "o.csv")["stay"].to_pylist() == ["P0D", "P3D"]
    # A second library reads the same lengths.
    assert [pd.Timedelta(text) for text in table["stay"]] == [pd.Timedelta(0), pd.Timedelta(days=3)]
