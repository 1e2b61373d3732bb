"""Open a report in headless Chromium: what it asks of the network, what axe-core finds, and whether its print-out is whole.

Run by hand: ``python scripts/page_check.py REPORT.html ...``. Needs chromium, pdftotext (poppler) and, for axe-core, npm or ``--axe FILE``.
Nothing of it is part of the product.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

AXE_VERSION = "4.14.1"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # which is small in a container
    "--no-sandbox",  # in a container there is no user namespace for it; the pages are our own
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)
_SECONDS = 180
_INSIDE = ("file", "data", "blob", "chrome", "chrome-extension", "devtools", "about")
_TOLERANCE = 2.0  # points
_SHORT = 10  # characters


@dataclass(frozen=True)
class Finding:
    """One broken accessibility rule; ``impact`` is axe-core's word for how bad."""

    rule: str
    impact: str
    help: str
    nodes: int
    example: str


@dataclass(frozen=True)
class Print:
    """A page as PDF: its number of pages, words of its tables that are missing, and words that lie beyond the paper."""

    pages: int
    missing: tuple[str, ...]
    outside: tuple[str, ...]


def browser() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def fetch_axe(folder: Path) -> Path | None:
    """axe.min.js of the pinned version through npm into ``folder``, or None where that cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    command = [npm, "pack", f"axe-core@{AXE_VERSION}", "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    archive = folder / f"axe-core-{AXE_VERSION}.tgz"
    if done.returncode != 0 or not archive.is_file():
        return None
    with tarfile.open(archive) as packed:
        member = packed.extractfile("package/axe.min.js")
        assert member is not None
        (folder / "axe.min.js").write_bytes(member.read())
    return folder / "axe.min.js"


def requests(page: Path) -> list[str]:
    """Every address outside the machine's files that ``page`` asks for when it is opened, from Chromium's own network log.

    The browser has business of its own (updates, the time); such requests have no page as their origin.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "net.json"
        _run(folder, f"--log-net-log={log}", "--net-log-capture-mode=Everything", "--dump-dom", page.resolve().as_uri())
        events = _events(log.read_text(encoding="utf-8", errors="replace"))
    asked = [params for event in events if isinstance(params := event.get("params"), dict) and "initiator" in params]
    found = {str(params.get("url")) for params in asked if params["initiator"] != "not an origin"}
    return sorted(url for url in found if urlsplit(url).scheme not in _INSIDE)


def accessibility(page: Path, axe: Path) -> list[Finding]:
    """What axe-core finds on ``page``, on a copy without the policy that forbids scripts."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text, count=1)
    script = axe.read_text(encoding="utf-8").replace("</script", "<\\/script")
    runner = (
        "axe.run(document, {resultTypes: ['violations']}).then(r => { const out = document.createElement('pre'); out.id = 'axe-findings';"
        "out.textContent = JSON.stringify(r.violations.map(v => ({rule: v.id, impact: v.impact, help: v.help, nodes: v.nodes.length,"
        "example: v.nodes[0].html.slice(0, 200)}))); document.body.appendChild(out); });"
    )
    text = text.replace("</body>", f"<script>{script}</script><script>{runner}</script></body>")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        copy.write_text(text, encoding="utf-8")
        dom = _run(folder, "--virtual-time-budget=60000", "--window-size=1280,1000", "--dump-dom", copy.as_uri())
    found = re.search(r'<pre id="axe-findings">(.*?)</pre>', dom, re.DOTALL)
    if found is None:
        raise RuntimeError("axe-core gave no result")
    return [Finding(**entry) for entry in json.loads(html.unescape(found[1]))]


def printed(page: Path, pdf: Path) -> Print:
    """Print ``page`` to ``pdf`` and read it back: every word of every table must be there, on the paper."""
    with tempfile.TemporaryDirectory() as folder:
        _run(folder, "--no-pdf-header-footer", f"--print-to-pdf={pdf.resolve()}", page.resolve().as_uri())
    pages, words, outside = _pdf_words(pdf)
    cells = _Cells()
    cells.feed(page.read_text(encoding="utf-8"))
    text = "".join(words)
    # Long words may be broken over lines and pages; short ones stand as often in the print as in the tables.
    wanted = Counter(word for cell in cells.texts for word in cell.split() if len(word) <= _SHORT)
    missing = sorted(word for word, times in wanted.items() if text.count(word) < times)
    return Print(pages, tuple(missing), tuple(outside))


class _Cells(HTMLParser):
    """Text of each table cell."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("td", "th"):
            self._open = True
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[-1] += f" {data}"


def _pdf_words(pdf: Path) -> tuple[int, list[str], list[str]]:
    done = subprocess.run(["pdftotext", "-bbox", str(pdf), "-"], capture_output=True, text=True, check=True, timeout=_SECONDS)
    words, outside, pages, width, height = [], [], 0, 0.0, 0.0
    for line in done.stdout.splitlines():
        if page := re.search(r'<page width="([\d.]+)" height="([\d.]+)"', line):
            pages, width, height = pages + 1, float(page[1]), float(page[2])
        elif word := re.search(r'<word xMin="(-?[\d.]+)" yMin="(-?[\d.]+)" xMax="(-?[\d.]+)" yMax="(-?[\d.]+)">(.*)</word>', line):
            left, top, right, bottom = (float(word[i]) for i in range(1, 5))
            text = html.unescape(word[5])
            words.append(text)
            if left < 0 or top < 0 or right > width + _TOLERANCE or bottom > height + _TOLERANCE:
                outside.append(text)
    return pages, words, outside


def _events(text: str) -> list[dict[str, object]]:
    """The events of a network log; Chromium may leave the closing brackets out."""
    for ending in ("", "]}", "{}]}"):
        try:
            return list(json.loads(text.rstrip().rstrip(",") + ending)["events"])
        except json.JSONDecodeError:
            continue
    raise RuntimeError("the network log cannot be read")


def _run(folder: str, *arguments: str) -> str:
    program = browser()
    if program is None:
        raise RuntimeError("no chromium on this machine")
    command = [program, *_FLAGS, f"--user-data-dir={folder}/profile", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=_SECONDS, check=True).stdout


def main() -> int:
    """Print what was found; 0 if no page asks for anything, has a serious finding or loses a word in print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--axe", type=Path, help="axe.min.js; default: fetched with npm")
    options = parser.parse_args()
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        axe = options.axe or fetch_axe(Path(folder))
        for page in options.pages:
            asked = requests(page)
            findings = accessibility(page, axe) if axe else []
            paper = printed(page, Path(folder) / "page.pdf")
            serious = [f for f in findings if f.impact in ("serious", "critical")]
            print(f"{page}: {page.stat().st_size:,} bytes, {len(asked)} requests, {paper.pages} printed pages")
            print(f"  axe-core: {len(serious)} serious of {len(findings)} findings" if axe else "  axe-core: not available")
            for finding in findings:
                print(f"    {finding.impact}: {finding.rule} ({finding.nodes}): {finding.help}\n      {finding.example}")
            for what, texts in (("asked for", asked), ("missing in print", paper.missing), ("beyond the paper", paper.outside)):
                for text in texts:
                    print(f"  {what}: {text}")
            bad = bad or bool(asked or serious or paper.missing or paper.outside)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
