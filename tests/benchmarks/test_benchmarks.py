"""The benchmark's own arithmetic: errors against brute force, floors against what they promise, figures refused when they must be."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from benchmarks import floors
from benchmarks.charts import Panel, Series, draw
from benchmarks.page import PARTS, write_page
from benchmarks.records import Records, standard_error
from benchmarks.scoring import cliques, marginal_error
from benchmarks.tables import Benchmark, coded, from_files, latent_classes, wide_sizes, write_inputs
from benchmarks.trial import DELTA, RefusedFigure, recompose
from benchmarks.usage import measure
from dpsynth.marginals import CodedTable, Domain
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.noise import SeededNoise
from dpsynth.synthesizers import Independent


def _table(rows: int = 300) -> CodedTable:
    return latent_classes(rows, (2, 3, 20, 5), classes=3, seed=1)


def test_error_equals_brute_force_over_all_cells() -> None:
    real, other = _table(), latent_classes(200, (2, 3, 20, 5), classes=3, seed=2)
    for order in (2, 3):
        distances = []
        for clique in combinations(real.domain.names, order):
            shares = []
            for table in (real, other):
                rows = list(zip(*(table.columns[name].tolist() for name in clique), strict=True))
                shares.append({row: rows.count(row) / len(rows) for row in set(rows)})
            distances.append(sum(abs(shares[0].get(row, 0.0) - shares[1].get(row, 0.0)) for row in {*shares[0], *shares[1]}))
        assert marginal_error(real, other, order) == pytest.approx(np.mean(distances))


def test_large_tables_are_scored_like_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    real, other = _table(), latent_classes(200, (2, 3, 20, 5), classes=3, seed=2)
    expected = marginal_error(real, other, 3)
    monkeypatch.setattr("benchmarks.scoring._DENSE_CELLS", 1)
    assert marginal_error(real, other, 3) == pytest.approx(expected)


def test_a_table_has_no_error_against_itself_and_at_most_two() -> None:
    zeros = CodedTable(Domain.of({"a": 2, "b": 2}), {name: np.zeros(9, dtype=np.uint8) for name in "ab"})
    ones = CodedTable(zeros.domain, {name: np.ones(4, dtype=np.uint8) for name in "ab"})
    assert marginal_error(zeros, zeros, 2) == 0.0
    assert marginal_error(zeros, ones, 2) == 2.0


def test_wide_tables_are_scored_on_one_sample_of_cliques() -> None:
    domain = Domain.of({f"c{i}": 2 for i in range(20)})
    chosen = cliques(domain, 3)
    assert len(chosen) == 400 == len(set(chosen))
    assert chosen == cliques(domain, 3)


def test_floors_keep_what_they_promise() -> None:
    real = _table(5000)
    for name, codes in floors.shuffled(real, 0).columns.items():
        assert np.array_equal(np.bincount(codes), np.bincount(real.columns[name]))
    tree = floors.exact_tree(real, 0)
    edges = floors.spanning_tree(real)
    assert len(edges) == len(real.domain) - 1
    on_tree = [marginal_error(_only(real, edge), _only(tree, edge), 2) for edge in edges]
    assert max(on_tree) < 0.05
    errors = [marginal_error(real, rows, 2) for rows in (floors.resampled(real, 0), tree, floors.shuffled(real, 0))]
    assert max(errors[:2]) < errors[2]


def _only(table: CodedTable, names: tuple[str, str]) -> CodedTable:
    return CodedTable(Domain(tuple(table.domain[name] for name in names)), {name: table.columns[name] for name in names})


def test_inputs_of_the_command_have_the_coded_domain(tmp_path: Path) -> None:
    from dpsynth.schema import Schema

    table = Benchmark("wide", latent_classes(40, (2, 200, 1, 9), seed=3))
    csv, schema = write_inputs(table, tmp_path)
    private = PrivateData.read(str(csv), Schema.read(schema), PrivacyBudget(1.0, DELTA))
    assert [(a.name, a.size, a.ordered) for a in private.domain] == [(a.name, a.size, a.ordered) for a in table.table.domain]


def test_coded_files_are_read_with_their_domain(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n0,1\n1,3\n", encoding="utf-8")
    domain = {"a": {"size": 2, "ordered": False}, "b": {"size": 4, "ordered": True}}
    (tmp_path / "t-domain.json").write_text(json.dumps(domain), encoding="utf-8")
    table = from_files("t", tmp_path / "t.csv").table
    assert table.columns["b"].tolist() == [1, 3]
    assert table.domain["b"].ordered
    import pandas as pd

    with pytest.raises(ValueError, match="outside 0"):
        coded(pd.DataFrame({"a": [2], "b": [0]}), table.domain)


def test_generated_tables_fill_their_domain() -> None:
    table = latent_classes(4000, wide_sizes(14), seed=4)
    for attribute in table.domain:
        assert table.columns[attribute.name].max() < attribute.size
        assert len(np.unique(table.columns[attribute.name])) > attribute.size // 2
    assert marginal_error(table, floors.shuffled(table, 0), 2) > 2 * marginal_error(table, floors.resampled(table, 0), 2)


def test_a_figure_is_refused_when_its_transcript_costs_more_than_asked() -> None:
    private = PrivateData.of_codes(_table(), PrivacyBudget(1.0, DELTA), unit=PrivacyUnit("record", 1))
    model = Independent().fit(private)
    assert recompose(model, 1.0, DELTA) <= 1.0 + 1e-6
    with pytest.raises(RefusedFigure, match="VIOLATION"):
        recompose(model, 0.9, DELTA)


def test_a_figure_from_seeded_noise_is_refused() -> None:
    private = PrivateData.of_codes(_table(), PrivacyBudget(1.0, DELTA), unit=PrivacyUnit("record", 1), hook=SeededNoise(1))
    with pytest.raises(RefusedFigure, match="seeded"):
        recompose(Independent().fit(private), 1.0, DELTA)


def test_usage_is_that_of_the_command() -> None:
    used = measure([sys.executable, "-c", "b = bytearray(60_000_000); print(len(b))"])
    assert used.code == 0
    assert used.stdout.strip() == "60000000"
    assert 60.0 < used.peak_mb < 160.0
    assert used.cpu <= used.wall + 0.1


def test_a_command_past_its_limit_is_ended() -> None:
    used = measure([sys.executable, "-c", "import time; time.sleep(30)"], limit=1.0)
    assert used.code == -9
    assert used.wall < 25.0  # of the 30 it would have slept


def test_figures_are_measured_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    records = Records(path, "one")
    for _ in range(2):
        records.once({"section": "error", "repeat": 0}, lambda: {"e3": 0.5})
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1
    assert Records(path, "one").rows == records.rows
    assert Records(path, "other sources").rows == []
    assert standard_error([{"e": 1.0}, {"e": 3.0}], "e") == pytest.approx(1.0)
    assert standard_error([{"e": 1.0}], "e") is None


def test_a_page_gets_its_figures_between_the_markers(tmp_path: Path) -> None:
    records = Records(tmp_path / "runs.jsonl", "one")
    for variant, e3 in (("adaptive", 0.12), ("aim", 0.10)):
        key = {"section": "error", "data": "adult_pgm", "rows": 9, "columns": 3, "variant": variant, "epsilon": 1.0, "repeat": 0}
        figures = {"e2": 0.1, "e3": e3, "cpu": 3.0, "wall": 9.0, "peak_mb": 100.0}
        records.once(key, lambda figures=figures: figures)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures: goals -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    write_page(records, tmp_path, page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- figures: goals -->\n|")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    assert "e3 at most 0.150 | 0.120 | met" in text
    assert "0.1200 against 0.1000 of `aim` (+20 %) | **not met**" in text
    assert "met in CPU seconds only" in text
    assert (tmp_path / "figures" / "errors.svg").exists()


def test_every_marker_of_the_page_is_known() -> None:
    import re

    page = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
    assert set(re.findall(r"<!-- figures: (\w+) -->", page.read_text(encoding="utf-8"))) == {*PARTS, "peers"}


@pytest.mark.parametrize("log", [True, False])
def test_charts_are_well_formed(log: bool) -> None:
    panels = [
        Panel(
            "a < b", "x", "y", [Series("s & t", [(0.1, 0.5, 0.01), (10.0, 0.1, 0.2)]), Series("floor", [(0.1, 0.2, 0.0)], True)], log, log
        ),
        Panel("one point", "x", "y", [Series("s & t", [(3.0, 3.0, 0.0)])], log, log),
        Panel("none", "x", "y"),
    ]
    root = ElementTree.fromstring(draw(panels))
    assert root.tag.endswith("svg")
