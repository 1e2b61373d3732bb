"""The reports in a real browser: no request, nothing serious for axe-core, whole in print. Each check is shown to see a bad page first.

Skipped where there is no Chromium, no pdftotext, or no axe-core (``AXE_CORE=FILE``, or npm and a network).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.reports.examples import AUDIENCES, page

ROOT = Path(__file__).parents[2]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("page_check", ROOT / "scripts" / "page_check.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


page_check = _load()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(page_check.browser() is None, reason="no chromium on this machine"),
]
EVERY = pytest.mark.parametrize(("case", "audience"), [("demo", a) for a in AUDIENCES] + [("hostile", "reviewer")])


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("AXE_CORE")
    found = Path(given) if given else page_check.fetch_axe(tmp_path_factory.mktemp("axe"))
    if found is None:
        pytest.skip("axe-core cannot be had: neither AXE_CORE=FILE nor npm with a network")
    return found


def _written(folder: Path, text: str) -> Path:
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    return path


@EVERY
def test_opening_a_report_asks_nothing_of_the_network(case: str, audience: str, tmp_path: Path) -> None:
    assert page_check.requests(_written(tmp_path, page(case, audience))) == []


def test_a_page_that_asks_is_seen(tmp_path: Path) -> None:
    body = '<img src="http://127.0.0.1:9/a.png"><style>body{background:url(http://example.invalid/b.png)}</style>'
    asked = page_check.requests(_written(tmp_path, f"<!doctype html><html><body>{body}</body></html>"))
    assert asked == ["http://127.0.0.1:9/a.png", "http://example.invalid/b.png"]


def test_the_policy_of_the_page_stops_what_an_injection_would_ask(tmp_path: Path) -> None:
    body = '<img src="http://127.0.0.1:9/a.png"><script>fetch("http://127.0.0.1:9/b")</script></body>'
    assert page_check.requests(_written(tmp_path, page("demo", "public").replace("</body>", body))) == []


def _serious(findings: list[object]) -> list[object]:
    return [finding for finding in findings if finding.impact in ("serious", "critical")]  # type: ignore[attr-defined]


@EVERY
def test_axe_core_finds_nothing_serious(case: str, audience: str, axe: Path, tmp_path: Path) -> None:
    assert _serious(page_check.accessibility(_written(tmp_path, page(case, audience)), axe)) == []


def test_axe_core_finds_nothing_serious_with_the_stylesheet_stripped(axe: Path, tmp_path: Path) -> None:
    bare = re.sub(r"<style>.*?</style>", "", page("demo", "reviewer"), flags=re.DOTALL)
    assert _serious(page_check.accessibility(_written(tmp_path, bare), axe)) == []


def test_axe_core_sees_a_bad_page(axe: Path, tmp_path: Path) -> None:
    bad = '<!doctype html><html><head><title>x</title></head><body><img src="data:,"><p style="color:#ddd">faint</p></body></html>'
    rules = {finding.rule for finding in _serious(page_check.accessibility(_written(tmp_path, bad), axe))}  # type: ignore[attr-defined]
    assert {"image-alt", "html-has-lang", "color-contrast"} <= rules


needs_pdftotext = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext (poppler) on this machine")


@needs_pdftotext
@pytest.mark.parametrize("audience", AUDIENCES)
def test_every_word_of_every_table_is_in_print_and_on_the_paper(audience: str, tmp_path: Path) -> None:
    paper = page_check.printed(_written(tmp_path, page("demo", audience)), tmp_path / "page.pdf")
    assert (paper.missing, paper.outside) == ((), ())
    assert paper.pages > 3


@needs_pdftotext
@pytest.mark.parametrize(
    "spoiled",
    [
        ".scroll { overflow: hidden; height: 30px; }",
        "details > div { display: none !important; }",
        "table { margin-left: 700px; width: 900px; }",
    ],
    ids=["cut", "closed", "beyond the edge"],
)
def test_a_print_that_loses_something_is_seen(spoiled: str, tmp_path: Path) -> None:
    text = page("demo", "reviewer").replace("</style>", f"@media print {{ {spoiled} }}</style>")
    paper = page_check.printed(_written(tmp_path, text), tmp_path / "page.pdf")
    assert paper.missing or paper.outside
