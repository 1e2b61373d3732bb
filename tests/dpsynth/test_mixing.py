"""Mixed tables: every row says where it is from, the file says what it holds, and no bundle takes it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import dpsynth
from dpsynth import mixing
from dpsynth.bundle import BundleWriter
from dpsynth.errors import InputError, OutputError
from tests.dpsynth.constraints.tables import listed, schema, whole

MADE = schema([listed("sex", "f", "m", nullable=True), whole("age", 0, 99), {"name": "ill", "type": "boolean"}])
REAL = pd.DataFrame({"sex": ["f", None, "m"], "age": [3, 140, 50], "ill": [True, False, False], "name": ["x", "y", "z"]})
MADE_UP = pd.DataFrame({"sex": ["f", "f"], "age": [10, 20], "ill": [True, True]})


def test_a_mixed_table_has_all_rows_and_says_where_each_is_from() -> None:
    table = dpsynth.mix(REAL, MADE_UP, MADE, seed=1)
    assert list(table.columns) == ["sex", "age", "ill", "dp_origin"]
    assert sorted(table.loc[table["dp_origin"] == "real", "age"]) == [3, 50, 99]
    assert sorted(table.loc[table["dp_origin"] == "synthetic", "age"]) == [10, 20]
    assert table["ill"].dtype == bool and table["sex"].isna().sum() == 1
    assert table.equals(dpsynth.mix(REAL, MADE_UP, MADE, seed=1))
    assert any(not table.equals(dpsynth.mix(REAL, MADE_UP, MADE, seed=seed)) for seed in range(2, 9))


def test_a_schema_with_a_column_of_that_name_is_refused() -> None:
    with pytest.raises(InputError, match="dp_origin"):
        dpsynth.mix(REAL, MADE_UP, schema([listed("dp_origin", "a")]))


def test_a_mixed_table_is_not_mixed_again(tmp_path: Path) -> None:
    mixed = dpsynth.mix(REAL, MADE_UP, MADE, seed=1)
    mixed.to_csv(tmp_path / "mixed.csv", index=False)
    # Its real rows would come out as synthetic ones, or the other way round.
    for real, synthetic in ((REAL, mixed), (mixed, MADE_UP), (REAL, tmp_path / "mixed.csv")):
        with pytest.raises(InputError, match="already"):
            dpsynth.mix(real, synthetic, MADE)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    mixing.write(dpsynth.mix(REAL, MADE_UP, MADE, seed=1), tmp_path / "mixed.parquet")

    assert (tmp_path / "mixed.parquet").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("disguise", ["as it is", "without the column", "without metadata", "csv"])
def test_no_bundle_takes_a_mixed_table(tmp_path: Path, disguise: str) -> None:
    table = dpsynth.mix(REAL, MADE_UP, MADE, seed=1)
    name = "synthetic.csv" if disguise == "csv" else "synthetic.parquet"
    with BundleWriter(tmp_path / "out") as writer:
        path = writer.public_path(name)
        if disguise == "csv":
            table.to_csv(path, index=False)
        elif disguise == "without metadata":
            table.to_parquet(path)
        else:
            mixing.write(table.drop(columns="dp_origin") if disguise == "without the column" else table, path)
        with pytest.raises(OutputError, match="holds real records"):
            writer.seal()
    with BundleWriter(tmp_path / "fine") as writer:
        MADE_UP.to_parquet(writer.public_path("synthetic.parquet"))
        MADE_UP.to_csv(writer.public_path("synthetic.csv"))
        assert "synthetic.csv" in writer.seal()


@pytest.mark.parametrize(
    ("name", "content"), [("synthetic.parquet", b"PAR1 no table"), ("synthetic.parquet", b""), ("synthetic.csv", b"\xff\xfe\x00")]
)
def test_a_table_that_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    with BundleWriter(tmp_path / "out") as writer:
        writer.public_path(name).write_bytes(content)
        with pytest.raises(OutputError, match=rf"'{name}' is not a \w+ file .*that can be read; write it again"):
            writer.seal()
