from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpsynth.encode import Encoded, Encoder
from dpsynth.errors import ConfigError, InputError
from dpsynth.grids import BASE_CELLS, RealGrid, _marks
from dpsynth.schema import Field, Schema, Unit
from dpsynth.sources import open_source

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def integer(low: int, high: int, **keys: Any) -> Field:
    return Field("x", "integer", ordered=True, minimum=low, maximum=high, **keys)


def real(low: float, high: float, **keys: Any) -> Field:
    return Field("x", "number", ordered=True, minimum=low, maximum=high, **keys)


def day(low: str, high: str, **keys: Any) -> Field:
    return Field("x", "date", ordered=True, minimum=date.fromisoformat(low), maximum=date.fromisoformat(high), **keys)


def moment(low: str, high: str, **keys: Any) -> Field:
    first, last = datetime.fromisoformat(low), datetime.fromisoformat(high)
    return Field("x", "datetime", ordered=True, minimum=first, maximum=last, **keys)


def listed(*categories: str, **keys: Any) -> Field:
    return Field("x", "string", categories=categories, **keys)


def flag(**keys: Any) -> Field:
    return Field("x", "boolean", **keys)


@functools.cache
def encoder(*fields: Field, unit: Unit | None = None) -> Encoder:
    return Encoder(Schema("d", "p", unit or Unit("person"), fields))


def batches(**columns: Any) -> list[pa.RecordBatch]:
    return pa.table(columns).to_batches() or [pa.RecordBatch.from_pydict({name: [] for name in columns})]


def encode(field: Field, cells: Any) -> list[int]:
    """Grid codes of one column of cells."""
    return encoder(field).encode(batches(x=cells)).codes["x"].tolist()


def through_pandas(field: Field, cells: Sequence[Any]) -> list[int]:
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    frame = pd.DataFrame({"x": pd.Series(column, dtype=object)})
    return encoder(field).encode(open_source(frame, ["x"])).codes["x"].tolist()


