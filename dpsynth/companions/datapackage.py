"""The Frictionless Data Package of the released table: its dictionary, and size and digest of each file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dpsynth.bundle import CERTIFICATE
from dpsynth.companions.about import About
from dpsynth.companions.wording import parameters

_FIELD_KEYS: Final = (
    "name",
    "type",
    "format",
    "title",
    "description",
    "constraints",
    "categories",
    "categoriesOrdered",
    "trueValues",
    "falseValues",
    "missingValues",
)
_TABLE_KEYS: Final = ("missingValues", "primaryKey", "dp:unit", "dp:constraints")


def datapackage(
    schema: Mapping[str, Any], said: Mapping[str, Any], resources: Mapping[str, tuple[int, str]], about: About | None = None
) -> dict[str, Any]:
    """The Data Package (Frictionless, version 2) of the table; ``resources`` is file name -> (bytes, SHA-256).

    ``schema`` is the public data dictionary as on disk; only the keys that Table Schema or we define are taken.
    """
    about = about or About()
    release, guarantee = said["release"], said["guarantee"]
    table = _table_schema(schema)
    formats = {
        ".parquet": {"format": "parquet", "mediatype": "application/vnd.apache.parquet"},
        ".csv": {"format": "csv", "mediatype": "text/csv", "encoding": "utf-8"},
    }
    return {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": re.sub(r"[^a-z0-9._/]+", "-", f"{release['dataset']}-synthetic".lower()).strip("-"),
        "id": release["id"],
        "title": release["title"],
        "description": (
            f"SYNTHETIC DATA. {release['n_rows']} records by {release['synthesizer']} under "
            f"{parameters(guarantee)} differential privacy per {guarantee['unit']}. "
            f"See {CERTIFICATE}."
        ),
        "created": said["issued"],
        "keywords": ["synthetic data", "differential privacy"],
        **({} if about.url is None else {"homepage": about.url}),
        **({"contributors": [{"title": name, "roles": ["publisher"]} for name in about.publisher]} if about.publisher else {}),
        **({} if about.licence is None else {"licenses": [{"path": about.licence}]}),
        "resources": [
            {
                "name": name.replace(".", "-"),
                "path": name,
                **formats[Path(name).suffix],
                "bytes": size,
                "hash": f"sha256:{digest}",
                "schema": table,
            }
            for name, (size, digest) in resources.items()
        ],
    }


def _table_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    fields = [{key: value for key, value in item.items() if key in _FIELD_KEYS or key.startswith("dp:")} for item in schema["fields"]]
    kept = {key: schema[key] for key in _TABLE_KEYS if key in schema}
    return {"$schema": "https://datapackage.org/profiles/2.0/tableschema.json", "fields": fields, **kept}
