"""The arrows between the rooms. A wrong one fails here, wherever in a module it stands."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

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


class _AtRunTime(ast.NodeTransformer):
    """Takes away what is imported for types alone."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def _circle(parsed: Mapping[str, ast.Module]) -> list[str]:
    """Modules of which each imports the one before it, the first and the last being the same; empty where there are none."""

    def targets(module: ast.Module) -> Iterator[str]:
        for node in ast.walk(_AtRunTime().visit(module)):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name if name in parsed else str(node.module) for name in whole)

    graph = {name: {target for target in targets(module) if target in parsed} - {name} for name, module in parsed.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle_not_even_late() -> None:
    assert _circle({name: module for package in PACKAGES for name, module in modules(package).items()}) == []


def test_the_check_sees_a_circle_through_a_function_and_lets_types_pass() -> None:
    late = {"a": ast.parse("from b import x"), "b": ast.parse("def f():\n    import a")}
    types = {"a": ast.parse("from b import x"), "b": ast.parse("if TYPE_CHECKING:\n    import a")}

    assert set(_circle(late)) == {"a", "b"}
    assert _circle(types) == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_can_be_imported_without_the_rest_of_the_house(leaf: str) -> None:
    others = [name for name in PACKAGES if name != leaf]
    program = f"import sys, {leaf}; loaded = {others!r}; sys.exit(any(name in sys.modules for name in loaded))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_opens_with_a_docstring(package: str) -> None:
    silent = [name for name, module in modules(package).items() if module.body and ast.get_docstring(module) is None]

    assert silent == []
