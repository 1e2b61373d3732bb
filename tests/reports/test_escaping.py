"""Hostile evidence shows text, never markup, in HTML, in SVG, in the stylesheet and in addresses."""

from __future__ import annotations

import pytest

from reports import render
from reports.links import safe_url
from tests.reports.examples import AUDIENCES, demo, page, tree


@pytest.mark.parametrize("audience", AUDIENCES)
def test_hostile_evidence_adds_no_element_and_no_attribute(audience: str) -> None:
    text = page("hostile", audience)
    assert "<script" not in text and "<img" not in text and "\x00" not in text and "\u202e" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7*7 }}" in text and "49" not in tree("hostile", audience).text().split("{{")[0][:200]  # data is not a template


def test_release_id_cannot_leave_the_stylesheet() -> None:
    evidence, decision = demo()
    for evil in ('x"; } body { display: none', "</style><b>", "a\\22 b", "url(https://example.org)", "a" * 200, "é"):
        evidence["release"]["id"] = evidence["release"]["sha256"] = evil
        style = render(evidence, decision, audience="public").split("</style>")[0]
        assert evil not in style and "display: none" not in style.split("@page")[1]
    evidence["release"]["id"] = "good-id_1.0"
    assert "release good-id_1.0" in render(evidence, decision, audience="public").split("</style>")[0]


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/",
        "javascript:alert(1)",
        "JavaScript:alert(1)//https://example.org",
        "data:text/html,x",
        "//example.org/x",
        "file:///etc/passwd",
        "https://",
        "https://user:pass@example.org/",
        "https://user@example.org/",
        'https://example.org/"onmouseover="x',
        "https://example.org/<b>",
        "https://example.org/a b",
        "https://example.org/\n",
        "https://[broken",
        "https://example.org/" + "a" * 600,
        " https://example.org/",
        7,
        None,
        ["https://example.org/"],
    ],
)
def test_only_plain_https_addresses_become_links(address: object) -> None:
    assert safe_url(address) is None


def test_a_plain_https_address_is_a_link() -> None:
    address = "https://www.ecfr.gov/current/title-45/section-164.514?x=1&y=2#top"
    assert safe_url(address) == address
    evidence, decision = demo()
    decision["findings"][0]["source"]["url"] = address
    assert 'href="https://www.ecfr.gov/current/title-45/section-164.514?x=1&amp;y=2#top"' in render(evidence, decision, audience="public")
