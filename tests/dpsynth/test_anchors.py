"""Dates counted from another date of the row: distances survive exactly, and what does not fit is refused in words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.anchors import moments_at
from dpsynth.constraints.checking import violations
from dpsynth.encode import Encoder
from dpsynth.errors import ConfigError, SchemaError
from dpsynth.evidence import dictionary
from dpsynth.mixing import mix
from dpsynth.model import SyntheticModel, load
from dpsynth.planning.plan import planned_domain
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.schema import Schema
from dpsynth.schema_tools.comparison import compare
from dpsynth.sources import open_source
from dpsynth.streaming import Chunks
from dpsynth.toy_schema import toy_schema
from tests.dpsynth.constraints.tables import model_of, schema
from tests.dpsynth.synthesizers.hooks import exact_answers, recipe

Item = dict[str, Any]
YEAR = {"minimum": "2024-01-01", "maximum": "2024-12-31"}


def day(name: str = "admitted", **more: Any) -> Item:
    return {"name": name, "type": "date", "constraints": YEAR, "dp:bins": 12, **more}


def after(low: int = 0, high: int = 30, **more: Any) -> Item:
    return {"name": "discharged", "type": "date", "dp:anchor": "admitted", "dp:offset": {"minimum": low, "maximum": high}, **more}


def encoded(made: Schema, table: Mapping[str, Any]) -> dict[str, list[int]]:
    encoder = Encoder(made)
    return {name: codes.tolist() for name, codes in encoder.encode(open_source(pd.DataFrame(table), encoder.columns)).codes.items()}


def stays(table: pd.DataFrame) -> pd.Series[Any]:
    return (table["discharged"] - table["admitted"]).dt.days


# --- cells ----------------------------------------------------------------------------------------------------------------------------

CELLS = {
    "same day": ("2024-03-17", "2024-03-17", 0),
    "five days": ("2024-03-17", "2024-03-22", 5),
    "over a leap day": ("2024-02-28", "2024-03-01", 2),
    "before the anchor, clipped": ("2024-03-17", "2024-03-01", 0),
    "too late, clipped": ("2024-03-17", "2025-03-17", 30),
    # The distance is a fact of the row, whatever becomes of the anchor.
    "anchor outside its bounds": ("1999-03-17", "1999-03-20", 3),
    "hours of a day do not count": ("2024-03-17T23:00", "2024-03-18T01:00", 1),
    "anchor missing": ("", "2024-03-18", 31),
    "date missing": ("2024-03-17", "", 31),
    "both missing": ("", "", 31),
    "anchor is no date": ("soon", "2024-03-18", 31),
    "date is no date": ("2024-03-17", "later", 31),
}


@pytest.mark.parametrize(("anchor", "moment", "code"), CELLS.values(), ids=CELLS)
def test_a_cell_is_the_distance_of_two_cells(anchor: str, moment: str, code: int) -> None:
    made = schema([day(**{"dp:nullable": True}), after(**{"dp:nullable": True})])
    assert encoded(made, {"admitted": [anchor], "discharged": [moment]})["discharged"] == [code]


def test_without_a_missing_level_such_cells_are_the_unseen_distance_or_the_minimum() -> None:
    table = {"admitted": ["2024-03-17", "x", "2024-03-17"], "discharged": ["", "2024-03-18", "2024-03-19"]}
    assert encoded(schema([day(), after(-2, 30)]), table)["discharged"] == [0, 0, 4]
    assert encoded(schema([day(), after(-2, 30, **{"dp:unseen": 7})]), table)["discharged"] == [9, 9, 4]


def test_a_datetime_counts_full_steps_since_the_moment_of_its_anchor() -> None:
    bounds = {"minimum": "2024-01-01T00:00", "maximum": "2024-12-31T23:59"}
    start = {"name": "admitted", "type": "datetime", "constraints": bounds, "dp:resolution": "minute", "dp:bins": 12}
    end = after(-2, 30, type="datetime")
    table = {"admitted": ["2024-05-01T10:30"] * 4, "discharged": ["2024-05-01T11:29", "2024-05-01T11:30", "2024-05-01T10:29", "2024-05-02"]}
    assert encoded(schema([start, end]), table)["discharged"] == [2, 3, 1, 15]
    days = encoded(
        schema([start, {**end, "dp:resolution": "day"}]), {**table, "discharged": ["2024-05-02T10:29"] * 2 + ["2024-05-02T10:30"] * 2}
    )
    assert days["discharged"] == [2, 2, 3, 3]


def test_every_spelling_of_a_date_gives_the_same_distance() -> None:
    made, rng = schema([day(format="%d/%m/%Y"), after()]), np.random.default_rng(0)
    starts = [date(2024, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 330, 50)]
    ends = [start + timedelta(days=int(d)) for start, d in zip(starts, rng.integers(0, 31, 50), strict=True)]
    wanted = [(end - start).days for start, end in zip(starts, ends, strict=True)]
    encoder = Encoder(made)
    spelled = [
        (pa.array(starts), pa.array(ends)),
        (pa.array([f"{d:%d/%m/%Y}" for d in starts]), pa.array([d.isoformat() for d in ends])),
        (pa.array([f"{d:%d/%m/%Y}" for d in starts]).dictionary_encode(), pa.array(ends).cast(pa.timestamp("ns"))),
        (pa.array([datetime(d.year, d.month, d.day, tzinfo=UTC) for d in starts], pa.timestamp("us", "UTC")), pa.array(ends, pa.date64())),
    ]
    for arrays in spelled:
        batch = pa.RecordBatch.from_arrays(list(arrays), names=["admitted", "discharged"])
        # Batch borders make no difference.
        assert encoder.encode([batch.slice(0, 7), batch.slice(7)]).codes["discharged"].tolist() == wanted


def test_no_cell_raises_however_far_apart() -> None:
    far = pa.array([2**62, -(2**62)], pa.int64()).view(pa.timestamp("s"))
    batch = pa.RecordBatch.from_arrays([far, far.take(pa.array([1, 0]))], names=["admitted", "discharged"])
    assert Encoder(schema([day(), after()])).encode([batch]).codes["discharged"].tolist() == [0, 30]


# --- and back -------------------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | st.dates(date(2023, 1, 1), date(2026, 1, 1)), st.none() | st.integers(-100, 500)), min_size=1, max_size=20
    ),
    st.sampled_from(["day", "month", "year"]),
    st.sampled_from([None, "day", "hour", "minute"]),
)
def test_encode_decode_encode_keeps_every_distance(rows: list[tuple[date | None, int | None]], coarse: str, unit: str | None) -> None:
    # The second date stands first, to show that their order does not matter.
    kind = {"type": "date"} if unit is None else {"type": "datetime", "dp:resolution": unit}
    low, high = -20, 300
    made = schema(
        [
            after(low, high, **{"dp:nullable": True, "dp:bins": high - low + 1}, **kind),
            day(**{"dp:nullable": True, "dp:resolution": coarse}),
        ]
    )
    size = {None: 86_400, "day": 86_400, "hour": 3_600, "minute": 60}[unit]
    ends = [None if a is None or d is None else datetime(a.year, a.month, a.day) + timedelta(seconds=d * size) for a, d in rows]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(ends, pa.timestamp("us")), pa.array([a for a, _ in rows], pa.date32())], names=["discharged", "admitted"]
    )
    encoder = Encoder(made)
    codes = encoder.encode([batch]).codes
    binned = encoder.bin(codes)
    written = [encoder.decode(binned.columns, np.random.default_rng(1)), encoder.canonical(codes)]
    written.append(encoder.decode_batch(binned.columns, np.random.default_rng(1)).to_pandas())
    for table in written:
        apart = (table["discharged"] - table["admitted"]).dt.total_seconds() / size
        wanted = [np.nan if a is None or d is None else float(min(max(d, low), high)) for a, d in rows]
        np.testing.assert_array_equal(apart.to_numpy(dtype=float), wanted)
        assert table["discharged"].isna().tolist() == [a is None or d is None for a, d in rows]
        again = encoder.encode(open_source(table, encoder.columns)).codes
        assert again["discharged"].tolist() == codes["discharged"].tolist()
        assert encoder.bin(again).columns["admitted"].tolist() == binned.columns["admitted"].tolist()


def test_a_coarse_anchor_is_written_coarse_and_the_distance_is_not() -> None:
    made = schema([day(**{"dp:resolution": "month"}), after()])
    encoder = Encoder(made)
    codes = encoder.encode(open_source(pd.DataFrame({"admitted": ["2024-03-17"], "discharged": ["2024-03-22"]}), encoder.columns)).codes
    table = encoder.decode(encoder.bin(codes).columns)
    assert table.astype(str).to_numpy().tolist() == [["2024-03-01", "2024-03-06"]]


def test_frames_and_batches_agree_and_have_the_declared_types() -> None:
    model = model_of(schema([day(**{"dp:nullable": True}), after(**{"dp:nullable": True})]))
    assert model.encoder is not None
    codes = model.sample_codes(500, seed=1).columns
    frame = model.encoder.decode(codes, np.random.default_rng(2))
    batch = model.encoder.decode_batch(codes, np.random.default_rng(2))
    assert batch.schema.field("discharged").type == pa.timestamp("us")
    pd.testing.assert_frame_equal(frame, batch.to_pandas())


def test_a_distance_beside_a_missing_anchor_has_no_probability_and_is_never_written() -> None:
    model = model_of(schema([day(**{"dp:nullable": True}), after(**{"dp:nullable": True})]), cliques=[(0, 1)])
    codes = model.sample_codes(4000, seed=3).columns
    absent = codes["admitted"] == 12
    assert absent.any() and (codes["discharged"][absent] == 31).all()
    table = model.sample(4000, seed=3)
    assert table["admitted"].isna().any() and table.loc[table["admitted"].isna(), "discharged"].isna().all()
    assert violations(model.encoder.schema, table)["rows"] == 0  # type: ignore[union-attr]
    # The check is no formality: a date without its anchor is found.
    assert violations(model.encoder.schema, table.assign(discharged=pd.Timestamp("2024-05-05")))["rows"] > 0  # type: ignore[union-attr]


# --- models ---------------------------------------------------------------------------------------------------------------------------


def _fitted(synthesizer: str, made: Schema, table: pd.DataFrame) -> SyntheticModel:
    private = PrivateData.read(table, made, PrivacyBudget(10.0, 1e-6), hook=exact_answers)
    return recipe(synthesizer).fit(private)


@pytest.mark.parametrize("synthesizer", ["independent", "mst"])
def test_the_distances_of_a_sample_are_distributed_as_those_of_the_table(synthesizer: str) -> None:
    rng = np.random.default_rng(4)
    starts = np.datetime64("2024-01-01") + rng.integers(0, 366, 4000)
    lengths = rng.choice([0, 1, 5, 9], 4000, p=[0.1, 0.5, 0.3, 0.1])
    made = schema([day(), after(0, 9)], **{"dp:rows": 4000})
    model = _fitted(synthesizer, made, pd.DataFrame({"admitted": starts, "discharged": starts + lengths}))
    found = np.bincount(stays(model.sample(20_000, seed=5)), minlength=10) / 20_000
    # Answers are exact, and a table of 20,000 rows is within 0.02 of its distribution except with probability below 1e-8.
    np.testing.assert_allclose(found, np.bincount(lengths, minlength=10) / 4000, atol=0.02)


def test_chunks_and_a_saved_model_keep_distances(tmp_path: Any) -> None:
    model = model_of(schema([day(**{"dp:resolution": "month"}), after(0, 400, **{"dp:bins": [1, 7, 31]})]))
    model.save(tmp_path / "m.zip")
    parts = pa.Table.from_batches(list(Chunks(load(tmp_path / "m.zip"), 3000, 7))).to_pandas()
    assert stays(parts).between(0, 400).all() and stays(parts).nunique() > 100
    assert (parts["admitted"].dt.day == 1).all() and parts["discharged"].dt.day.nunique() == 31


def test_conditions_are_about_the_distance() -> None:
    fields = [{"name": "ward", "type": "string", "categories": ["day", "long"]}, day(), after(0, 400, **{"dp:bins": [1, 7, 31]})]
    rule = {"kind": "forbidden", "when": {"ward": "day", "discharged": {"minimum": 3}}}
    model = model_of(schema(fields, rule))
    table = model.sample(3000, seed=1)
    short = table["ward"] == "day"
    assert short.any() and (stays(table)[short] < 3).all() and (stays(table)[~short] >= 3).any()
    assert violations(model.encoder.schema, table)["rows"] == 0  # type: ignore[union-attr]
    assert (stays(model.sample(200, seed=2, where={"discharged": 5})) == 5).all()
    assert stays(model.sample(200, seed=2, where={"discharged": {"minimum": 40, "maximum": 50}})).between(40, 50).all()
    with pytest.raises(ConfigError, match="a distance from 'admitted'"):
        model.sample(10, where={"discharged": "2024-05-05"})
    with pytest.raises(ConfigError, match="not in the declared domain"):
        model.sample(10, where={"discharged": 401})


def test_the_anchor_may_be_in_an_order() -> None:
    model = model_of(schema([day(), day("booked"), after()], {"kind": "order", "fields": ["booked", "admitted"]}))
    table = model.sample(2000, seed=1)
    assert (table["booked"] <= table["admitted"]).all() and stays(table).between(0, 30).all()
    batch = next(iter(Chunks(model, 2000, 1))).to_pandas()
    assert (batch["booked"] <= batch["admitted"]).all() and stays(batch).between(0, 30).all()


# --- persons --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [False, True])
def test_dates_counted_from_a_static_anchor_keep_their_distance_within_a_person(ordered: bool) -> None:
    born = {
        "name": "admitted",
        "type": "date",
        "constraints": {"minimum": "1950-01-01", "maximum": "1999-12-31"},
        "dp:bins": 5,
        "dp:static": True,
    }
    baptised = {**after(1, 60, **{"dp:bins": 6, "dp:static": True}), "name": "baptised"}
    visit = after(9000, 9100, **{"dp:bins": 10})
    unit = {"name": "patient", "field": "pid", "maxRows": 4, "weights": "person"} | ({"order": "discharged"} if ordered else {})
    made = schema([{"name": "pid", "type": "string", "dp:role": "identifier"}, visit, baptised, born], **{"dp:unit": unit})
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(400), rng.integers(1, 5, 400))
    births = (np.datetime64("1950-01-01") + rng.integers(0, 18_000, 400))[people]
    real = pd.DataFrame({"pid": people.astype(str), "admitted": births, "baptised": births + 30})
    model = _fitted("mst", made, real.assign(discharged=births + rng.integers(9000, 9101, len(people))))
    for table in (model.sample(1500, seed=1), next(iter(Chunks(model, 1500, 1))).to_pandas()):
        assert stays(table).between(9000, 9100).all()
        assert (table["baptised"] - table["admitted"]).dt.days.between(1, 60).all()
        assert (table.groupby("pid")[["admitted", "baptised"]].nunique() == 1).all(axis=None)
        assert table.groupby("pid")["discharged"].nunique().max() > 1
        if ordered:
            assert table.groupby("pid")["discharged"].apply(lambda dates: dates.is_monotonic_increasing).all()


# --- declaration ----------------------------------------------------------------------------------------------------------------------

BOUNDED = {"minimum": 0, "maximum": 9}
REFUSED: dict[str, tuple[list[Item], str]] = {
    "no bounds": ([day(), {"name": "x", "type": "date", "dp:anchor": "admitted"}], "how many days after 'admitted'"),
    "dates as bounds": ([day(), {**day("x"), "dp:anchor": "admitted"}], "x' has constraints.minimum beside dp:anchor"),
    "an offset alone": ([day(), {**day("x"), "dp:offset": BOUNDED}], "has dp:offset without dp:anchor"),
    "a field that is not there": ([after()], "'admitted', which is not a field"),
    "itself": ([after(**{"dp:anchor": "discharged"})], "is the field itself"),
    "no date": ([{"name": "admitted", "type": "boolean"}, after()], "must be a date or datetime that is modelled"),
    "an identifier": (
        [{"name": "admitted", "type": "date", "dp:role": "identifier"}, after()],
        "must be a date or datetime that is modelled",
    ),
    "a chain": ([day(), after(), {**after(**{"dp:anchor": "discharged"}), "name": "paid"}], "count both from 'admitted'"),
    "a cycle": ([{**after(), "name": "admitted", "dp:anchor": "discharged"}, after()], "which is anchored itself"),
    "for a number": (
        [day(), {"name": "x", "type": "integer", "dp:anchor": "admitted", "dp:offset": BOUNDED}],
        "is for dates and datetimes",
    ),
    "in months": ([day(), after(**{"dp:resolution": "month"})], "counted in day"),
    "the wrong way round": ([day(), after(9, 3)], "dp:offset.minimum=9, which must not be above dp:offset.maximum=3"),
    "half a day": ([day(), {**after(), "dp:offset": {"minimum": 0.5, "maximum": 9}}], "dp:offset.minimum"),
    "one bound": ([day(), {**after(), "dp:offset": {"minimum": 0}}], "has no dp:offset.maximum"),
    "a date as an edge": ([day(), after(**{"dp:bins": ["2024-01-05"]})], "dp:bins='2024-01-05', which is not of type integer"),
    "an edge outside": ([day(), after(**{"dp:bins": [40]})], "dp:bins edge 40 outside its bounds"),
    "a missing anchor": ([day(**{"dp:nullable": True}), after()], 'add "dp:nullable": true'),
    "beyond the calendar": ([day(), after(0, 4_000_000)], "after year 9999"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_with_the_field_and_what_to_do(fields: list[Item], message: str) -> None:
    with pytest.raises(SchemaError, match="field '") as caught:
        schema(fields)
    assert message in str(caught.value)


def test_an_order_with_an_anchored_date_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"'discharged' is counted from 'admitted' \(dp:anchor\).*dp:offset"):
        schema([day(), after()], {"kind": "order", "fields": ["admitted", "discharged"]})


def test_a_static_date_needs_a_static_anchor() -> None:
    fields = [{"name": "pid", "type": "string", "dp:role": "identifier"}, day(), after(**{"dp:static": True})]
    with pytest.raises(SchemaError, match="differs from row to row"):
        schema(fields, **{"dp:unit": {"name": "patient", "field": "pid", "maxRows": 4, "weights": "person"}})


def test_a_schema_with_anchors_survives_json_and_names_its_relation_once() -> None:
    made = schema([day(**{"dp:nullable": True}), after(**{"dp:nullable": True, "dp:bins": [1, 7], "dp:spikes": [0]})])
    assert [relation.text for relation in made.relations] == ["discharged is always missing when admitted missing"]
    again = Schema.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made and again.digest == made.digest and len(again.relations.items) == 1
    assert made.to_dict()["fields"][1]["dp:offset"] == {"minimum": 0, "maximum": 30} and "constraints" not in made.to_dict()["fields"][1]


def test_around_the_model() -> None:
    made = schema([day(**{"dp:role": "quasi"}), after(**{"dp:role": "sensitive"})], **{"dp:rows": 1000})
    said = dictionary(made, Encoder(made).domain)
    assert (said["fields"][1]["minimum"], said["fields"][1]["maximum"]) == ("admitted + 0 days", "admitted + 30 days")
    assert said["date_precision"] == "day"
    # A distance in days makes a table of months one of days.
    assert dictionary(schema([day(**{"dp:resolution": "month"})]), Encoder(made).domain)["date_precision"] == "month"
    coarse = schema([day(**{"dp:resolution": "month"}), after()])
    assert dictionary(coarse, Encoder(coarse).domain)["date_precision"] == "day"
    hours = schema([day(), after(type="datetime")])
    assert dictionary(hours, Encoder(hours).domain)["date_precision"] == "hour"
    assert [line for line in made.lint() if "discharged" in line] == []
    assert next(field for field in toy_schema(made).fields if field.name == "discharged").type == "integer"
    assert planned_domain(made)[0]["discharged"].size == 31
    wider = schema([day(**{"dp:role": "quasi"}), after(0, 60, **{"dp:role": "sensitive"})], **{"dp:rows": 1000})
    assert [(change.where, change.key, change.after) for change in compare(made, wider)] == [("discharged", "maximum", "60")]
    real = pd.DataFrame({"admitted": ["2024-03-17"], "discharged": ["2024-03-22"]})
    assert stays(mix(real, real, made, seed=0)).tolist() == [5, 5]


def test_the_inverse_of_a_distance_is_exact() -> None:
    declared = dataclasses.replace(schema([day(), after(type="datetime", **{"dp:resolution": "second"})])["discharged"])
    start = np.array(["2024-02-29T23:59:59"], dtype="datetime64[us]")
    assert moments_at(declared, start, np.array([1])).astype(str).tolist() == ["2024-03-01T00:00:00.000000"]
