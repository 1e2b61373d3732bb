"""docs/policies.md does what it says; nothing in it is only text."""

from __future__ import annotations

import re
from pathlib import Path

import policies

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "policies.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def test_the_python_of_the_page_runs() -> None:
    (code,) = blocks("python")
    exec(compile(code, "docs/policies.md", "exec"), {})


def test_the_documents_of_the_page_load(tmp_path: Path) -> None:
    policy, waivers, case = blocks("json")
    parent = policies.load("healthcare-public")
    policy = policy.replace("sha256:<digest that policy show prints>", parent.digest)
    (tmp_path / "cardiology.json").write_text(policy)
    assert policies.load(tmp_path / "cardiology.json").rule("DP-001").value == 2.0
    (tmp_path / "waivers.json").write_text(waivers.replace("<sha256 of synthetic.parquet>", "a" * 64))
    assert policies.load_waivers(tmp_path / "waivers.json")[0].max_value == 0.06
    good = Path(__file__).parent / "cases" / "evidence-good.json"
    (tmp_path / "evidence-good.json").write_text(good.read_text())
    (tmp_path / "cases.json").write_text(case)
    assert all(result.passed for result in policies.run_cases(tmp_path / "cases.json"))


def test_the_table_of_policies_is_the_truth() -> None:
    rows = {m[1]: [cell.strip() for cell in m[2].split("|")] for m in re.finditer(r"^\| `([a-z-]+)` \|(.*)\|$", PAGE, re.M)}
    rows = {name: cells for name, cells in rows.items() if len(cells) == 5}
    assert set(rows) == {name for name in policies.names() if not name.startswith("demo-")}
    for name, (_, epsilon, risk, attacks, signers) in rows.items():
        policy = policies.load(name)
        rule = policy.rule("DP-001")
        assert epsilon == f"{rule.warn:g}, {rule.value:g}"
        if name != "base":
            assert (risk, attacks) == (f"{policy.rule('AUD-101').value:g}", f"{policy.rule('AUD-101').min_attacks}")
            assert signers.split(",")[0] == str(policy.rule("GOV-401").value)


def test_the_page_names_every_operator_and_format() -> None:
    for op in policies.OPERATORS:
        assert f"`{op}`" in PAGE
    for output in policies.RENDERERS:
        assert f"`{output}`" in PAGE