# --- what becomes of a cell -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "cells", "codes"),
    [
        (integer(0, 9), ["3", " 4 ", "5.0", "5.4", "1e0", "+7"], [3, 4, 5, 5, 1, 7]),
        (integer(0, 9), ["-1", "10", "inf", "-inf", "1e999"], [0, 9, 9, 0, 9]),  # clipped
        (integer(-5, 5), [-5, 0, 5, 99, None], [0, 5, 10, 10, 0]),
        (integer(0, 9), ["", None, "nan", "what", "1_0"], [0, 0, 0, 0, 0]),  # nowhere to go: the minimum
        (integer(0, 9, unseen=7), ["", None, "nan", "what"], [7, 7, 7, 7]),
        (integer(0, 9, nullable=True), ["", None, "nan", "what", "3"], [10, 10, 10, 10, 3]),
        (integer(0, 9, nullable=True, missing_values=("-9",)), ["-9", "-9.0", "0"], [10, 10, 0]),
        (integer(0, 9, nullable=True, missing_values=("-9",)), [-9, 0, 3], [10, 0, 3]),
        (integer(0, 9), [True, False], [1, 0]),
        (integer(0, 9), ["true", "False"], [1, 0]),
        (real(0, 1, resolution=0.25), ["0.26", "0.4", "1", "0.1"], [1, 2, 4, 0]),
        (real(0, 9, resolution=0.5, nullable=True, decimal=","), ["1,5", " 2,0 ", "2.5", "-,5", "1e0", "7,0"], [3, 4, 5, 0, 2, 14]),
        # Both marks are no number, and neither are marks between thousands: rather none than one that is a thousand times too small.
        (real(0, 9, resolution=0.5, nullable=True, decimal=","), ["1.000,5", "1,000,5", "", None, "1,5 "], [19, 19, 19, 19, 3]),
        (real(0, 9, resolution=0.5, nullable=True, missing_values=("-9",), decimal=","), ["-9,0", "-9", "9,0"], [19, 19, 18]),
        (real(0, 9, resolution=0.5, nullable=True), ["1,5", "1.5"], [19, 3]),
        (listed("a", "b"), ["b", " a", "c", "", None], [1, 0, 0, 0, 0]),
        (listed("a", "b", unseen="b"), ["a", "c", "", None], [0, 1, 1, 1]),
        (listed("a", "b", nullable=True), ["a", "c", "", None], [0, 2, 2, 2]),
        (listed("a", "b", other="b"), ["a", "c", "", None], [0, 1, 1, 1]),
        (listed("a", "b", other="b", nullable=True), ["a", "c", "", None], [0, 1, 2, 2]),
        (listed("1", "2"), ["1", "2.0", " 2. ", "2.5"], [0, 1, 1, 0]),
        (listed("1", "2"), [1, 2], [0, 1]),
        (listed("1", "2", nullable=True), [1.0, 2.0, None, 2.5], [0, 1, 2, 2]),
        (listed("250", "250.0", "250.5"), ["250", "250.0", "250.00", "250.5"], [0, 1, 0, 2]),  # the exact text first
        (listed("x", "y", missing_values=("?",), nullable=True), ["?", " ?", "", "x"], [2, 2, 2, 0]),
        (listed("True", "False"), [True, False], [0, 1]),
        (flag(), ["true", "1", "False", "0", "1.0", "yes"], [1, 1, 0, 0, 1, 0]),
        (flag(nullable=True), [True, False, None], [1, 0, 2]),
        (flag(true_values=("J",), false_values=("N",), unseen=True), ["J", "N", "?"], [1, 0, 1]),
        (day("2000-01-01", "2000-01-31"), ["2000-01-03", "20000104", "1999-01-01", "2000-01-31T23:59"], [2, 3, 0, 30]),
        (day("2000-01-01", "2000-12-31", resolution="month"), ["2000-03-31", "2000-04", "2001-01-01"], [2, 3, 11]),
        (day("1990-06-01", "2000-12-31", resolution="year"), ["1990-01-01", "1991", "1999.0"], [0, 1, 0]),
        (day("2000-01-01", "2000-01-31", format="%d/%m/%Y", nullable=True), ["05/01/2000", "2000-01-05"], [4, 31]),
        (day("2000-01-01", "2000-01-31", nullable=True), ["x", "", None, "2000-02-30"], [31, 31, 31, 31]),
        (moment("2000-01-01", "2000-01-02"), ["2000-01-01T05:30:00", "2000-01-01T05:30:00+02:00"], [5, 3]),
    ],
)
def test_cells_go_where_the_schema_says(field: Field, cells: list[Any], codes: list[int]) -> None:
    assert encode(field, cells) == codes
    assert through_pandas(field, cells) == codes


