"""Identifier columns of synthetic tables: made up anew, from the schema and a seed, never from a record."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.errors import ConfigError, SchemaError
from dpsynth.schema import Field, Schema


def surrogates(schema: Schema, n: int, seed: int) -> dict[str, npt.NDArray[Any]]:
    """``n`` values for each identifier column: fakes where ``dp:fake`` names a provider of Faker, else keys.

    Keys count the rows, and begin with ``SYN-`` where the column is text. Fakes may repeat, and may by chance be
    somebody's.
    """
    if n < 0:
        raise ConfigError(f"n={n} must be >= 0")
    return {field.name: _values(field, n, seed + place) for place, field in enumerate(schema.identifiers)}


def _values(field: Field, n: int, seed: int) -> npt.NDArray[Any]:
    if field.fake is not None:
        return _fakes(field.name, field.fake, n, seed)
    numbers = np.arange(1, n + 1, dtype=np.int64)
    if field.type == "integer":
        return numbers
    if field.type != "string":
        raise SchemaError(f"field {field.name!r} is an identifier of type {field.type}; use type=string or integer, or give a dp:fake")
    width = max(6, len(str(n)))
    return np.array([f"SYN-{number:0{width}d}" for number in numbers.tolist()], dtype=object)


def _fakes(name: str, provider: str, n: int, seed: int) -> npt.NDArray[Any]:
    from faker import Faker, Generator

    faker = Faker(use_weighting=False)
    make = getattr(faker, provider, None)
    if not callable(make) or hasattr(Generator, provider) or hasattr(Faker, provider):
        raise SchemaError(f"field {name!r} has dp:fake={provider!r}, which is not a provider of Faker, e.g. name, ssn, iban, uuid4")
    faker.seed_instance(seed)
    out = np.empty(n, dtype=object)
    out[:] = [make() for _ in range(n)]
    return out
