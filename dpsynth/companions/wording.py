"""The guarantee of a certificate in the words that several documents share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

BLANK: Final = "(to be filled in by the publisher)"

_NEIGHBOURS: Final = {
    "add_remove_one_unit": "Two tables are adjacent when one holds all rows of one {unit} more than the other",
    "replace_one_unit": "Two tables are adjacent when all rows of one {unit} are exchanged for those of another",
}
_PROVENANCE: Final = {
    "declared": "declared in a public schema before any record was read",
    "dp": "found from the records under the same privacy budget",
}
ROWS_SOURCE: Final = {
    "caller": "fixed by the person who asked for the release",
    "schema": "fixed by the public schema",
    "dp": "measured with noise, inside the budget",
}
_ROWS_WANTED: Final = {
    "caller": "the number asked for by the person who asked for the release",
    "schema": "the number in the public schema",
    "dp": "a number measured with noise, inside the budget",
}


def parameters(guarantee: Mapping[str, Any]) -> str:
    """(epsilon, delta) as it is written in the certificate."""
    return f"({guarantee['epsilon']:.12g}, {guarantee['delta']})"


def adjacency(guarantee: Mapping[str, Any]) -> str:
    """What the guarantee hides: the difference between two adjacent tables, in one sentence."""
    unit = guarantee["unit"]
    text = _NEIGHBOURS.get(guarantee["adjacency"], f"Adjacency is {guarantee['adjacency']}").format(unit=unit)
    rows = guarantee["max_rows"]
    return f"{text}; each {unit} has at most {rows} row{'s' if rows > 1 else ''}."


def domain(said: Mapping[str, Any]) -> str:
    """Where categories, bounds and bins come from."""
    return ", or ".join(_PROVENANCE.get(name, name) for name in said["domain_provenance"])


def row_count(said: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """How many rows there are and whose number that is. Where units are drawn whole it is met roughly."""
    release, source = said["release"], said["release"]["rows_source"]
    if schema["dp:unit"].get("weights") != "person":
        return f"{release['n_rows']} rows; the number was {ROWS_SOURCE[source]}."
    return f"{release['n_rows']} rows, about {_ROWS_WANTED[source]}: each made-up {said['guarantee']['unit']} was drawn whole."
