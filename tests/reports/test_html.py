"""The page as a document: well-formed, closed to the network, accessible, readable without its stylesheet."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.reports.examples import AUDIENCES, CASES, Element, page, tree

EVERY = pytest.mark.parametrize(("case", "audience"), [(c, a) for c in CASES for a in AUDIENCES])
FORBIDDEN = ("anonymous", "compliant", "guaranteed safe")


@EVERY
def test_every_tag_is_closed_in_order(case: str, audience: str) -> None:
    assert page(case, audience).startswith("<!doctype html>")
    assert [child.tag for child in tree(case, audience).children] == ["html"]


@EVERY
def test_content_security_policy_forbids_everything_but_inline_style(case: str, audience: str) -> None:
    metas = [m.attributes for m in tree(case, audience).every("meta")]
    policy = next(m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


@EVERY
def test_nothing_is_loaded_and_nothing_runs(case: str, audience: str) -> None:
    root = tree(case, audience)
    for tag in (
        "script",
        "link",
        "iframe",
        "img",
        "image",
        "object",
        "embed",
        "form",
        "use",
        "base",
        "foreignobject",
        "video",
    ):
        assert not list(root.every(tag)), tag
    style = "".join(s.text() for s in root.every("style"))
    assert not re.search(r"url\(|@import|expression\(|</", style)
    for element in _everything(root):
        for name, value in element.attributes.items():
            assert not name.startswith("on"), (element.tag, name)
            assert name not in ("src", "srcset", "action", "xlink:href", "background", "poster", "data", "ping"), (
                element.tag,
                name,
            )
            if name == "href":
                assert element.tag == "a" and re.match(r"https://[\w.-]+/|#[a-z]+$", value or ""), value
            if name == "style":
                assert ":" in (value or "") and "(" not in (value or "")


@EVERY
def test_accessible_structure(case: str, audience: str) -> None:
    root = tree(case, audience)
    assert next(root.every("html")).attributes["lang"] == "en"
    assert len(list(root.every("h1"))) == 1 and len(list(root.every("main"))) == 1
    levels = [int(e.tag[1]) for e in _everything(root) if re.fullmatch(r"h[1-6]", e.tag)]
    assert all(b <= a + 1 for a, b in pairwise(levels)), levels
    assert next(root.every("title")).text()
    ids = Counter(e.attributes["id"] for e in _everything(root) if "id" in e.attributes)
    assert max(ids.values()) == 1
    anchors = {(a.attributes.get("href") or "")[1:] for a in root.every("a") if (a.attributes.get("href") or "").startswith("#")}
    assert anchors <= set(ids)
    for table in root.every("table"):
        assert table.children[0].tag == "caption" and table.children[0].text()
        assert all(th.attributes.get("scope") in ("col", "row") for th in table.every("th"))
        columns = len(list(next(table.every("thead")).every("th")))
        assert all(len(tr.children) == columns for tr in next(table.every("tbody")).every("tr"))
    for details in root.every("details"):
        assert details.children[0].tag == "summary" and details.children[0].text()


@EVERY
def test_every_figure_has_title_description_and_a_table_of_its_numbers(case: str, audience: str) -> None:
    root = tree(case, audience)
    for svg in root.every("svg"):
        if svg.attributes.get("aria-hidden") == "true":
            continue
        title, desc = svg.children[0], svg.children[1]
        assert (title.tag, desc.tag) == ("title", "desc") and title.text() and desc.text()
        assert svg.attributes["role"] == "img"
        assert svg.attributes["aria-labelledby"] == f"{title.attributes['id']} {desc.attributes['id']}"
    for figure in root.every("figure"):
        assert len(list(figure.every("svg"))) == 1 and list(figure.every("figcaption"))
        (table,) = figure.every("table")
        assert list(next(table.every("tbody")).every("tr"))


def test_readable_without_stylesheet() -> None:
    root = tree("demo", "reviewer")
    words = next(root.every("main")).text()
    # colour is never alone: each verdict is a word beside its sign
    for word in ("Permitted", "Passed", "Warning", "Waived", "Not falsified", "Inconclusive", "Law", "House rule"):
        assert word in words
    # the drawings carry their own colours and sizes
    for svg in root.every("svg"):
        assert "width" in svg.attributes and "height" in svg.attributes and "class" not in svg.attributes


@EVERY
def test_our_own_words_promise_nothing(case: str, audience: str) -> None:
    text = page(case, audience).lower()
    for word in FORBIDDEN:
        assert word not in text


def test_twelve_sections_for_the_reviewer_and_eight_for_the_public() -> None:
    headings = {a: [next(h.every("span")).text() for h in tree("demo", a).every("h2")] for a in AUDIENCES}
    assert headings["reviewer"] == [str(i) for i in range(1, 13)]
    assert headings["public"] == [str(i) for i in range(1, 9)]


def test_size_budget() -> None:
    assert len(page("demo", "reviewer").encode()) < 500_000
    assert len(page("demo", "public").encode()) < 100_000


def test_print_repeats_table_heads_opens_details_and_numbers_pages() -> None:
    style = "".join(s.text() for s in tree("demo", "reviewer").every("style"))
    for part in ("table-header-group", "details::details-content", "counter(page)", "break-inside: avoid", "release "):
        assert part in style


def _everything(root: Element) -> Iterator[Element]:
    for child in root.children:
        yield child
        yield from _everything(child)
