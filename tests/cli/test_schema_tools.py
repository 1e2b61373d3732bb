"""``dpsynth schema init``, ``convert`` and ``diff`` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

from dpsynth.schema import Schema
from tests.cli.conftest import CANARY, Run, schema_document, table_text

WHO = ("--dataset", "visits", "--population", "patients", "--unit", "person")


def test_init_from_a_codebook_then_synth(run: Run, tmp_path: Path) -> None:
    book, out = tmp_path / "book.csv", tmp_path / "s.json"
    book.write_text("field,values,minimum,maximum\nage,,0,100\nsex,f|m,,\nvisits,,0,50\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text(table_text(300, 0), encoding="utf-8")

    made = run("schema", "init", book, *WHO, "--out", out)
    used = run("synth", tmp_path / "t.csv", "--schema", out, "--epsilon", "1", "--delta", "1e-6", "--out", tmp_path / "rows.csv")

    assert (made.code, used.code) == (0, 0), made.err + used.err
    assert "SCHEMA WRITTEN" in made.out


def test_what_is_missing_is_one_error_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    book, out = tmp_path / "book.csv", tmp_path / "s.json"
    book.write_text("field,type\nage,int\n", encoding="utf-8")

    done = run("schema", "init", book, "--out", out)

    assert done.code == 2 and "4 public facts are missing" in done.err
    assert not out.exists()


def test_init_refuses_records_that_nobody_declared_public(run: Run, tmp_path: Path) -> None:
    table, out = tmp_path / "t.csv", tmp_path / "s.json"
    table.write_text(table_text(300, 0), encoding="utf-8")

    done = run("schema", "init", table, *WHO, "--out", out)

    assert done.code == 2 and "--public" in done.err
    assert CANARY not in done.out + done.err
    assert not out.exists()


def test_init_from_a_public_table(run: Run, tmp_path: Path) -> None:
    table, out = tmp_path / "t.csv", tmp_path / "s.json"
    rows = "".join(f"{20 + n % 40},{'fm'[n % 2]},{n / 7:.3f},2024-{n % 12 + 1:02d}-{n % 28 + 1:02d},name {n}\n" for n in range(1200))
    table.write_text("age,sex,cost,day,who\n" + rows + ",f,,,\n", encoding="utf-8")

    done = run("schema", "init", table, "--public", *WHO, "--out", out)
    schema = Schema.read(out)

    assert done.code == 0, done.err
    assert [field.type for field in schema.fields] == ["integer", "string", "number", "date", "string"]
    assert (schema["age"].minimum, schema["age"].maximum, schema["age"].nullable) == (20, 59, True)
    assert (schema["sex"].categories, schema["sex"].nullable, schema["who"].role) == (("f", "m"), False, "identifier")
    assert str(schema["day"].maximum) == "2024-12-28"


def test_a_written_schema_reads_back_equal(run: Run, tmp_path: Path) -> None:
    from dpsynth.cli.schema import schema_text

    schema = Schema.from_dict(schema_document(missingValues=["", "NA"], title="Élan"))
    out = tmp_path / "s.json"
    out.write_text(schema_text(schema), encoding="utf-8")

    assert Schema.read(out) == schema


def test_nothing_is_overwritten_without_force(run: Run, tmp_path: Path) -> None:
    book, out = tmp_path / "book.csv", tmp_path / "s.json"
    book.write_text("field,values\nsex,f|m\n", encoding="utf-8")
    out.write_text("mine", encoding="utf-8")

    assert run("schema", "init", book, *WHO, "--out", out).code == 2
    assert out.read_text(encoding="utf-8") == "mine"
    assert run("schema", "init", book, *WHO, "--out", out, "--force").code == 0


def test_convert_with_a_fill(run: Run, tmp_path: Path) -> None:
    data, fill, out = tmp_path / "m.json", tmp_path / "fill.json", tmp_path / "s.json"
    data.write_text(json.dumps({"columns": {"age": {"sdtype": "numerical"}, "id": {"sdtype": "id"}}}), encoding="utf-8")
    fill.write_text(json.dumps({"fields": {"age": {"type": "integer", "constraints": {"minimum": 0, "maximum": 99}}}}), encoding="utf-8")

    asked = run("schema", "convert", data, "--from", "sdv", *WHO, "--out", out)
    done = run(
        "schema", "convert", data, "--from", "sdv", *WHO, "--fill", fill, "--unit-field", "id", "--max-rows", "4", "--out", out, "--json"
    )

    assert asked.code == 2 and "1 public fact is missing: field 'age' constraints.minimum and maximum" in asked.err
    assert done.code == 0 and done.json["fields"] == 2
    assert Schema.read(out).unit.max_rows == 4


def test_diff(run: Run, tmp_path: Path) -> None:
    old, new = tmp_path / "a.json", tmp_path / "b.json"
    old.write_text(json.dumps(schema_document()), encoding="utf-8")
    new.write_text(json.dumps(schema_document(**{"dp:dataset": {"id": "visits-2026", "population": "staff"}})), encoding="utf-8")

    assert "equal" in run("schema", "diff", old, old).out
    assert "other budget: releases are charged to another account" in run("schema", "diff", old, new).out
    assert run("schema", "diff", old, new, "--json").json["changes"][0]["effect"] == "other budget"
