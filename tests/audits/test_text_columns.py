"""Text becomes numbers or dates where nothing else is in the column, in every table alike."""

from __future__ import annotations

import pandas as pd
import pytest

from audits import AuditError, infer_columns, typed


def frames(*columns: list[object]) -> dict[str, pd.DataFrame]:
    return {f"t{i}": pd.DataFrame({"x": pd.Series(values, dtype=object)}) for i, values in enumerate(columns)}


@pytest.mark.parametrize(
    ("columns", "kind", "first"),
    [
        ([["1", "-2.5", ""], ["3e2", "NA"]], "float64", [1.0, -2.5, None]),
        ([["2020-01-02", "null"], ["1999-12-31T10:00:00"]], "datetime64", [pd.Timestamp("2020-01-02"), None]),
        ([["1", "two"], ["1"]], "object", ["1", "two"]),
        ([["01234", "99999"], ["10000"]], "object", ["01234", "99999"]),  # postcodes
        ([["", "nan"], ["None"]], "float64", [None, None]),
        ([["+4", ".5"], []], "float64", [4.0, 0.5]),
        ([[" 7 "], ["8"]], "float64", [7.0]),
        ([["infinity", "1"], ["1"]], "object", ["infinity", "1"]),
    ],
)
def test_text_is_read_alike(columns: list[list[object]], kind: str, first: list[object]) -> None:
    found = typed(frames(*columns))

    assert all(str(frame["x"].dtype).startswith(kind) for frame in found.values())
    values = found["t0"]["x"].tolist()
    assert [None if pd.isna(value) else value for value in values] == first


def test_a_typed_column_meets_text() -> None:
    tables = {"train": pd.DataFrame({"x": ["1", "2"]}), "synthetic": pd.DataFrame({"x": [1.0, 2.5]})}
    dates = {"train": pd.DataFrame({"x": ["2020-01-02"]}), "synthetic": pd.DataFrame({"x": pd.to_datetime(["2021-05-01"])})}

    for found in (typed(tables), typed(dates)):
        assert infer_columns(found)[0].kind == "ordered"
        assert found["train"]["x"].dtype.kind == found["synthetic"]["x"].dtype.kind


def test_a_typed_column_is_left_alone_and_the_caller_keeps_the_table() -> None:
    tables = {"train": pd.DataFrame({"x": [True, False], "y": ["1", "2"]}), "control": pd.DataFrame({"x": [True, True], "y": ["3", "x"]})}
    found = typed(tables)

    assert found["train"]["x"].dtype == bool
    assert tables["train"]["y"].tolist() == ["1", "2"]


def test_columns_that_cannot_be_compared_are_refused_without_quoting() -> None:
    with pytest.raises(AuditError, match="column 'x' holds numbers in t0 and other words in t1") as refused:
        typed(frames(["1", "2"], ["secret", "words"]))
    assert "secret" not in str(refused.value)