TYPED: list[tuple[Field, pa.Array, list[int]]] = [
    (integer(0, 9, nullable=True), pa.array([1, None], pa.int8()), [1, 10]),
    (integer(0, 9), pa.array([2**64 - 1, 3], pa.uint64()), [9, 3]),
    (integer(0, 9, nullable=True), pa.array([1.4, float("nan"), float("inf"), None], pa.float32()), [1, 10, 9, 10]),
    (integer(0, 9), pa.array(np.array([2, np.inf], dtype=np.float16)), [2, 9]),
    (
        integer(0, 9, nullable=True),
        pa.array([Decimal("2.00"), Decimal("1e30"), None], pa.decimal256(50, 2)),
        [2, 9, 10],
    ),
    (integer(0, 9), pa.array([b"3", b"\xff"], pa.binary()), [3, 0]),
    (integer(0, 9), pa.array(["3", "x"], pa.string_view()), [3, 0]),
    (integer(0, 9), pa.array(["3", "x", None]).dictionary_encode(), [3, 0, 0]),
    (integer(0, 9), pc.run_end_encode(pa.array([3, 3, 4])), [3, 3, 4]),
    (integer(0, 9, nullable=True), pa.nulls(2), [10, 10]),
    (listed("a", "b", nullable=True), pa.nulls(2), [2, 2]),
    (listed("a", "b"), pa.array([b"b", b"a"], pa.binary(1)), [1, 0]),
    (listed("0.1", "0.25"), pa.array([0.1, 0.25], pa.float32()), [0, 1]),
    (listed("1", "2"), pa.array([Decimal("2.00"), Decimal("1.00")]), [1, 0]),
    (listed("2020-01-05", "x"), pa.array([date(2020, 1, 5)]), [0]),
    (listed("2020-01-05", "x"), pa.array([datetime(2020, 1, 5)], pa.timestamp("ns", "UTC")), [0]),
    (listed("a", "b", nullable=True), pa.array(["b", "a", None]).dictionary_encode(), [1, 0, 2]),
    (flag(nullable=True), pa.nulls(1, pa.bool_()), [2]),
    (day("2000-01-01", "2000-01-31", nullable=True), pa.array([date(2000, 1, 4), None], pa.date32()), [3, 31]),
    (day("2000-01-01", "2000-01-31"), pa.array([date(2000, 1, 4)], pa.date64()), [3]),
    (day("2000-01-01", "2000-01-31"), pa.array([-(2**62), 2**62], pa.timestamp("s")), [0, 30]),
    (day("2000-01-01", "2000-01-31"), pa.array([-(2**31), 2**31 - 1], pa.int32()).view(pa.date32()), [0, 30]),
    (moment("1969-12-31T23:59:50", "1970-01-01", resolution="second"), pa.array([-1, 0], pa.timestamp("ns")), [9, 10]),
    (day("2000-01-01", "2000-01-31", nullable=True), pa.nulls(2, pa.float64()), [31, 31]),
    (day("2000-01-01", "2003-01-31", resolution="year"), pa.array([2001, 2003], pa.int16()), [1, 3]),
]


@pytest.mark.parametrize(("field", "array", "codes"), TYPED)
def test_arrow_types_are_read_by_value(field: Field, array: pa.Array, codes: list[int]) -> None:
    assert encode(field, array) == codes


@pytest.mark.parametrize(
    ("field", "array", "shape"),
    [
        (integer(0, 9), pa.array([[1]]), "nested values"),
        (listed("a"), pa.array([{"a": 1}]), "nested values"),
        (integer(0, 9), pa.array([date(2000, 1, 1)]), "Arrow type date32"),
        (day("2000-01-01", "2000-01-31"), pa.array([10957]), "Arrow type int64"),
        (day("2000-01-01", "2000-01-31"), pa.array([True]), "Arrow type bool"),
        (listed("a"), pa.array([3], pa.time32("s")), "Arrow type time32"),
    ],
)
def test_a_column_of_the_wrong_type_is_an_error_that_quotes_no_cell(field: Field, array: pa.Array, shape: str) -> None:
    with pytest.raises(InputError, match=f"column 'x' has {shape}.*the schema says type={field.type}"):
        encode(field, array)


ODD_OBJECTS: list[Any] = [
    None, float("nan"), float("inf"), -float("inf"), pd.NA, pd.NaT, np.datetime64("NaT"), "", " ", "NaN", "\ud800",
    "\x00", "é", "é", "\u202e7", "٣", "1e400", "-0", "0x10", "nan(1)", "infinity", "1" * 5000, 10**5000, -(10**5000),
    2**70, True, False, np.bool_(True), np.int8(3), np.float32(0.1), np.float64(2.0), 3, 3.0, 3.5, b"3", b"\xff\xfe",
    bytearray(b"a"), Decimal("3.0"), Decimal("NaN"), Decimal("1e999"), 1 + 2j, [1], {"a": 1}, (), object,
    date(2000, 1, 3), datetime(2000, 1, 3, 4, 5), datetime(2000, 1, 3, tzinfo=timezone(timedelta(hours=5))),
    datetime.min, datetime.max, datetime.min.replace(tzinfo=timezone(timedelta(hours=5))), timedelta(1),
    pd.Timestamp("2000-01-03", tz="UTC"), pd.Timedelta(1), pd.Period("2000-01"), np.datetime64("2000-01-03"),
    np.datetime64("2000-01-03T00:00:00.000000001"), "2000-01-03", "2000-W01-1", "9999-12-31", "0000-00-00", "a", "b",
    "3", "3.0",
]  # fmt: skip
FIELDS = [
    integer(0, 9),
    integer(0, 9, nullable=True),
    integer(-(2**53), 2**53, bins="dp"),
    real(-1.5, 1e6, nullable=True),
    real(0, 10, resolution=0.1),
    listed("a", "b", "3"),
    listed("a", "b", "3", nullable=True),
    listed("a", "b", "3", other="b"),
    flag(),
    flag(nullable=True),
    day("2000-01-01", "2000-01-31"),
    moment("1990-01-01", "2020-01-01", nullable=True, resolution="minute"),
]
KINDS = [f"{field.type}{'?' * field.nullable}{number}" for number, field in enumerate(FIELDS)]


