"""Made-up identifiers keep their format: patterns that never repeat, IBANs whose check digits hold, e-mail that reaches nobody."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from stdnum import iban

from dpsynth.errors import SchemaError
from dpsynth.identifiers import keys, surrogates
from dpsynth.schema import Field, Schema, Unit


def _key(**more: Any) -> Field:
    return Field("mrn", "string", role="identifier", **more)


@pytest.mark.parametrize("pattern", ["MRN-#####", "??##-?", "#", "no. ?", "A?#?#?#?#?#?#?#?#"])
def test_a_pattern_is_kept_and_no_key_repeats(pattern: str) -> None:
    shape = re.compile("".join({"#": "[0-9]", "?": "[A-Z]"}.get(mark, re.escape(mark)) for mark in pattern))
    n = min(5000, 10 ** pattern.count("#") * 26 ** pattern.count("?"))
    made = keys(_key(pattern=pattern), n, 1).tolist()
    assert len(set(made)) == n
    assert all(shape.fullmatch(text) for text in made)


def test_keys_of_a_pattern_go_on_where_the_last_chunk_ended() -> None:
    field = _key(pattern="P-####")
    parts = [keys(field, 40, seed, before, 100) for seed, before in ((1, 0), (2, 40))]
    assert np.concatenate(parts).tolist() == keys(field, 80, 3).tolist()


def test_a_pattern_that_is_too_small_says_so() -> None:
    with pytest.raises(SchemaError, match="room for 10 keys, not 11"):
        keys(_key(pattern="P-#"), 11, 1)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"pattern": "MRN"}, "nothing to fill in"),
        ({"pattern": "#", "fake": "name"}, "without dp:fake"),
        ({"pattern": "#", "role": "other", "categories": ("a",)}, "is for identifiers"),
    ],
)
def test_patterns_that_mean_nothing_are_refused(field: dict[str, Any], words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        Field(**{"name": "mrn", "type": "string", "role": "identifier", **field})


def test_fakes_keep_their_formats() -> None:
    fields = (_key(fake="iban"), Field("mail", "string", role="identifier", fake="safe_email"))
    schema = Schema("d", "p", Unit("row"), (*fields, Field("x", "boolean")))
    made = surrogates(schema, 200, seed=1)
    assert all(iban.is_valid(text, check_country=False) for text in made["mrn"])
    assert all(re.fullmatch(r"[^@]+@example\.(com|net|org)", text) for text in made["mail"])


def test_a_pattern_is_written_back() -> None:
    schema = Schema("d", "p", Unit("row"), (_key(pattern="MRN-#######"), Field("x", "boolean")))
    assert Schema.from_dict(schema.to_dict()) == schema
