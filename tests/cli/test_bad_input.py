"""Every mistake a caller can make: the named error and its exit code; nothing half-written, charged or leaked."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpsynth.errors import OutputError
from dpsynth.privacy.ledger import Ledger
from tests.cli.conftest import CANARY, Run, schema_document, table_text

# Arguments that are right; each case breaks one thing.
PRICE = ("--epsilon", "1", "--delta", "1e-6")


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _latin(folder: Path) -> Path:
    return _write(folder / "t.csv", table_text(5, 0).replace(CANARY, f"{CANARY}é").encode("latin-1"))


def _header(folder: Path, old: str, new: str) -> Path:
    return _write(folder / "t.csv", table_text(5, 0).replace(old, new, 1))


TABLES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing file": (lambda d: d / "none.csv", "none.csv"),
    "folder": (lambda d: d, ""),
    "empty file": (lambda d: _write(d / "t.csv", ""), "t.csv"),
    "wrong delimiter": (lambda d: _write(d / "t.csv", table_text(5, 0, ";")), "semicolon"),
    "duplicate column names": (lambda d: _header(d, "visits", "visits,age"), "age"),
    "column missing from the table": (lambda d: _header(d, "visits", "visit"), "visits"),
    "no header, so the first record is where one should be": (
        lambda d: _write(d / "t.csv", table_text(5, 0).split("\n", 1)[1]),
        "age",
    ),
    "not UTF-8": (_latin, "UTF-8"),
    "an unknown kind of file": (lambda d: _write(d / "t.xlsx", table_text(5, 0)), ".csv"),
    "not Parquet": (lambda d: _write(d / "t.parquet", table_text(5, 0)), "t.parquet"),
    "a truncated archive": (
        lambda d: _write(d / "t.csv.gz", gzip.compress(table_text(500, 0).encode())[:200]),
        "t.csv.gz",
    ),
}


@pytest.mark.parametrize(("make", "named"), TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("command", ["synth", "release"])
def test_a_table_that_cannot_be_read(
    run: Run, tmp_path: Path, schema: Path, command: str, make: Callable[[Path], Path], named: str
) -> None:
    (tmp_path / "in").mkdir()
    table = make(tmp_path / "in")
    before = _tree(tmp_path)
    out = tmp_path / ("rows.csv" if command == "synth" else "bundle")
    policy = () if command == "synth" else ("--policy", "demo-health")

    done = run(command, table, "--schema", schema, *PRICE, *policy, "--out", out)

    assert done.code == 2, done.err
    assert named in done.err
    _nothing_leaked_or_left(done.out + done.err, tmp_path, before)


def test_a_record_of_the_wrong_length_is_left_out_because_that_it_is_there_is_private(run: Run, tmp_path: Path, schema: Path) -> None:
    table = _write(tmp_path / "t.csv", table_text(300, 0) + f"1,{CANARY},3,4,5\n")

    done = run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv")

    assert done.code == 0
    assert CANARY not in done.out + done.err + (tmp_path / "rows.csv").read_text(encoding="utf-8")


def test_another_delimiter_can_be_named(run: Run, tmp_path: Path, schema: Path) -> None:
    table = _write(tmp_path / "t.csv", table_text(300, 0, ";"))
    arguments = ("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv")

    assert run(*arguments, "--delimiter", ";").code == 0
    assert run(*arguments, "--force", "--delimiter", ";;").code == 2


def _schema_case(change: dict[str, Any] | None = None, **field: Any) -> str:
    document = schema_document(**(change or {}))
    document["fields"][0].update(field)
    return json.dumps(document)


SCHEMAS: dict[str, tuple[str, str]] = {
    "not JSON": ("{", "JSON"),
    "unknown key": (_schema_case({"dp:epsilon": 1}), "dp:epsilon"),
    "unknown key of a field": (_schema_case(minimum=3), "minimum"),
    "bounds reversed": (_schema_case(constraints={"minimum": 9, "maximum": 1}), "age"),
    "a bound is missing": (_schema_case(constraints={"minimum": 0}), "'age' has no constraints.maximum"),
    "duplicate field": (_schema_case(name="sex"), "sex"),
    "unknown type": (_schema_case(type="text"), "type"),
    "a key stands twice": (_schema_case()[:-1] + ', "dp:rows": 3}', "dp:rows"),
    "a field that the table lacks": (_schema_case(name="height"), "height"),
}


@pytest.mark.parametrize(("text", "named"), SCHEMAS.values(), ids=SCHEMAS)
def test_a_schema_that_cannot_be_used(run: Run, tmp_path: Path, table: Path, text: str, named: str) -> None:
    schema = _write(tmp_path / "bad.json", text)
    before = _tree(tmp_path)

    done = run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv")

    assert done.code == 2
    assert named in done.err
    _nothing_leaked_or_left(done.out + done.err, tmp_path, before)


def test_a_column_of_the_wrong_type(run: Run, tmp_path: Path, schema: Path) -> None:
    import pandas as pd

    table = tmp_path / "t.parquet"
    pd.DataFrame({"age": [[1], [2]], "sex": ["f", "m"], "visits": [1, 2]}).to_parquet(table)

    done = run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv")

    assert done.code == 2
    assert "age" in done.err


@pytest.mark.parametrize("command", ["synth", "release"])
@pytest.mark.parametrize(
    ("epsilon", "delta"),
    [
        ("0", "1e-6"),
        ("-1", "1e-6"),
        ("nan", "1e-6"),
        ("inf", "1e-6"),
        ("one", "1e-6"),
        ("1", "0"),
        ("1", "1"),
        ("1", "nan"),
    ],
)
def test_a_price_that_is_none(run: Run, tmp_path: Path, table: Path, schema: Path, command: str, epsilon: str, delta: str) -> None:
    before = _tree(tmp_path)
    out = tmp_path / ("rows.csv" if command == "synth" else "bundle")
    policy = () if command == "synth" else ("--policy", "demo-health")

    done = run(
        command, table, "--schema", schema, "--epsilon", epsilon, "--delta", delta, *policy, "--out", out,
        "--ledger", tmp_path / "l.ledger",
    )  # fmt: skip

    assert done.code == 2
    assert "epsilon" in done.err or "delta" in done.err
    _nothing_leaked_or_left(done.out + done.err, tmp_path, before)


@pytest.mark.parametrize("missing", ["--epsilon", "--delta", "--schema", "--out"])
def test_nothing_that_decides_privacy_has_a_default(run: Run, tmp_path: Path, table: Path, schema: Path, missing: str) -> None:
    options = {"--schema": str(schema), "--epsilon": "1", "--delta": "1e-6", "--out": str(tmp_path / "rows.csv")}
    del options[missing]

    done = run("synth", table, *(word for pair in options.items() for word in pair))

    assert done.code == 2
    assert missing in done.err


POLICIES = {
    "unknown": ("no-such-policy", None),
    "not JSON": ("p.json", "{"),
    "missing file": ("nowhere/p.json", None),
    "not a policy": ("p.json", '{"rules": []}'),
}


@pytest.mark.parametrize(("name", "text"), POLICIES.values(), ids=POLICIES)
def test_a_policy_that_cannot_be_used(run: Run, tmp_path: Path, table: Path, schema: Path, name: str, text: str | None) -> None:
    policy = tmp_path / name if name.endswith(".json") else Path(name)
    if text is not None:
        policy.write_text(text, encoding="utf-8")
    before = _tree(tmp_path)
    arguments = ("--schema", schema, *PRICE, "--policy", policy, "--out", tmp_path / "b", "--ledger", tmp_path / "l")

    done = run("release", table, *arguments)

    assert done.code == 2
    assert str(name) in done.err
    _nothing_leaked_or_left(done.out + done.err, tmp_path, before)


@pytest.mark.parametrize(
    "option",
    [
        ("--synthesizer", "magic"),
        ("--rows", "0"),
        ("--rows", "-3"),
        ("--rows", "many"),
        ("--seed", "x"),
        ("--nope", "1"),
    ],
    ids=lambda pair: " ".join(pair),
)
def test_an_option_out_of_its_range(run: Run, tmp_path: Path, table: Path, schema: Path, option: tuple[str, str]) -> None:
    done = run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv", *option)

    assert done.code == 2
    assert option[1] in done.err or option[0] in done.err
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize("what", ["v.csv", "link.csv", "hard.csv", "s.json", "l.ledger", "rows.csv"])
def test_what_a_command_reads_is_never_replaced(run: Run, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "v.csv", table_text(300, 0))
    _write(tmp_path / "s.json", _schema_case())
    (tmp_path / "link.csv").symlink_to("v.csv")
    (tmp_path / "hard.csv").hardlink_to("v.csv")
    cap = ("--population", "clinic-patients", "--unit", "person", "--epsilon", "9", "--delta", "1e-5")
    assert run("ledger", "set-cap", "--ledger", "l.ledger", *cap).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # The model would go where the table goes, or onto what is read; a table has to end in .csv.
    arguments = ("--out", "rows.csv", "--model", what) if not what.endswith(".csv") or what == "rows.csv" else ("--out", what)

    done = run("synth", "v.csv", "--schema", "s.json", *PRICE, "--ledger", "./l.ledger", "--force", *arguments)

    assert done.code == 2
    assert f"'{what}' is in use" in done.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "m.csv", "--rows", "3", "--out", "./m.csv"),
        ("mix", "v.csv", "--schema", "s.json", "--synthetic", "r.parquet", "--out", "r.parquet"),
        ("gate", "e.json", "--policy", "base", "--out", "e.json"),
        ("schema", "init", "book.csv", "--out", "book.csv"),
        ("schema", "convert", "meta.json", "--from", "sdv", "--out", "meta.json"),
        ("report", "e.json", "--out", "decision.json"),
    ],
    ids=lambda words: words[0],
)
def test_other_commands_replace_nothing_they_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    target = Path(arguments[-1])
    target.write_text("mine", encoding="utf-8")

    done = run(*arguments, "--force")

    assert done.code == 2
    assert "in use" in done.err
    assert target.read_text(encoding="utf-8") == "mine"


def test_a_negative_seed_is_refused_before_anything_is_spent(run: Run, tmp_path: Path, table: Path, schema: Path) -> None:
    before = _tree(tmp_path)
    for arguments in (
        ("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "r.csv", "--ledger", tmp_path / "l.ledger"),
        ("sample", tmp_path / "m", "--rows", "3", "--out", tmp_path / "r.csv"),
        ("mix", table, "--schema", schema, "--synthetic", table, "--out", tmp_path / "r.parquet"),
        ("audit", "--train", table, "--synthetic", table, "--control", table),
    ):
        done = run(*arguments, "--seed", "-1")
        assert done.code == 2
        assert "--seed" in done.err
        _nothing_leaked_or_left(done.out + done.err, tmp_path, before)


def test_the_model_is_lost_but_not_the_rows_where_only_the_model_cannot_be_written(
    run: Run, tmp_path: Path, table: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("'m.model' cannot be written: No space left on device")

    monkeypatch.setattr("dpsynth.cli.synth.write_bytes", full)
    out = tmp_path / "rows.csv"

    done = run("synth", table, "--schema", schema, *PRICE, "--out", out, "--model", tmp_path / "m.model")

    assert done.code == 2
    assert "No space left" in done.err
    assert out.read_text(encoding="utf-8").startswith("age,sex,visits\n")


def test_documents_nested_without_end_are_refused(run: Run, tmp_path: Path) -> None:
    deep = _write(tmp_path / "deep.json", "[" * 100_000)
    for arguments in (
        ("schema", "init", deep, "--out", tmp_path / "x.json"),
        ("schema", "convert", deep, "--from", "sdv", "--out", tmp_path / "x.json"),
        ("report", deep, "--out", tmp_path / "x.html"),
    ):
        done = run(*arguments)
        assert done.code == 2
        assert "nested too deeply" in done.err


@pytest.mark.parametrize("out", ["", ".", "/dev/null/demo"])
def test_a_demonstration_needs_a_folder_of_its_own(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    monkeypatch.chdir(tmp_path)

    done = run("demo", "--out", out)

    assert done.code == 2
    assert done.err.count("error: ") == 1
    assert _tree(tmp_path) == set()


@pytest.mark.parametrize("name", ["exists.csv", "nowhere/rows.csv", "folder", "rows.txt", "rows"], ids=lambda name: name)
def test_an_output_file_that_cannot_be_written_costs_nothing(run: Run, tmp_path: Path, table: Path, schema: Path, name: str) -> None:
    (tmp_path / "exists.csv").write_text("mine", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    before = _tree(tmp_path)

    done = run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / name, "--ledger", tmp_path / "l.ledger")

    assert done.code == 2
    _nothing_leaked_or_left(done.out + done.err, tmp_path, before)


def test_a_read_only_output_folder_costs_nothing(run: Run, tmp_path: Path, table: Path, schema: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)

    for arguments in (
        ("synth", table, "--out", closed / "rows.csv"),
        ("release", table, "--policy", "demo-health", "--out", closed / "bundle"),
    ):
        done = run(*arguments, "--schema", schema, *PRICE, "--ledger", tmp_path / "l.ledger")
        assert done.code == 2
        assert not (tmp_path / "l.ledger").exists() or _spent(tmp_path / "l.ledger") == 0


def test_an_output_folder_that_exists_costs_nothing(run: Run, tmp_path: Path, table: Path, schema: Path) -> None:
    bundle, ledger = tmp_path / "bundle", tmp_path / "l.ledger"
    bundle.mkdir()
    (bundle / "mine").write_text("mine", encoding="utf-8")
    arguments = (
        "release",
        table,
        "--schema",
        schema,
        *PRICE,
        "--policy",
        "demo-health",
        "--out",
        bundle,
        "--ledger",
        ledger,
    )

    assert run(*arguments).code == 2
    # Not even --force replaces a folder that is no earlier bundle.
    assert run(*arguments, "--force").code == 2
    assert (bundle / "mine").read_text(encoding="utf-8") == "mine"
    assert not ledger.exists() or _spent(ledger) == 0


def test_a_ledger_that_is_none(run: Run, tmp_path: Path, table: Path, schema: Path) -> None:
    ledger = _write(tmp_path / "l.ledger", "not a ledger at all")
    ledger.chmod(0o600)
    before = _tree(tmp_path)

    done = run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv", "--ledger", ledger)

    assert done.code == 4
    assert "l.ledger" in done.err
    _nothing_leaked_or_left(done.out + done.err, tmp_path, before)


def test_a_spent_budget_is_refused_before_the_table_is_opened(run: Run, tmp_path: Path, schema: Path) -> None:
    ledger = tmp_path / "l.ledger"
    cap = ("--population", "clinic-patients", "--unit", "person", "--epsilon", "0.5", "--delta", "1e-5")
    assert run("ledger", "set-cap", "--ledger", ledger, *cap).code == 0

    # The table does not exist: a command that read first would exit with 2.
    done = run("synth", tmp_path / "none.csv", "--schema", schema, *PRICE, "--out", tmp_path / "r.csv", "--ledger", ledger)

    assert done.code == 4
    assert _spent(ledger) == 0


def test_a_table_that_cannot_be_opened_is_not_charged(run: Run, tmp_path: Path, schema: Path) -> None:
    ledger = tmp_path / "l.ledger"

    done = run("synth", tmp_path / "none.csv", "--schema", schema, *PRICE, "--out", tmp_path / "r.csv", "--ledger", ledger)

    assert done.code == 2
    assert _spent(ledger) == 0


def test_a_control_table_that_is_not_there_costs_nothing(run: Run, tmp_path: Path, table: Path, schema: Path) -> None:
    lacking = _write(tmp_path / "c.csv", "age,sex\n1,f\n")
    before = _tree(tmp_path)
    for control in (tmp_path / "none.csv", tmp_path, lacking):
        arguments = ("--policy", "demo-health", "--out", tmp_path / "b", "--ledger", tmp_path / "l.ledger", "--control", control)

        done = run("release", table, "--schema", schema, *PRICE, *arguments)

        assert done.code == 2
        _nothing_leaked_or_left(done.out + done.err, tmp_path, before)


def test_a_synthesis_may_be_interrupted_more_often_than_a_release(
    run: Run, tmp_path: Path, table: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dpsynth.synthesizers.mst.Mst.fit", interrupted)
    arguments = (table, "--schema", schema, *PRICE, "--synthesizer", "mst", "--ledger", tmp_path / "l.ledger")

    assert [run("synth", *arguments, "--out", tmp_path / "r.csv").code for _ in range(4)] == [130] * 4
    codes = [run("release", *arguments, "--policy", "demo-health", "--out", tmp_path / "b").code for _ in range(4)]
    assert codes == [130] * 3 + [4]


def test_a_control_table_that_took_part_in_training_is_refused(run: Run, tmp_path: Path, schema: Path) -> None:
    # 400 rows over 10,302 possible ones, most of them alone in their table.
    trained = _write(tmp_path / "trained.csv", table_text(400, 0))
    fresh = _write(tmp_path / "fresh.csv", table_text(400, 1))
    before = _tree(tmp_path)
    arguments = ("release", trained, "--schema", schema, *PRICE, "--policy", "demo-health", "--tier", "smoke", "--out", tmp_path / "b")

    refused = run(*arguments, "--control", trained)

    assert refused.code == 2
    assert "overlaps" in refused.err
    _nothing_leaked_or_left(refused.out + refused.err, tmp_path, before)
    assert run(*arguments, "--control", fresh).code in (0, 1, 3)


def test_a_run_that_ends_after_reading_stays_charged_and_leaves_nothing(
    run: Run, tmp_path: Path, table: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    ledger = tmp_path / "l.ledger"
    before = _tree(tmp_path)
    monkeypatch.setattr("dpsynth.synthesizers.mst.Mst.fit", interrupted)
    arguments = ("--schema", schema, *PRICE, "--synthesizer", "mst", "--ledger", ledger)

    assert run("synth", table, *arguments, "--out", tmp_path / "r.csv").code == 130
    assert run("release", table, *arguments, "--policy", "demo-health", "--out", tmp_path / "b").code == 130
    assert _spent(ledger) == 2
    assert _tree(tmp_path) - before == {"l.ledger"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sample", "none.model", "--rows", "3", "--out", "r.csv"), 2),
        (("sample", "visits.csv", "--rows", "3", "--out", "r.csv"), 2),
        (("gate", "none.json", "--policy", "base"), 2),
        (("gate", "visits.schema.json", "--policy", "base"), 2),
        (("report", "none.json", "--out", "r.html"), 2),
        (("report", "visits.csv", "--out", "r.html"), 2),
        (("verify", "nowhere"), 5),
        (("sign", "nowhere", "--role", "owner", "--key", "none.key"), 2),
        (("ledger", "show", "--ledger", "none.ledger"), 4),
        (("ledger", "verify", "--ledger", "visits.csv"), 4),
        (("schema", "lint", "visits.csv"), 2),
        (("policy", "show", "visits.csv"), 2),
        (("policy", "explain", "base", "NO-999"), 2),
        (("policy", "test", "visits.csv"), 2),
        (("audit", "--train", "none.csv", "--synthetic", "visits.csv", "--control", "visits.csv"), 2),
        (
            (
                "audit",
                "--train",
                "visits.csv",
                "--synthetic",
                "visits.csv",
                "--control",
                "visits.csv",
                "--epsilon",
                "1",
            ),
            2,
        ),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else "",
)
def test_other_commands_on_what_is_not_theirs(
    run: Run,
    tmp_path: Path,
    table: Path,
    schema: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    table.chmod(0o600)
    before = _tree(tmp_path)

    done = run(*arguments)

    assert done.code == code, done.err
    _nothing_leaked_or_left(done.out + done.err, tmp_path, before)


def _tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _nothing_leaked_or_left(printed: str, folder: Path, before: set[str]) -> None:
    """No cell on either stream, nothing new on disk but perhaps a ledger that charged nothing."""
    assert CANARY not in printed
    assert printed.count("error: ") == 1
    assert "internal error" not in printed
    assert _tree(folder) - before <= {"l.ledger", "l"}
    assert all(_spent(folder / name) == 0 for name in ("l.ledger", "l") if name in _tree(folder) - before)


def _spent(ledger: Path) -> float:
    return float(Ledger.open(ledger, create=False).spent("clinic-patients", "person").epsilon)
