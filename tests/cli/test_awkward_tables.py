"""Tables nobody prepared, through the command line: the right rows, or an error that says what to do. Never a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import CANARY, Run

PRICE = ("--epsilon", "3", "--delta", "1e-6")


def _schema(path: Path, fields: list[dict[str, Any]], **top: Any) -> Path:
    document = {"dp:dataset": {"id": "awkward", "population": "people"}, "dp:unit": {"name": "person"}, "fields": fields, **top}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _wide(columns: int, rows: int, missing: float, seed: int = 0) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Numbers, codes and flags that follow one hidden number; cells go missing more often where it is large."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=rows)
    frame, fields = {}, []
    for place in range(columns):
        name = f"c{place:02d}"
        kind = place % 3
        values = pd.Series(np.rint(50 + 10 * (hidden + rng.normal(size=rows))).clip(0, 100).astype(int))
        if kind == 1:
            values = pd.Series(np.array(["low", "middle", "high"])[np.digitize(hidden + rng.normal(size=rows), [-0.5, 0.5])])
        if kind == 2:
            values = pd.Series(np.where(hidden + rng.normal(size=rows) > 0, "yes", "no"))
        away = rng.random(rows) < np.clip(missing * (1.0 + 0.5 * np.sign(hidden)), 0.0, 1.0)
        frame[name] = values.astype(object).mask(away, None)
        shape: dict[str, Any] = {"type": "integer", "constraints": {"minimum": 0, "maximum": 100}, "dp:bins": 20}
        if kind:
            shape = {"type": "string", "categories": ["low", "middle", "high"] if kind == 1 else ["no", "yes"]}
        fields.append({"name": name, "dp:nullable": True, **shape})
    return pd.DataFrame(frame), fields


@pytest.mark.parametrize(("columns", "missing", "synthesizer"), [(48, 0.11, "adaptive"), (78, 0.43, "mst")])
def test_wide_tables_with_missing_cells_keep_their_missing_rates(
    run: Run, tmp_path: Path, columns: int, missing: float, synthesizer: str
) -> None:
    table, fields = _wide(columns, 3000, missing)
    table.to_csv(tmp_path / "t.csv", index=False)
    schema = _schema(tmp_path / "s.json", fields)

    out = tmp_path / "rows.parquet"
    done = run(
        "synth", tmp_path / "t.csv", "--schema", schema, *PRICE, "--synthesizer", synthesizer, "--seed", "1", "--rows", "3000", "--out", out
    )
    made = pd.read_parquet(out)

    assert done.code == 0, done.err
    assert made.shape == (3000, columns)
    # The noise in one level: a column gets a 48th or less of a third of rho 0.18.
    gaps = [abs(made[name].isna().mean() - table[name].isna().mean()) for name in table]
    assert max(gaps) < 0.15 and float(np.mean(gaps)) < 0.04


def _free_text(rows: int) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    table, fields = _wide(54, rows, 0.0)
    table["remarks"] = [f"patient {n} of Dr {CANARY} complains of pain, {n * 7919 % 10007}" for n in range(rows)]
    return table, fields


def test_free_text_has_no_type_and_the_error_says_what_to_do(run: Run, tmp_path: Path) -> None:
    table, fields = _free_text(100)
    table.to_csv(tmp_path / "t.csv", index=False)
    schema = _schema(tmp_path / "s.json", [*fields, {"name": "remarks", "type": "string"}])

    done = run("synth", tmp_path / "t.csv", "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv")

    assert done.code == 2
    assert "field 'remarks' has no categories" in done.err and '"dp:role": "identifier"' in done.err
    assert CANARY not in done.out + done.err


@pytest.mark.parametrize("declared", [True, False])
def test_free_text_is_replaced_or_left_out_by_its_declared_role(run: Run, tmp_path: Path, declared: bool) -> None:
    table, fields = _free_text(10_000)
    table.to_csv(tmp_path / "t.csv", index=False)
    text = [{"name": "remarks", "type": "string", "dp:role": "identifier"}] if declared else []
    schema = _schema(tmp_path / "s.json", [*fields, *text])

    out = tmp_path / "rows.csv"
    done = run("synth", tmp_path / "t.csv", "--schema", schema, *PRICE, "--synthesizer", "independent", "--rows", "500", "--out", out)
    made = out.read_text(encoding="utf-8")

    assert done.code == 0, done.err
    assert ("remarks" in made.splitlines()[0]) is declared
    assert CANARY not in made and "complains" not in made


def test_codes_of_seven_hundred_levels(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes = [f"{number:03d}" for number in range(1, 701)]
    drawn = rng.choice(codes, 5000, p=(1 / np.arange(1.0, 701.0)) / (1 / np.arange(1.0, 701.0)).sum())
    pd.DataFrame({"code": drawn, "sex": rng.choice(["f", "m"], 5000)}).to_csv(tmp_path / "t.csv", index=False)
    fields = [
        {"name": "code", "type": "string", "categories": [*codes, "other"], "dp:other": "other"},
        {"name": "sex", "type": "string", "categories": ["f", "m"]},
    ]

    out = tmp_path / "rows.csv"
    done = run("synth", tmp_path / "t.csv", "--schema", _schema(tmp_path / "s.json", fields), *PRICE, "--rows", "5000", "--out", out)
    made = pd.read_csv(out, dtype=str)

    assert done.code == 0, done.err
    assert set(made["code"]) <= {*codes, "other"}
    assert (made["code"] == "001").mean() == pytest.approx((drawn == "001").mean(), abs=0.03)
    assert "701 categories" in run("schema", "lint", tmp_path / "s.json").out


@pytest.mark.parametrize("synthesizer", ["independent", "mst", "adaptive", "aim"])
def test_constant_columns(run: Run, tmp_path: Path, synthesizer: str) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": "only", "b": 7, "c": rng.choice(["x", "y"], 500), "d": 3.5, "e": None})
    table.to_csv(tmp_path / "t.csv", index=False)
    fields: list[dict[str, Any]] = [
        {"name": "a", "type": "string", "categories": ["only"]},
        {"name": "b", "type": "integer", "constraints": {"minimum": 7, "maximum": 7}},
        {"name": "c", "type": "string", "categories": ["x", "y"]},
        {"name": "d", "type": "number", "constraints": {"minimum": 0, "maximum": 10}, "dp:resolution": 0.5},
        {"name": "e", "type": "integer", "constraints": {"minimum": 0, "maximum": 9}, "dp:nullable": True},
    ]

    out = tmp_path / "rows.csv"
    price = ("--epsilon", "10", "--delta", "1e-6", "--synthesizer", synthesizer)
    done = run("synth", tmp_path / "t.csv", "--schema", _schema(tmp_path / "s.json", fields), *price, "--rows", "400", "--out", out)
    made = pd.read_csv(out)

    assert done.code == 0, done.err
    assert set(made["a"]) == {"only"} and set(made["b"]) == {7}
    assert (made["d"] == 3.5).mean() > 0.7 and made["e"].isna().mean() > 0.7


def test_forty_rows_per_person_are_cut_by_the_kernel(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = 40 * 150
    table = pd.DataFrame({"who": np.repeat(np.arange(150), 40), "visit": rng.integers(0, 20, rows), "ward": rng.choice(list("abc"), rows)})
    table.to_csv(tmp_path / "t.csv", index=False)
    fields = [
        {"name": "who", "type": "string", "dp:role": "identifier"},
        {"name": "visit", "type": "integer", "constraints": {"minimum": 0, "maximum": 20}},
        {"name": "ward", "type": "string", "categories": ["a", "b", "c"]},
    ]
    schema = _schema(tmp_path / "s.json", fields, **{"dp:unit": {"name": "person", "field": "who", "maxRows": 3}})

    out = tmp_path / "rows.csv"
    done = run("synth", tmp_path / "t.csv", "--schema", schema, *PRICE, "--out", out)

    assert done.code == 0, done.err
    # The number of rows is measured under the budget: 150 persons with 3 rows each, not 6000.
    assert len(pd.read_csv(out)) < 1500


@pytest.mark.parametrize("command", ["synth", "release"])
def test_a_header_without_records_is_a_table_of_nobody(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "t.csv").write_text("a,b\n", encoding="utf-8")
    fields = [
        {"name": "a", "type": "string", "categories": ["x", "y"]},
        {"name": "b", "type": "integer", "constraints": {"minimum": 0, "maximum": 9}},
    ]
    out = ("--out", tmp_path / ("rows.csv" if command == "synth" else "bundle"))
    policy = () if command == "synth" else ("--policy", "demo-health", "--tier", "smoke", "--rows", "50")

    done = run(command, tmp_path / "t.csv", "--schema", _schema(tmp_path / "s.json", fields), *PRICE, *policy, *out)

    # Rows can be drawn from noise alone; a release cannot be judged against nothing.
    assert done.code == (0 if command == "synth" else 3), done.err
    assert command == "synth" or not (tmp_path / "bundle" / "public").exists()


def test_a_file_of_no_bytes_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"")
    schema = _schema(tmp_path / "s.json", [{"name": "a", "type": "string", "categories": ["x", "y"]}])

    done = run("synth", tmp_path / "t.csv", "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv")

    assert done.code == 2 and "is empty" in done.err


def test_a_release_of_a_table_that_nobody_prepared_is_decided(run: Run, tmp_path: Path) -> None:
    """Missing cells, a constant, codes of 300 levels, free text replaced: audits and policy go through, whatever they say."""
    table, fields = _wide(6, 600, 0.43)
    table["code"] = np.random.default_rng(0).integers(0, 300, 600).astype(str)
    table["only"], table["text"] = "x", [f"{CANARY} {n}" for n in range(600)]
    table.to_csv(tmp_path / "t.csv", index=False)
    more = [
        {"name": "code", "type": "string", "categories": [str(n) for n in range(300)]},
        {"name": "only", "type": "string", "categories": ["x"]},
        {"name": "text", "type": "string", "dp:role": "identifier"},
    ]
    schema = _schema(tmp_path / "s.json", [*fields, *more])

    done = run(
        "release", tmp_path / "t.csv", "--schema", schema, "--policy", "demo-health", *PRICE, "--tier", "smoke", "--out", tmp_path / "b"
    )

    assert done.code in (0, 1, 3), done.err
    assert CANARY not in done.out + done.err
