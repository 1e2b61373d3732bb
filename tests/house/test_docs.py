"""The pages say what the code does: options, commands, links; and they name no place that only we have."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from dpsynth.bundle import PUBLIC
from tests.house import cli_pages
from tests.house.packages import PACKAGES, folder

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OPTIONS = {path: {name for p in command.params for name in p.opts} for path, command in cli_pages.commands()}


def shell_lines(text: str) -> list[str]:
    """The ``$ dpsynth`` lines of a page, continuation lines joined."""
    return re.findall(r"^\$ (dpsynth .*)$", text.replace("\\\n", " "), re.MULTILINE)


def test_the_option_tables_are_those_of_the_parser() -> None:
    assert cli_pages.PAGE.read_text(encoding="utf-8").split(cli_pages.MARK)[1].strip() == cli_pages.tables().strip(), (
        "run: python -m tests.house.cli_pages"
    )


def named_lines(text: str) -> list[str]:
    """Every command line of a page, also those that cannot run as they stand, because they leave something out."""
    return re.findall(r"^(?:\$ )?(dpsynth .*)$", text.replace("\\\n", " "), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    for line in named_lines(page.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)[1:]
        path = next((p for p in (" ".join(words[:2]), words[0]) if p in OPTIONS), None)
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        if path is None:
            assert used <= {"--help", "--version"}, f"{line!r} names no command"
        else:
            assert used - OPTIONS[path] - {"--help"} == set(), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_on_a_page_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    dead = [t for t in targets if "://" not in t and not t.startswith("mailto:") and not (page.parent / t).exists()]

    assert dead == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_page_that_the_code_points_to_exists(package: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in folder(package).rglob("*.py")]
    named = {page for text in sources for page in re.findall(r"\bdocs/[\w/-]+\.md\b", text)}

    assert {page for page in named if not (ROOT / page).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_place_outside_the_project(page: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:work|root|home|tmp)/\S+|\.\./shared\S*", page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p.parent.name == "docs" and p.name not in ("README.md", "cli.md")],
    ids=lambda p: p.name,
)
def test_a_page_that_makes_claims_names_its_limits(page: Path) -> None:
    text = page.read_text(encoding="utf-8").lower()

    assert "limits" in text or "not defended" in text


def test_the_plan_of_the_house_shows_every_room_and_no_other() -> None:
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Inside dpsynth")[1].split("##")[0]
    shown = {name for row in re.findall(r"^\| (.*?) \|", plan, re.MULTILINE) for name in re.findall(r"`([\w./]+)`", row)}
    rooms = {
        path.name + "/" * path.is_dir()
        for path in folder("dpsynth").iterdir()
        if (path.suffix == ".py" and not path.stem.startswith("__")) or (path.is_dir() and path.name != "__pycache__")
    }

    assert shown == rooms, "docs/architecture.md has a table of the files and folders in dpsynth/"


def test_the_page_on_certificates_names_every_field_of_one() -> None:
    page = (ROOT / "docs" / "certificate.md").read_text(encoding="utf-8").split("## What it says")[1].split("The shape is closed")[0]
    shown = {name for row in re.findall(r"^\| (.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    shape = json.loads((folder("dpsynth") / "schemas" / "certificate-1.json").read_text(encoding="utf-8"))

    assert shown == set(shape["properties"]["predicate"]["properties"])


def test_the_page_on_documents_names_every_public_file() -> None:
    page = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8").split("## public/")[1].split("## What")[0]
    shown = {name for row in re.findall(r"^\| (.*?) \|", page, re.MULTILINE) for name in re.findall(r"`([\w.]+)`", row)}

    assert shown == set(PUBLIC)