@pytest.mark.parametrize("field", FIELDS, ids=KINDS)
def test_no_object_raises_and_none_changes_another(field: Field) -> None:
    together = through_pandas(field, ODD_OBJECTS)
    alone = [through_pandas(field, [cell])[0] for cell in ODD_OBJECTS]
    assert together == alone
    assert max(together) < encoder(field).grid_domain["x"].size


@pytest.mark.parametrize("field", FIELDS, ids=KINDS)
@given(data=st.data())
@QUICK
def test_no_text_raises_and_none_changes_another(field: Field, data: st.DataObject) -> None:
    numbers = st.floats().map(str) | st.integers().map(str) | st.from_regex(r"[-+]?[0-9.eE_]{0,12}", fullmatch=True)
    moments = st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat())
    words = st.sampled_from(["a", "b", "3", "true", "0"])
    kinds = st.none() | st.text(max_size=8) | numbers | st.dates().map(str) | moments | words
    cells = data.draw(st.lists(kinds, max_size=8))
    together = through_pandas(field, cells)
    assert together == [through_pandas(field, [cell])[0] for cell in cells]
    assert all(0 <= code < encoder(field).grid_domain["x"].size for code in together)


@pytest.mark.parametrize("field", FIELDS[:-2], ids=KINDS[:-2])  # dates are not numbers
@given(data=st.data())
@QUICK
def test_numbers_are_read_alike_as_floats_as_objects_and_as_text(field: Field, data: st.DataObject) -> None:
    cells = [-0.0, 0.0, *data.draw(st.lists(st.none() | st.floats() | st.integers(-20, 20).map(float), min_size=1, max_size=8))]
    floats = encode(field, pa.array(cells, pa.float64()))
    assert floats == through_pandas(field, cells)
    texts = [None if cell is None or cell != cell else repr(cell) for cell in cells]
    assert floats == encode(field, pa.array(texts, pa.string()))


@pytest.mark.parametrize("field", FIELDS, ids=KINDS)
def test_empty_and_all_missing_tables_have_the_same_domain(field: Field) -> None:
    coder = encoder(field)
    for cells in ([], [None], [None] * 3, pa.nulls(2)):
        coded = coder.encode(batches(x=cells))
        assert coded.n_rows == len(cells)
        assert len(set(coded.codes["x"].tolist())) <= 1
    none = coder.encode([])
    assert none.n_rows == 0 and none.codes["x"].dtype == coder.encode(batches(x=pa.nulls(1))).codes["x"].dtype


# --- grids and bins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "size"),
    [
        (integer(0, 99), 100),
        (integer(0, 65_534), 65_535),  # the last that fits 16 bits with a missing level
        (real(0, 1, resolution=0.01), 101),
        (real(0, 11, resolution=4), 3),  # 0, 4, 8: no step beyond the maximum
        (day("2000-02-29", "2000-03-01"), 2),
        (day("1999-12-31", "2001-01-01", resolution="year"), 3),
        (listed("a", "b", nullable=True), 3),
        (flag(), 2),
    ],
)
def test_a_grid_has_a_cell_per_value_when_they_fit(field: Field, size: int) -> None:
    assert encoder(field).grid_domain["x"].size == size


@pytest.mark.parametrize(
    "field",
    [integer(0, 10**7), integer(-(2**53), 2**53), real(0, 1), real(-1e-9, 1e9), real(0, 1e6, resolution=0.01)],
)
def test_a_grid_that_does_not_fit_is_made_of_equal_cells(field: Field) -> None:
    size = encoder(field).grid_domain["x"].size
    assert BASE_CELLS * 0.9 < size < 1 << 16


