"""What the pages show runs as printed: Python, commands, JSON. The README has a module of its own."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpsynth.cli import main
from dpsynth.companions import About
from dpsynth.schema import Schema
from tests.cli.conftest import schema_document, table_text
from tests.house.test_docs import ROOT, shell_lines

DOCS = ROOT / "docs"
CLAIMS = {
    "dp:dataset": {"id": "claims", "population": "insured"},
    "dp:unit": {"name": "person"},
    "fields": [
        {"name": "fraud", "type": "string", "categories": ["yes", "no"]},
        {"name": "sex", "type": "string", "categories": ["f", "m"]},
        {"name": "ward", "type": "string", "categories": ["a", "b", "c"]},
        {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 100}},
        {
            "name": "died_on",
            "type": "date",
            "constraints": {"minimum": "2024-01-01", "maximum": "2024-12-31"},
            "dp:nullable": True,
            "dp:resolution": "month",
        },
    ],
}


def _blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} shows no {language}"
    return found


def _execute(page: str, given: dict[str, Any]) -> dict[str, Any]:
    for block in _blocks(page, "python"):
        exec(compile(block, page, "exec"), given)
    return given


def _run(line: str) -> int:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return main(shlex.split(line)[1:])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def claims(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = 3000
    table = pd.DataFrame(
        {
            "fraud": rng.choice(["yes", "no"], rows, p=[0.2, 0.8]),
            "sex": rng.choice(["f", "m"], rows),
            "ward": rng.choice(["a", "b", "c"], rows),
            "age": rng.integers(0, 101, rows),
            "died_on": np.where(rng.random(rows) < 0.5, None, "2024-05-01"),
        }
    )
    table.to_parquet("claims.parquet")
    Path("claims.schema.json").write_text(json.dumps(CLAIMS), encoding="utf-8")
    price = "--epsilon 20 --delta 1e-6"
    assert _run(f"dpsynth synth claims.parquet --schema claims.schema.json {price} --out rows.parquet --model claims.model") == 0
    return folder


def test_the_page_on_sampling_runs(claims: Path) -> None:
    import dpsynth

    for line in shell_lines((DOCS / "sampling.md").read_text(encoding="utf-8")):
        assert _run(f"{line} --force") == 0, line
    example, *short = _blocks("sampling.md", "python")
    found: dict[str, Any] = {}
    exec(compile(example, "sampling.md", "exec"), found)
    for block in short:
        exec(compile(block, "sampling.md", "exec"), {"model": dpsynth.load("claims.model")})

    rare = pd.read_parquet("rare.parquet")
    assert set(rare["fraud"]) == {"yes"}
    assert set(pd.read_parquet("train.parquet")["dp_origin"]) == {"real", "synthetic"}
    assert pd.read_parquet("balanced.parquet")["fraud"].eq("yes").mean() == pytest.approx(0.5, abs=0.01)
    assert found["rare"]["participates_401k"].all() and found["rare"]["income"].max() <= 20_000
    assert found["fair"]["male"].mean() == pytest.approx(0.5, abs=0.01)
    assert repr(found["again"]) == repr(found["model"])


def test_the_page_on_the_ledger_runs(folder: Path) -> None:
    found = _execute("ledger.md", {})

    assert found["ledger"].spent("hie-participants", "person").releases == 1


def test_the_page_on_audits_runs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    train, control, synthetic = (pd.DataFrame(rng.integers(0, 9, (400, 3)), columns=list("abc")) for _ in range(3))

    assert _execute("audits.md", {"train": train, "control": control, "synthetic": synthetic})["found"].verdict


def test_the_page_on_planning_runs(folder: Path) -> None:
    Path("visits.schema.json").write_text(json.dumps(schema_document()), encoding="utf-8")
    Path("visits.csv").write_text(table_text(50, 0), encoding="utf-8")

    assert [_run(line) for line in shell_lines((DOCS / "planning.md").read_text(encoding="utf-8"))] == [0, 0]


def test_the_examples_are_made_as_their_page_says(folder: Path) -> None:
    (folder / "examples").symlink_to(ROOT / "examples")

    for line in shell_lines((ROOT / "examples" / "README.md").read_text(encoding="utf-8")):
        assert _run(line) == 0, line
        assert _run(f"dpsynth schema lint {shlex.split(line)[-1]}") == 0


WHOLE: dict[str, Callable[[dict[str, Any]], object]] = {
    "schema.md": Schema.from_dict,
    "persons.md": Schema.from_dict,
    "documents.md": lambda document: About.read(_written(document)),
}


@pytest.mark.parametrize("page", WHOLE)
def test_the_first_document_on_a_page_is_valid(folder: Path, page: str) -> None:
    WHOLE[page](json.loads(_blocks(page, "json")[0]))


def _written(document: dict[str, Any]) -> Path:
    path = Path("document.json")
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_the_relations_on_the_page_are_kinds_that_exist(folder: Path) -> None:
    fragment = next(block for block in _blocks("schema.md", "json") if block.startswith('"dp:constraints"'))
    document = {
        "dp:dataset": {"id": "relations", "population": "nobody"},
        "dp:unit": {"name": "person"},
        "fields": [
            {"name": "sex", "type": "string", "categories": ["male", "female"]},
            {"name": "pregnant", "type": "boolean"},
            {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 99}},
            {"name": "marital", "type": "string", "categories": ["single", "married", "widowed"]},
            *(
                {"name": name, "type": "date", "constraints": {"minimum": "2024-01-01", "maximum": "2024-12-31"}}
                for name in ("admitted", "discharged")
            ),
            *({"name": name, "type": "integer", "constraints": {"minimum": 0, "maximum": 50}} for name in ("drugs", "stay")),
            {"name": "cost", "type": "integer", "constraints": {"minimum": 0, "maximum": 100}},
            {"name": "county", "type": "string", "categories": ["Essex", "Fife"]},
            {"name": "state", "type": "string", "categories": ["England", "Scotland"]},
            {"name": "died", "type": "boolean"},
            {"name": "died_on", "type": "date", "constraints": {"minimum": "2024-01-01", "maximum": "2024-12-31"}, "dp:nullable": True},
        ],
        **json.loads("{" + fragment + "}"),
    }

    assert len(Schema.from_dict(document).relations.items) == len(document["dp:constraints"])


def test_the_anchor_on_the_page_is_read() -> None:
    fragment = next(block for block in _blocks("schema.md", "json") if "dp:anchor" in block)
    fields = json.loads(f"[{fragment}]")
    schema = Schema.from_dict({"dp:dataset": {"id": "a", "population": "b"}, "dp:unit": {"name": "c"}, "fields": fields})

    assert schema["discharged"].anchor is not None
