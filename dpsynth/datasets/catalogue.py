"""The bundled example tables: real public records, their schemas, and where they come from."""

from __future__ import annotations

from pathlib import Path

from dpsynth.errors import InputError

NAMES = ("rand-hie", "sipp-401k")
"""``rand-hie``: health, several rows per person. ``sipp-401k``: finance, one row per person."""

_FOLDER = Path(__file__).parent / "data"


def path(name: str) -> Path:
    """The table, as compressed CSV."""
    return _file(name, ".csv.gz")


def schema_path(name: str) -> Path:
    """Its public schema."""
    return _file(name, ".schema.json")


def notes_path(name: str) -> Path:
    """Its origin, licence and limits, as Markdown."""
    return _file(name, ".md")


def _file(name: str, suffix: str) -> Path:
    if name not in NAMES:
        raise InputError(f"dataset {name!r} is not bundled; there are {', '.join(NAMES)}")
    return _FOLDER / (name + suffix)
