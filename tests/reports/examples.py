"""Evidence, decisions and pages that several tests look at."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from reports import render

HERE = Path(__file__).parent
AUDIENCES = ("reviewer", "public")
VOID = {"meta", "br", "col", "hr", "img", "input", "link"}


def load(name: str) -> dict[str, Any]:
    """A JSON fixture, read anew so that a test may change it."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def demo() -> tuple[dict[str, Any], dict[str, Any]]:
    """Rich evidence after the contract, with a decision that permits."""
    return load("evidence_demo.json"), load("decision_demo.json")


def denied() -> tuple[dict[str, Any], dict[str, Any]]:
    """The same evidence, refused: one rule failed, one is indeterminate."""
    evidence, decision = demo()
    decision.update(permitted=False, verdict="denied", exit_code=1)
    for finding in decision["findings"]:
        if finding["rule"] == "AUD-101":
            finding.update(status="fail", value=0.62, message="the audit found a violation of the claim", hint="Do not retry.")
        if finding["rule"] == "AUD-104":
            finding.update(status="indeterminate", value=None, message="fewer attacks than asked for")
    return evidence, decision


def hostile() -> tuple[dict[str, Any], dict[str, Any]]:
    """The demo with markup in every string, keys included where keys are names of things."""
    evil = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7*7 }}{% raw %}\u202e\x00"
    evidence, decision = demo()
    keep = {"status", "verdict", "op", "rows_source", "kind", "provenance", "adjacency"}

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(v, key) for v in value]
        return f"{value}{evil}" if isinstance(value, str) and key not in keep else value

    evidence, decision = poison(evidence), poison(decision)
    for finding in decision["findings"]:
        finding["source"]["url"] = "javascript:alert(1)//https://example.org"
    for where, path in ((evidence, "fidelity.columns"), (evidence, "audits.results"), (evidence, "seconds")):
        parts = path.split(".")
        for part in parts[:-1]:
            where = where[part]
        where[parts[-1]] = {k + evil: v for k, v in where[parts[-1]].items()}
    evidence["environment"]["libraries"][evil] = evil
    return evidence, decision


@cache
def page(case: str, audience: str) -> str:
    """The page of a named case."""
    cases: dict[str, Callable[[], tuple[dict[str, Any], dict[str, Any]]]] = {
        "demo": demo,
        "denied": denied,
        "hostile": hostile,
        "minimal": lambda: (load("evidence_minimal.json"), {}),
        "empty": lambda: ({}, {}),
    }
    return render(*cases[case](), audience=audience)


CASES = ("demo", "denied", "hostile", "minimal", "empty")


class Element:
    """One element of a parsed page."""

    def __init__(self, tag: str, attributes: dict[str, str | None], parent: Element | None) -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children: list[Element] = []
        self.words: list[str] = []

    def every(self, tag: str) -> Iterator[Element]:
        """All descendants of a kind, in order."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.every(tag)

    def text(self) -> str:
        """The words of an element and of what it holds."""
        return " ".join([*self.words, *(child.text() for child in self.children)])


class Tree(HTMLParser):
    """Strict parser: every tag must be closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {}, None)
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"attribute given twice on {tag} at {self.getpos()}"
        element = Element(tag, dict(attrs), self._open[-1])
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, dict(attrs), self._open[-1]))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}> at {self.getpos()}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self._open[-1].words.append(data.strip())

    def done(self) -> Element:
        """The tree; nothing may be left open."""
        self.close()
        assert self._open == [self.root]
        return self.root


@cache
def tree(case: str, audience: str) -> Element:
    """The parsed page of a named case."""
    parser = Tree()
    parser.feed(page(case, audience))
    return parser.done()


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path of a JSON document; of a list the first and the last entry stand for all."""
    if isinstance(value, dict):
        for key in value:
            yield (*prefix, key)
            yield from paths(value[key], (*prefix, key))
    elif isinstance(value, list):
        for i in sorted({0, len(value) - 1} if value else set()):
            yield (*prefix, i)
            yield from paths(value[i], (*prefix, i))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of the document with another value at the path."""
    out = copy.deepcopy(document)
    where = out
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = value
    return out
