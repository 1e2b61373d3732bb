"""The arrows between the rooms. A wrong one fails here, wherever in a module it stands."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.house.packages import PACKAGES, imports, modules

LEAVES = ("audits", "policies", "reports")
# (rooms, what they must never import)
FORBIDDEN = [
    ("audits", ("dpsynth", "policies", "reports", "opendp", "typer")),
    ("policies", ("dpsynth", "audits", "reports", "opendp", "typer", "pandas", "numpy")),
    ("reports", ("dpsynth", "audits", "policies", "opendp", "typer", "pandas", "numpy")),
    ("dpsynth.pgm", ("dpsynth.privacy", "dpsynth.sources", "dpsynth.encode", "dpsynth.schema", "pandas")),
    ("dpsynth.privacy", ("dpsynth.pgm", "dpsynth.synthesizers", "dpsynth.model", *LEAVES)),
    ("dpsynth.sources", ("dpsynth.privacy", *LEAVES)),
    ("dpsynth.synthesizers", ("dpsynth.sources", "dpsynth.encode", *LEAVES)),
]


def _within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def _wrong(room: str, forbidden: tuple[str, ...]) -> list[str]:
    return sorted(
        f"{name} -> {target}"
        for name, module in modules(room.split(".")[0]).items()
        if _within(name, room)
        for target in imports(module)
        if any(_within(target, other) for other in forbidden)
    )


@pytest.mark.parametrize(("room", "forbidden"), FORBIDDEN, ids=[room for room, _ in FORBIDDEN])
def test_no_arrow_points_the_wrong_way(room: str, forbidden: tuple[str, ...]) -> None:
    assert _wrong(room, forbidden) == []


def test_only_the_kernel_imports_opendp() -> None:
    users = {name for package in PACKAGES for name, module in modules(package).items() for t in imports(module) if _within(t, "opendp")}

    assert users
    assert all(_within(name, "dpsynth.privacy") for name in users)


def test_only_the_command_line_imports_the_command_line() -> None:
    users = {name for name, module in modules("dpsynth").items() for t in imports(module) if _within(t, "dpsynth.cli")}

    assert all(_within(name, "dpsynth.cli") or name == "dpsynth.__main__" for name in users)


def test_the_check_sees_an_arrow_inside_a_function() -> None:
    module = ast.parse("def late():\n    from dpsynth.privacy import noise\n    import opendp.prelude as dp\n")

    assert {"dpsynth.privacy", "dpsynth.privacy.noise", "opendp.prelude"} <= set(imports(module))


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_can_be_imported_without_the_rest_of_the_house(leaf: str) -> None:
    others = [name for name in PACKAGES if name != leaf]
    program = f"import sys, {leaf}; loaded = {others!r}; sys.exit(any(name in sys.modules for name in loaded))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_opens_with_a_docstring(package: str) -> None:
    silent = [name for name, module in modules(package).items() if module.body and ast.get_docstring(module) is None]

    assert silent == []
