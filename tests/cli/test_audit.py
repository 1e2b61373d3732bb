"""``dpsynth audit`` on tables as people bring them, without a schema: the right verdict, or inconclusive with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.audits_generators import COPYING, NOT_COPYING
from tests.cli.conftest import Result, Run

TOWNS = np.array(["O'Hara", '"Q"', "a,b", "plain", "l\\n", "x;--"], dtype=object)
FOUND, NOTHING, OPEN, WRONG = 1, 0, 3, 2
Audited = Callable[..., Result]


def people(n: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Quotes, commas and backslashes in categories, negative amounts, whole numbers, dates."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, n)
    return pd.DataFrame({
        "town": TOWNS[rng.integers(0, 6, n)],
        "age": age,
        "balance": np.round(rng.normal(-50 + shift, 80, n), 2),
        "visits": rng.poisson(age / 20),
        "since": pd.Timestamp("2001-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
    })  # fmt: skip


TRAIN, CONTROL, OTHERS = people(500, 1), people(500, 2), people(500, 3)
COPY = TRAIN.sample(frac=1, random_state=0)


def thrice(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table] * 3).sample(frac=1, random_state=1)


def number(seed: int) -> pd.DataFrame:
    return people(500, seed)[["balance"]]


@pytest.fixture
def audited(run: Run, tmp_path: Path) -> Audited:
    def invoke(train: Any, control: Any, synthetic: Any, *more: object) -> Result:
        arguments: list[object] = []
        for name, table in (("train", train), ("control", control), ("synthetic", synthetic)):
            path = tmp_path / f"{name}.csv"
            if isinstance(table, pd.DataFrame):
                table.to_csv(path, index=False)
            else:
                path.write_text(table, encoding="utf-8")
            arguments += [f"--{name}", path]
        return run("audit", *arguments, "--tier", "smoke", *more)

    return invoke


CONSTANT = pd.DataFrame({"a": ["x"] * 300, "b": [1] * 300})
VOID = pd.DataFrame({"a": [np.nan] * 300, "b": [np.nan] * 300})

CASES: dict[str, tuple[Any, Any, Any, int, str]] = {
    # name: train, control, synthetic, exit code, words that must be in what is printed
    "other people": (TRAIN, CONTROL, OTHERS, NOTHING, "could have caught"),
    "a copy": (TRAIN, CONTROL, COPY, FOUND, "members stand out"),
    "half a control, other people": (TRAIN, people(250, 2), OTHERS, NOTHING, ""),
    "half a control, a copy": (TRAIN, people(250, 2), COPY, FOUND, ""),
    "twice the control, other people": (TRAIN, people(1000, 2), OTHERS, NOTHING, ""),
    "twice the control, a copy": (TRAIN, people(1000, 2), COPY, FOUND, ""),
    "control took part": (TRAIN, pd.concat([CONTROL[:250], TRAIN[:250]]), OTHERS, OPEN, "reappear"),
    "control of another population": (TRAIN, people(500, 2, shift=60), OTHERS, OPEN, "not from the same population"),
    "control of another population, a copy": (TRAIN, people(500, 2, shift=60), COPY, OPEN, "not from the same population"),
    "people in three rows each": (thrice(people(200, 1)), thrice(people(200, 2)), thrice(people(200, 3)), OPEN, "several rows"),
    "200 rows, other people": (people(200, 1), people(200, 2), people(200, 3), NOTHING, ""),
    "200 rows, a copy": (people(200, 1), people(200, 2), people(200, 1), FOUND, ""),
    "40 rows, a copy": (people(40, 1), people(40, 2), people(40, 1), OPEN, "needs 50"),
    "one number, other people": (number(1), number(2), number(3), NOTHING, ""),
    "one number, a copy": (number(1), number(2), number(1), FOUND, ""),
    "one column of words, other people": (*(t[["town"]] for t in (TRAIN, CONTROL, OTHERS)), OPEN, "room above the strangers"),
    "constant": (CONSTANT, CONSTANT, CONSTANT, OPEN, "alike"),
    "nothing but missing": (VOID, VOID, VOID, OPEN, "alike"),
    "a missing column, other people": (*(t.assign(void=np.nan) for t in (TRAIN, CONTROL, OTHERS)), NOTHING, ""),
    "a missing column, a copy": (*(t.assign(void=np.nan) for t in (TRAIN, CONTROL, COPY)), FOUND, ""),
    "missing in the release only": (TRAIN, CONTROL, OTHERS.assign(balance=np.nan), NOTHING, ""),
    "no synthetic row": (TRAIN, CONTROL, TRAIN[:0], OPEN, "the synthetic table is empty"),
    "no training row": (TRAIN[:0], CONTROL, OTHERS, OPEN, "needs 50"),
    "no control row": (TRAIN, CONTROL[:0], OTHERS, OPEN, "needs 50"),
    "an empty file": (TRAIN, CONTROL, "", WRONG, "is empty"),
    "numbers against words": (TRAIN, CONTROL, OTHERS.assign(age=[f"age {a}" for a in OTHERS["age"]]), WRONG, "column 'age' holds numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_table_gets_the_right_verdict(case: str, audited: Audited) -> None:
    train, control, synthetic, code, words = CASES[case]
    done = audited(train, control, synthetic)

    assert done.code == code, done.out + done.err
    assert words in " ".join((done.out + done.err).split())
    assert "O'Hara" not in done.out + done.err


@pytest.mark.slow
def test_no_condition_to_single_out_by_is_inconclusive(audited: Audited) -> None:
    two = pd.DataFrame({"a": ["x", "y"] * 300, "b": [0, 1, 1, 0] * 150})
    done = audited(two, two, two, "--tier", "standard", "--json")

    assert done.code == OPEN
    assert "too few to judge" in done.json["results"]["singling_out"]["reason"]


@pytest.mark.parametrize("generator", [*COPYING, *NOT_COPYING])
def test_other_peoples_generators(generator: str, audited: Audited) -> None:
    """Rows of people, or beside them, are found; a few summaries are not. Twenty seeds each: `python -m benchmarks.audits_verdicts`."""
    make = {**COPYING, **NOT_COPYING}[generator]
    columns = ["town", "age", "balance", "visits"]
    done = audited(TRAIN[columns], CONTROL[columns], make(TRAIN[columns], np.random.default_rng(4)))

    assert done.code == (FOUND if generator in COPYING else NOTHING), done.out


def test_every_answer_says_what_it_could_have_seen(audited: Audited) -> None:
    for synthetic in (OTHERS, COPY):
        for name, result in audited(TRAIN, CONTROL, synthetic, "--json").json["results"].items():
            assert result["detectable"] is not None and result["detectable_unit"], name


def test_open_categories_of_an_audit_are_those_of_the_synthetic_table(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"code": rng.choice([f"c{i}" for i in range(40)], 900), "ward": rng.choice(["a", "b"], 900)})
    synthetic = table.sample(300, random_state=1).assign(code=lambda rows: rows["code"].where(rows["code"] < "c2", "other"))
    paths: list[object] = []
    for name, frame in (("train", table[:450]), ("control", table[450:]), ("synthetic", synthetic)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        paths += [f"--{name}", tmp_path / f"{name}.csv"]
    fields = [{"name": "code", "type": "string", "dp:categories": "dp"}, {"name": "ward", "type": "string", "categories": ["a", "b"]}]
    document = {"dp:dataset": {"id": "d", "population": "p"}, "dp:unit": {"name": "person"}, "fields": fields}
    (tmp_path / "s.json").write_text(json.dumps(document), encoding="utf-8")

    done = run("audit", *paths, "--schema", tmp_path / "s.json", "--epsilon", "3", "--delta", "1e-6", "--tier", "smoke", "--json")

    assert done.json["claim"]["threshold_delta"] == pytest.approx(1e-7)
    assert done.json["results"]["membership"]["verdict"] == "NOT_FALSIFIED", done.json["results"]["membership"]
