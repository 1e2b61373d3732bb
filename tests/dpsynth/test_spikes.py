"""Declared spikes: exactly that value is a bin of its own, whatever the bins, and comes back as it was."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpsynth.encode import Encoder
from dpsynth.errors import SchemaError
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.schema import Field, Schema, Unit
from dpsynth.sources import open_source
from dpsynth.synthesizers import Independent


def _encoder(field: Field) -> Encoder:
    return Encoder(Schema("d", "nobody", Unit("row"), (field,)))


CASES: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    # (field, values, their neighbours on both sides)
    ({"type": "number", "minimum": -1000.0, "maximum": 1000.0, "bins": (500.0,), "spikes": (0.0,)}, [0.0], [-1e-9, 1e-9, 499.0]),
    ({"type": "number", "minimum": -1000.0, "maximum": 1000.0, "bins": 7, "spikes": (0.0, 99.5)}, [0.0, 99.5], [-0.5, 0.5, 99.4, 99.6]),
    ({"type": "number", "minimum": 0.0, "maximum": 1000.0, "bins": "dp", "spikes": (0.0, 250.0)}, [0.0, 250.0], [0.01, 249.9, 250.1]),
    ({"type": "number", "minimum": 0.0, "maximum": 1e6, "resolution": 0.01, "bins": 5, "spikes": (9.99,)}, [9.99], [9.98, 10.0]),
    ({"type": "integer", "minimum": -5, "maximum": 10**6, "bins": 4, "spikes": (0, 999_999)}, [0, 999_999], [-1, 1, 999_998, 10**6]),
    ({"type": "integer", "minimum": 0, "maximum": 500, "bins": (100,), "spikes": (500,)}, [500], [499]),
    (
        {"type": "date", "minimum": date(1900, 1, 1), "maximum": date(2025, 1, 1), "bins": 3, "spikes": (date(1950, 6, 1),)},
        [date(1950, 6, 1)],
        [date(1950, 5, 31), date(1950, 6, 2)],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]['type']}-{case[0]['bins']}")
def test_a_spike_shares_its_bin_with_no_other_value(case: tuple[dict[str, Any], list[Any], list[Any]]) -> None:
    declared, spikes, others = case
    coder = _encoder(Field("x", ordered=True, **declared))
    if coder.pending:
        coder = coder.with_edges({"x": [coder.grid_domain["x"].size // 2]})
    table = pd.DataFrame({"x": [*spikes, *others]})
    codes = coder.bin(coder.encode(open_source(table, ["x"])).codes).columns["x"]
    mine, theirs = codes[: len(spikes)], codes[len(spikes) :]
    assert len(set(mine.tolist())) == len(spikes)
    assert not set(mine.tolist()) & set(theirs.tolist())
    back = coder.decode({"x": np.repeat(mine, 50)}, np.random.default_rng(0))["x"]
    assert [str(value).removesuffix(" 00:00:00") for value in back] == [str(value) for value in np.repeat(spikes, 50).tolist()]


def test_a_column_of_zeros_and_wide_values_comes_back_with_its_zeros() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(5000) < 0.6, 0.0, rng.normal(0.0, 300.0, 5000)).clip(-1000, 1000)
    field = Field("x", "number", ordered=True, minimum=-1000, maximum=1000, bins="dp", spikes=(0.0,))
    private = PrivateData.read(pd.DataFrame({"x": values}), Schema("d", "nobody", Unit("row"), (field,)), PrivacyBudget(5.0, 1e-6))
    made = Independent().fit(private).sample(5000, seed=0)["x"].to_numpy()
    # Noise of about 20 rows at this budget; sampling is systematic.
    assert abs((made == 0.0).mean() - (values == 0.0).mean()) < 0.05
    assert (made < 0.0).mean() == pytest.approx((values < 0.0).mean(), abs=0.05)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"dp:spikes": [2000]}, "dp:spikes value 2000 outside its bounds"),
        ({"dp:spikes": ["a"]}, "dp:spikes='a', which is not of type number"),
        ({"dp:spikes": []}, "empty dp:spikes"),
        ({"dp:spikes": [0, 0]}, "repeats a value in dp:spikes"),
    ],
)
def test_spikes_that_cannot_be_are_refused(item: dict[str, Any], words: str) -> None:
    field = {"name": "x", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}, **item}
    with pytest.raises(SchemaError, match=words):
        Schema.from_dict({"dp:dataset": {"id": "d", "population": "p"}, "dp:unit": {"name": "row"}, "fields": [field]})


def test_spikes_are_for_columns_with_bounds_and_are_written_back() -> None:
    with pytest.raises(SchemaError, match="dp:spikes, which is for numbers and dates"):
        Field("x", "string", categories=("a",), spikes=(1,))
    schema = Schema("d", "p", Unit("row"), (Field("x", "integer", ordered=True, minimum=0, maximum=9, spikes=(0, 3)),))
    assert Schema.from_dict(schema.to_dict()) == schema