ROUND_TRIP = [
    *FIELDS,
    integer(-7, 10**6, bins=10),
    integer(0, 10**6, bins=(1, 17, 12_345)),
    real(0, 1, bins=7),
    real(0, 1, bins=4096),
    real(-3.7, 12.25, bins=(-3.7, 0.1, 0.1 + 1e-12, 12.25)),
    real(0, 150_000, resolution=0.01, bins=(0.01, 100)),
    real(0.5, 9.9, resolution=0.1, bins=(1.0, 5.5)),
    day("1990-02-03", "2020-01-01", resolution="month", bins=(date(2000, 1, 1),)),
    day("1700-01-01", "2100-12-31", bins=12),
    moment("1990-02-03T01:02:03", "2020-01-01", resolution="year"),
    listed("a", "b", "c", ordered=True),
]


@pytest.mark.parametrize("field", ROUND_TRIP, ids=lambda field: f"{field.type}-{field.bins}-{field.resolution}")
def test_what_is_decoded_encodes_to_the_same_codes(field: Field) -> None:
    coder = encoder(field)
    rng = np.random.default_rng(5)
    if coder.pending:
        coder = coder.with_edges({"x": rng.integers(0, coder.grid_domain["x"].size - 1, 9)})
    size = coder.domain["x"].size
    codes = {"x": np.concatenate([np.arange(size), rng.integers(size, size=2000)]).astype(np.uint32)}
    for source in (None, rng):
        table = coder.decode(codes, source)
        again = coder.bin(coder.encode(open_source(table, ["x"])).codes)
        assert np.array_equal(again.columns["x"], codes["x"])
    grid = coder.grid_domain["x"].size
    cells = {"x": np.arange(grid).astype(np.uint32)}
    assert np.array_equal(coder.encode(open_source(coder.canonical(cells), ["x"])).codes["x"], cells["x"])


@given(low=st.floats(-1e12, 1e12), width=st.floats(1e-3, 1e12), bins=st.integers(1, 200), share=st.floats(0, 1))
@QUICK
def test_decoded_numbers_lie_within_their_bounds_and_their_bin(low: float, width: float, bins: int, share: float) -> None:
    if width < 1e-8 * (abs(low) + width):
        return
    coder = encoder(real(low, low + width, bins=bins))
    assert coder.domain["x"].size == bins
    codes = {"x": np.arange(bins, dtype=np.uint16)}
    values = coder.decode(codes, np.random.default_rng(int(share * 1e6)))["x"].to_numpy()
    assert np.all((values >= low) & (values <= low + width))
    edges = np.linspace(low, low + width, bins + 1)
    assert np.all((values >= edges[:-1]) & (values <= edges[1:]))


def test_declared_edges_close_on_the_left() -> None:
    coder = encoder(integer(0, 120, bins=(0, 18, 65, 120)))
    table = coder.bin(coder.encode(batches(x=[0, 17, 18, 64, 65, 119, 120])).codes)
    assert table.columns["x"].tolist() == [0, 0, 1, 1, 2, 2, 2]
    coder = encoder(real(0, 100, bins=(0.5, 50)))
    table = coder.bin(coder.encode(batches(x=[0.0, 0.4999, 0.5, 49.9999, 50.0, 100.0])).codes)
    assert table.columns["x"].tolist() == [0, 0, 1, 1, 2, 2]


def test_a_pile_of_zeros_keeps_its_own_cell() -> None:
    coder = encoder(real(0, 1000, bins="dp")).with_edges({"x": [1]})
    coded = coder.bin(coder.encode(batches(x=[0.0, -5.0, 0.001, 7.0])).codes)
    assert coded.columns["x"].tolist() == [0, 0, 1, 1]
    assert coder.decode({"x": np.zeros(3, np.uint8)}, np.random.default_rng(0))["x"].tolist() == [0.0, 0.0, 0.0]


