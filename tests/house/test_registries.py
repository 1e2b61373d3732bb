"""What stands in a module must stand in its table: nothing is half added."""

from __future__ import annotations

import ast

import audits
import dpsynth
from dpsynth.cli import app
from dpsynth.synthesizers import SYNTHESIZERS
from tests.house.packages import modules


def _audit_functions() -> set[str]:
    """Public functions ``(AuditInput) -> AuditResult`` of the audits package."""
    found = set()
    for name, module in modules("audits").items():
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns is not None:
                first = node.args.args[0].annotation if node.args.args else None
                if ast.unparse(node.returns) == "AuditResult" and first is not None and ast.unparse(first) == "AuditInput":
                    found.add(f"{name}.{node.name}")
    return found


def test_every_audit_is_registered() -> None:
    registered = {f"{entry.__module__}.{entry.__name__}" for entry in map(_function, audits.AUDITS.values())}

    assert _audit_functions() - registered == set()


def _function(entry: object) -> object:
    return getattr(entry, "run", entry)


def test_every_synthesizer_is_registered_under_its_own_name() -> None:
    written = {
        f"{name}.{node.name}"
        for name, module in modules("dpsynth").items()
        if name.startswith("dpsynth.synthesizers.")
        for node in module.body
        if isinstance(node, ast.ClassDef) and any(isinstance(f, ast.FunctionDef) and f.name == "fit" for f in node.body)
    }

    assert {f"{kind.__module__}.{kind.__name__}" for kind in SYNTHESIZERS.values()} == written
    assert all(kind().name == name for name, kind in SYNTHESIZERS.items())


def test_every_command_module_is_registered() -> None:
    helpers = {"app", "broken", "console", "disclosure", "exits", "options", "outcome", "progress", "tables"}
    written = {name.rsplit(".", 1)[1] for name in modules("dpsynth") if name.startswith("dpsynth.cli.")}

    assert written - helpers == {name.replace("-", "_") for name in (*app.COMMANDS, *app.GROUPS)}


def test_every_public_name_loads() -> None:
    assert dpsynth.__all__ == sorted(dpsynth.__all__)
    for name in dpsynth.__all__:
        assert getattr(dpsynth, name) is not None
