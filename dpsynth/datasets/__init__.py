"""Bundled example tables."""

from dpsynth.datasets.catalogue import NAMES, notes_path, path, schema_path

__all__ = ["NAMES", "notes_path", "path", "schema_path"]
