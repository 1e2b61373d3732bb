"""What is shipped: every source file, every data file, nothing else, under one version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

import dpsynth
from tests.house.packages import PACKAGES, folder

ROOT = Path(__file__).parents[2]
WHEEL = os.environ.get("DPSYNTH_WHEEL")
DATA_LIMIT = 1_500_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(WHEEL or _built(tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


def _built(target: Path) -> Path:
    if find_spec("hatchling") is None or not (ROOT / "dpsynth").is_dir():
        pytest.skip("neither DPSYNTH_WHEEL nor a checkout with hatchling to build one from")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(target.glob("*.whl"))


def test_the_installed_wheel_is_what_is_tested() -> None:
    if WHEEL is None:
        pytest.skip("the checkout is under test; make test sets DPSYNTH_WHEEL")

    assert all("site-packages" in folder(package).parts for package in PACKAGES)
    assert not (ROOT / "dpsynth").exists()


def test_every_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    shipped = set(wheel.namelist())
    wanted = {
        f"{package}/{path.relative_to(folder(package)).as_posix()}"
        for package in PACKAGES
        for path in folder(package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert wanted - shipped == set()


def test_nothing_else_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    others = {name.split("/")[0] for name in wheel.namelist()} - set(PACKAGES)

    assert len(others) == 1
    assert others.pop().endswith(".dist-info")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(wheel: zipfile.ZipFile, package: str) -> None:
    assert f"{package}/py.typed" in wheel.namelist()


def test_the_licence_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())


def test_the_bundled_data_stay_small(wheel: zipfile.ZipFile) -> None:
    size = sum(item.file_size for item in wheel.infolist() if item.filename.startswith("dpsynth/datasets/"))

    assert 0 < size < DATA_LIMIT


def test_there_is_one_version(wheel: zipfile.ZipFile) -> None:
    about = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    newest = re.search(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert f"\nVersion: {dpsynth.__version__}\n" in about
    assert newest is not None and newest[1] == dpsynth.__version__


def test_the_installed_distribution_has_the_same_version() -> None:
    if WHEEL is None:
        pytest.skip("the checkout is under test; nothing needs to be installed")

    assert metadata("dpsynth-release")["Version"] == dpsynth.__version__