def test_missing_is_the_last_code_and_never_merged() -> None:
    coder = encoder(integer(0, 999, nullable=True)).with_edges({"x": [500]})
    assert (coder.domain["x"].size, coder.domain["x"].nullable) == (3, True)
    table = coder.bin(coder.encode(batches(x=[0, 999, None])).codes)
    assert table.columns["x"].tolist() == [0, 1, 2]
    assert coder.decode(table.columns)["x"].isna().tolist() == [False, False, True]


def test_bins_come_from_the_schema_or_are_pending() -> None:
    coder = encoder(
        Field("small", "integer", ordered=True, minimum=1, maximum=128),
        Field("large", "integer", ordered=True, minimum=0, maximum=128),
        Field("asked", "integer", ordered=True, minimum=0, maximum=5, bins="dp"),
        Field("equal", "integer", ordered=True, minimum=0, maximum=9, bins=50),
        listed("a"),
    )
    assert coder.pending == ("large", "asked")
    with pytest.raises(ConfigError, match="columns large, asked have no bins yet"):
        _ = coder.domain
    whole = coder.with_edges({"large": [10, 20, 129], "asked": []})
    assert whole.pending == ()
    assert [(a.name, a.size, a.provenance) for a in whole.domain] == [
        ("small", 128, "declared"), ("large", 3, "dp"), ("asked", 1, "dp"), ("equal", 10, "declared"),
        ("x", 1, "declared"),
    ]  # fmt: skip
    assert all(attribute.provenance == "declared" for attribute in whole.grid_domain)


@pytest.mark.parametrize(
    ("edges", "message"),
    [({"x": [-1]}, "grid cells from 0 to 1000"), ({"x": [1001]}, "grid cells"), ({"y": [1]}, "declared bins")],
)
def test_edges_off_the_grid_or_of_another_column_are_refused(edges: dict[str, Iterable[int]], message: str) -> None:
    coder = encoder(integer(0, 999), Field("y", "integer", ordered=True, minimum=0, maximum=9))
    with pytest.raises(ConfigError, match=message):
        coder.with_edges(edges)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_decoded_columns_have_the_types_of_the_schema() -> None:
    fields = [
        Field("i", "integer", ordered=True, minimum=0, maximum=9),
        Field("in", "integer", ordered=True, minimum=0, maximum=9, nullable=True),
        Field("n", "number", ordered=True, minimum=0, maximum=1, bins=2),
        Field("d", "date", ordered=True, minimum=date(2000, 1, 1), maximum=date(2000, 1, 9), nullable=True),
        Field("b", "boolean"),
        Field("bn", "boolean", nullable=True),
        Field("s", "string", categories=("1", "2"), nullable=True),
    ]
    coder = encoder(*fields)
    codes = {field.name: np.array([0, 1, coder.domain[field.name].size - 1], dtype=np.uint8) for field in fields}
    table = coder.decode(codes)
    assert table.dtypes.astype(str).to_dict() == {
        "i": "int64", "in": "Int64", "n": "float64", "d": "datetime64[us]", "b": "bool", "bn": "boolean", "s": "object"
    }  # fmt: skip
    assert table["s"].tolist() == ["1", "2", None]
    assert table["b"].tolist() == [False, True, True]
    canonical = coder.canonical(coder.spread(codes))
    assert canonical["b"].tolist() == ["false", "true", "true"]
    assert canonical["bn"].tolist() == ["false", "true", None]
    assert canonical["d"].isna().tolist() == [False, False, True]
    assert table.drop(columns=["b", "bn"]).equals(canonical.drop(columns=["b", "bn"]))


def test_decoding_is_uniform_within_bins_of_equal_density() -> None:
    coder = encoder(integer(0, 999, bins=(500,)))
    values = coder.decode({"x": np.repeat([0, 1], 50_000).astype(np.uint8)}, np.random.default_rng(1))["x"].to_numpy()
    first, second = values[:50_000], values[50_000:]
    # A mean of n uniform draws from a width w is within 5 w / sqrt(12 n) of the middle but for one time in 10^6.
    assert abs(first.mean() - 249.5) < 5 * 500 / np.sqrt(12 * 50_000)
    assert abs(second.mean() - 749.5) < 5 * 500 / np.sqrt(12 * 50_000)
    assert set(first) == set(range(500))


