"""Identifier columns of synthetic tables: made up anew, from the schema and a seed, never from a record."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.errors import ConfigError, SchemaError
from dpsynth.schema import Field, Schema

# Rounds in which repeated fakes are made anew before a provider is said to have too few.
_ROUNDS = 30


def surrogates(schema: Schema, n: int, seed: int, *, before: int = 0, total: int | None = None) -> dict[str, npt.NDArray[Any]]:
    """``n`` values for each identifier column: fakes where ``dp:fake`` names a provider of Faker, else keys.

    Keys follow ``dp:pattern``; without one they count the rows, and begin with ``SYN-`` where the column is text.
    Fakes may repeat, and may by chance be somebody's.
    A part of a table of ``total`` rows goes on after the ``before`` rows that came earlier.
    """
    if n < 0:
        raise ConfigError(f"n={n} must be >= 0")
    return {field.name: _values(field, n, seed + place, before, total) for place, field in enumerate(schema.identifiers)}


def surrogates_of_persons(schema: Schema, owners: npt.NDArray[np.int64], seed: int) -> dict[str, npt.NDArray[Any]]:
    """As `surrogates`, for all identifiers but the unit key; those that are ``dp:static`` are made once per person.

    ``owners`` numbers the person of each row from 0.
    """
    persons = int(owners.max()) + 1 if len(owners) else 0
    made = {}
    for place, field in enumerate(schema.identifiers):
        if field.name != schema.unit.field:
            made[field.name] = _values(field, persons, seed + place)[owners] if field.static else _values(field, len(owners), seed + place)
    return made


def keys(field: Field, n: int, seed: int, before: int = 0, at_most: int | None = None) -> npt.NDArray[Any]:
    """``n`` different values for the identifier ``field``, counted on from ``before``. ``at_most`` keys in all are made in several calls;
    fakes are made in one.
    """
    if field.fake is None:
        return _counted(field, before, n, n if at_most is None else at_most)
    if at_most is not None:
        raise ConfigError(
            f"field {field.name!r} has dp:fake={field.fake!r}, whose values cannot be told apart in so many rows; ask for fewer"
        )
    made = _values(field, n, seed)
    for attempt in range(1, _ROUNDS + 1):
        repeated = np.ones(n, dtype=np.bool_)
        repeated[np.unique(made.astype(str), return_index=True)[1]] = False
        if not repeated.any():
            return made
        made[repeated] = _values(field, int(repeated.sum()), seed + 7919 * attempt)
    raise SchemaError(f"field {field.name!r} has dp:fake={field.fake!r}, which has too few values for {n} different keys; remove dp:fake")


def _values(field: Field, n: int, seed: int, before: int = 0, total: int | None = None) -> npt.NDArray[Any]:
    if field.fake is not None:
        return _fakes(field.name, field.fake, n, seed)
    return _counted(field, before, n, n if total is None else total)


def _counted(field: Field, before: int, n: int, at_most: int) -> npt.NDArray[Any]:
    """Keys ``before + 1`` to ``before + n``, in the width of the largest of ``at_most``, or as the pattern says."""
    if field.pattern is not None:
        return _patterned(field.name, field.pattern, before, n, at_most)
    numbers = np.arange(before + 1, before + n + 1, dtype=np.int64)
    if field.type == "integer":
        return numbers
    if field.type != "string":
        raise SchemaError(f"field {field.name!r} is an identifier of type {field.type}; use type=string or integer, or give a dp:fake")
    width = max(6, len(str(at_most)))
    return np.array([f"SYN-{number:0{width}d}" for number in numbers.tolist()], dtype=object)


def _patterned(name: str, pattern: str, before: int, n: int, at_most: int) -> npt.NDArray[Any]:
    """Texts number ``before`` to ``before + n - 1`` of all that fit ``pattern``, in an order that looks like none; no two are equal."""
    bases = {"#": "0123456789", "?": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    slots = [bases[mark] for mark in pattern if mark in bases]
    room = math.prod(len(slot) for slot in slots)
    if max(at_most, before + n) > room:
        raise SchemaError(f"field {name!r} has dp:pattern={pattern!r}, which has room for {room} keys, not {max(at_most, before + n)}")
    # Steps of about the golden ratio visit every number once, as step and room have no common divisor.
    step = next(s for s in range(int(room * 0.618) | 1, 2 * room + 2) if math.gcd(s, room) == 1)
    out = np.empty(n, dtype=object)
    for place in range(n):
        number = (before + place + 1) * step % room
        filled = []
        for slot in reversed(slots):
            number, digit = divmod(number, len(slot))
            filled.append(slot[digit])
        out[place] = "".join(filled.pop() if mark in bases else mark for mark in pattern)
    return out


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
