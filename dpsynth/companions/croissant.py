"""Croissant metadata (MLCommons, version 1.0, JSON-LD) of the released table, so that a data catalogue can read it.

Specification: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dpsynth.bundle import CERTIFICATE
from dpsynth.companions.about import About
from dpsynth.companions.wording import parameters

# The context that the specification asks every file to carry, word for word.
_CONTEXT: Final[Mapping[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES: Final = {
    "boolean": "sc:Boolean",
    "date": "sc:Date",
    "datetime": "sc:DateTime",
    "duration": "sc:Text",
    "integer": "sc:Integer",
    "number": "sc:Float",
    "string": "sc:Text",
}
_FORMATS: Final = {".csv": "text/csv", ".parquet": "application/x-parquet"}
_TABLE: Final = "synthetic.csv"  # the file that the fields point into


def croissant(
    schema: Mapping[str, Any], said: Mapping[str, Any], resources: Mapping[str, tuple[int, str]], about: About | None = None
) -> dict[str, Any]:
    """The metadata; ``schema`` is ``Schema.to_dict()``, ``resources`` is file name -> (bytes, SHA-256)."""
    about = about or About()
    release, guarantee = said["release"], said["guarantee"]
    optional = {
        "license": about.licence,
        "url": about.url,
        "citeAs": about.citation,
        "creator": [{"@type": "sc:Organization", "name": name} for name in about.publisher] or None,
    }
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "@id": f"urn:dpsynth:release:{release['id']}",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"{release['title']} (synthetic)",
        "description": (
            f"SYNTHETIC DATA. {release['n_rows']} records by {release['synthesizer']} under {parameters(guarantee)} "
            f"differential privacy per {guarantee['unit']}. See {CERTIFICATE}."
        ),
        "version": "1.0.0",
        "datePublished": said["issued"][:10],
        "keywords": ["synthetic data", "differential privacy"],
        "isLiveDataset": False,
        **{key: value for key, value in optional.items() if value is not None},
        "rai:personalSensitiveInformation": [
            "No record is taken from a person. Columns that identify a person hold made-up values. "
            f"What the table can tell about one {guarantee['unit']} is bounded by differential privacy."
        ],
        "rai:dataLimitations": [*said["limits"], *(f"Not covered by the guarantee: {text}." for text in said["unprotected_quantities"])],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "contentSize": f"{size} B",
                "encodingFormat": _FORMATS[Path(name).suffix],
                "sha256": digest,
            }
            for name, (size, digest) in resources.items()
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "records",
                "name": "records",
                "description": "One record is one row of the synthetic table.",
                "field": [_field(place, item) for place, item in enumerate(schema["fields"], 1)],
            }
        ],
    }


def _field(place: int, item: Mapping[str, Any]) -> dict[str, Any]:
    """An @id is an IRI, which the name of a column need not be; so fields are numbered."""
    text = ". ".join(part.rstrip(".") for part in (item.get("title", ""), item.get("description", "")) if part)
    return {
        "@type": "cr:Field",
        "@id": f"records/{place}",
        "name": item["name"],
        "description": text or item["name"],
        "dataType": _TYPES[item["type"]],
        "source": {"fileObject": {"@id": _TABLE}, "extract": {"column": item["name"]}},
    }