def test_a_table_comes_in_any_number_of_batches() -> None:
    cells = [str(number % 13) for number in range(100)]
    whole = encoder(integer(0, 9)).encode(batches(x=cells))
    pieces = encoder(integer(0, 9)).encode(pa.table({"x": cells}).to_batches(7))
    assert np.array_equal(whole.codes["x"], pieces.codes["x"])
    assert pieces.n_rows == 100


def test_a_batch_that_lacks_a_column_is_refused() -> None:
    with pytest.raises(InputError, match="column 'x' is in the schema but not in the table"):
        encoder(integer(0, 9)).encode(batches(y=[1]))


PERSON = Field("person", "string", role="identifier", missing_values=("", "NA"))


def units(keys: Any) -> list[int]:
    coder = encoder(PERSON, integer(0, 9), unit=Unit("person", "person", 5))
    coded = coder.encode(pa.table({"person": keys, "x": pa.nulls(len(keys))}).to_batches(2))
    assert coded.units is not None
    return coded.units.tolist()


@pytest.mark.parametrize(
    "keys",
    [
        ["p", "q", "p ", "p"],
        [1, 2, 1, 1],
        [1.0, 2.0, 1.0, 1.0],
        ["1", "2.0", "1.0", " 1"],
        pa.array(["p", "q", "p", "p"]).dictionary_encode(),
        [b"p", b"\xff", b"p", b"p"],
        [date(2000, 1, 1), date(2000, 1, 2), date(2000, 1, 1), date(2000, 1, 1)],
        [Decimal("1.0"), Decimal("2.0"), Decimal("1.0"), Decimal("1.0")],
    ],
)
def test_rows_with_the_same_key_are_one_unit(keys: Any) -> None:
    a, b, c, d = units(keys)
    assert a == c == d != b


@pytest.mark.parametrize("keys", [["", None, "NA", "p", "q"], [float("nan"), None, float("nan"), 1.0, 2.0]])
def test_rows_without_a_key_are_one_unit_together(keys: Any) -> None:
    *alone, p, q = units(keys)
    assert len(set(alone)) == 1
    assert len({alone[0], p, q}) == 3


def test_one_row_is_one_unit_when_the_schema_names_no_key() -> None:
    assert encoder(integer(0, 9)).encode(batches(x=[1])).units is None


def test_rows_can_be_taken_by_position_or_mask() -> None:
    coded = Encoded({"x": np.arange(5, dtype=np.uint8)}, np.arange(5), 5)
    taken = coded.take(np.array([4, 0]))
    assert (taken.codes["x"].tolist(), taken.n_rows) == ([4, 0], 2)
    assert coded.take(np.arange(5) > 2).units is not None


def test_encoding_a_neighbour_changes_only_the_row_that_differs() -> None:
    fields = [integer(0, 9), Field("s", "string", categories=("a", "b"), nullable=True)]
    rows = [("3", "a"), ("4", "b"), ("5", "")]
    odd = [("inf", "\u202e"), ("", "a" * 10_000), ("1" * 4000, "\x00"), ("nan", "b ")]
    base = encoder(*fields).encode(batches(x=[row[0] for row in rows], s=[row[1] for row in rows]))
    for extra, place in itertools.product(odd, range(4)):
        more = [*rows[:place], extra, *rows[place:]]
        coded = encoder(*fields).encode(batches(x=[row[0] for row in more], s=[row[1] for row in more]))
        for name in ("x", "s"):
            assert np.delete(coded.codes[name], place).tolist() == base.codes[name].tolist()


def test_the_number_of_a_unit_does_not_depend_on_who_else_is_in_the_table() -> None:
    assert units(["p", "q", "r"])[1] == units(["q"])[0] == units(["x", "q ", "", "y"])[1]


# --- many batches -------------------------------------------------------------------------------------------------------------


def _wide() -> tuple[Encoder, pa.Table]:
    fields = (
        Field("text", "string", categories=("p", "q", "0", "1.5"), nullable=True),
        Field("number", "number", ordered=True, minimum=0.0, maximum=9.0, bins=4, nullable=True),
        Field("when", "date", ordered=True, minimum=date(2020, 1, 1), maximum=date(2020, 12, 31), bins=4),
        Field("who", "string", role="identifier"),
    )
    rng = np.random.default_rng(0)
    texts = [None, "p", " q ", "?", "0", "0.0", "-0.0", "1.5"]
    table = pa.table(
        {
            "text": [texts[i] for i in rng.integers(0, len(texts), 2000)],
            "number": [None if i == 0 else str(i / 7) for i in rng.integers(0, 80, 2000)],
            "when": [f"2020-{i:02d}-11" for i in rng.integers(1, 14, 2000)],
            "who": [str(i) for i in rng.integers(0, 90, 2000)],
        }
    )
    return Encoder(Schema("t", "people", Unit("person", "who", 3), fields)), table


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_the_cut_into_batches_and_the_place_of_the_codes_change_no_code(memory: int) -> None:
    coder, table = _wide()
    whole = coder.encode([table.combine_chunks().to_batches()[0]])
    parts = coder.encode(table.to_batches(max_chunksize=37), memory)
    assert whole.units is not None and parts.units is not None
    np.testing.assert_array_equal(whole.units, parts.units)
    for name, codes in whole.codes.items():
        assert codes.dtype == parts.codes[name].dtype
        np.testing.assert_array_equal(codes, parts.codes[name])


def test_dictionaries_read_as_plain_texts_do_even_with_twins_and_nulls_in_them() -> None:
    coder, table = _wide()
    plain = coder.encode(table.to_batches()).codes
    packed = pa.table({name: table[name].dictionary_encode() for name in table.column_names})
    for name, codes in coder.encode(packed.to_batches()).codes.items():
        np.testing.assert_array_equal(codes, plain[name])
    odd = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, None, 4], pa.int8()), pa.array(["p", "p", None, "q", "never used"]))
    batch = pa.record_batch({"text": odd, "number": odd, "when": odd, "who": odd})
    assert coder.encode([batch]).codes["text"].tolist() == [0, 0, 4, 1, 4, 4]


def test_zero_and_minus_zero_are_one_value_whichever_comes_first() -> None:
    coder = Encoder(Schema("t", "people", Unit("row"), (Field("x", "string", categories=("0", "-0"), other="-0"),)))
    for cells in ([0.0, -0.0], [-0.0, 0.0], [-0.0], [0.0, 1.0]):
        codes = coder.encode([pa.record_batch({"x": pa.array(cells)})]).codes["x"].tolist()
        assert codes == [0 if cell == 0.0 else 1 for cell in cells]


@pytest.mark.parametrize(
    ("low", "high", "bins", "edges"),
    [
        (0.0, 1.0, 20, ()),
        (-5.0, 1e6, 1, (0.01, 10.0, 999.5)),
        (0.0, 1.0, 1, tuple(np.linspace(1e-9, 1e-6, 50))),  # All edges in one part of the range.
        (0.0, 1e-300, 1, ()),
        (-8e307, 8e307, 4, ()),
    ],
)
def test_the_interval_of_a_number_is_the_one_that_a_search_of_all_edges_finds(
    low: float, high: float, bins: int, edges: tuple[float, ...]
) -> None:
    grid = RealGrid(tuple(_marks(low, high, bins, edges)))
    marks = np.array(grid.edges)
    rng = np.random.default_rng(0)
    between = low + (high - low) * rng.random(20_000)
    odd = [np.inf, -np.inf, low, high, 0.0, -0.0, 1.7e308, -1.7e308]
    values = np.concatenate([marks, np.nextafter(marks, np.inf), np.nextafter(marks, -np.inf), between, odd])
    expected = np.searchsorted(marks, values, side="right")
    expected[values <= low] = 0
    np.testing.assert_array_equal(grid.cells(values), expected)
    cells = np.arange(grid.size)
    np.testing.assert_array_equal(grid.cells(grid.values(cells, rng)), cells)
