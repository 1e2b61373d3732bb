"""The public data dictionary: Frictionless Table Schema v2 with ``dp:`` keys.

Everything the encoder knows about a table is declared here, before a record is read.
Nothing is guessed: a missing bound is an error.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from dpsynth import anchors, durations
from dpsynth.constraints import Relations, consistency
from dpsynth.errors import SchemaError
from dpsynth.hierarchies import CLASSIFICATIONS, PREFIX
from dpsynth.marginals import DP, count_name

Bound = int | float | date
"""A declared value of an ordered column; ``date`` includes ``datetime`` (naive, UTC)."""

ROLES = ("identifier", "quasi", "sensitive", "target", "other")
TYPES = ("boolean", "date", "datetime", "duration", "integer", "number", "string")
NEIGHBOURS = ("add_remove", "replace_one")
RESOLUTIONS = {
    "date": ("year", "month", "day"),
    "datetime": ("year", "month", "day", "hour", "minute", "second"),
}
TRUE_VALUES = ("true", "True", "TRUE", "1")
FALSE_VALUES = ("false", "False", "FALSE", "0")

WEIGHTS = (ROWS, PERSON) = ("rows", "person")

LARGEST_PERSON = 10_000
"""Most rows of one person that can be modelled as a person's."""

OTHER = "other"
"""The category of what is too rare, where categories are found under the budget and ``dp:other`` names none."""

MAX_LEVELS = 65_535
"""Most cells of one column, so that codes and a missing level fit in 16 bits."""

_EXACT = 2**53
_ADVICE = {"age": "120", "year": "2030"}


@dataclass(frozen=True)
class Unit:
    """Who is protected.

    Without ``field`` one row is one unit. With it, a unit is all rows that share the value of that column.
    ``weights``: ``rows`` counts each row once; ``person`` gives each unit the weight one, models its rows as the rows of
    a person, and writes persons. ``order`` then names a date or number that ascends within a person.
    """

    name: str
    field: str | None = None
    max_rows: int = 1
    weights: str = ROWS
    order: str | None = None

    @property
    def by_person(self) -> bool:
        """Whether synthetic rows come as persons."""
        return self.weights == PERSON

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            raise SchemaError(f"dp:unit.maxRows={self.max_rows} must be >= 1")
        if self.field is None and self.max_rows != 1:
            raise SchemaError(f"dp:unit.maxRows={self.max_rows} needs dp:unit.field; without it one row is one {self.name}")
        if self.weights not in WEIGHTS:
            raise SchemaError(f"dp:unit.weights={self.weights!r} must be one of {', '.join(WEIGHTS)}")
        if self.by_person and not 1 < self.max_rows <= LARGEST_PERSON:
            raise SchemaError(f'dp:unit.weights="person" needs dp:unit.maxRows from 2 to {LARGEST_PERSON}, not {self.max_rows}')
        if self.order is not None and not self.by_person:
            raise SchemaError('dp:unit.order needs dp:unit.weights="person"; other rows belong to nobody')


@dataclass(frozen=True)
class Field:
    """One declared column.

    ``nullable``: missing is a level of its own. ``other``: the declared category for what is not in the list.
    ``unseen``: the value for cells that fit nowhere when there is neither (default: the first category, false, or the
    minimum). ``bins``: how many equal bins, their edges, ``"dp"`` (found under the budget), or None for the default
    rule. ``resolution``: a unit of time for dates, a step for numbers. ``static``: the same in all rows of a person.
    ``area_population``: for a column of places, the public number of people in the smallest of them.
    ``hierarchy``: the public grouping of categories, ``icd9``, ``icd10``, ``prefix:k`` for their first k characters, or
    (category, group) pairs: rare categories are merged inside their group.
    ``pattern``: how the keys of an identifier look, ``#`` for a digit and ``?`` for a capital letter.
    ``spikes``: values that many rows have exactly; each is a bin of its own.
    A ``duration`` has its bounds, bins, spikes and ``unseen`` in whole steps of its resolution.
    ``anchor``: the date of the same row from which this date is counted; bounds, bins, spikes and ``unseen`` then count steps.
    ``open``: the categories are found under the budget, and are None until then; ``minimum_count`` is the least noisy count of rows
    (of units, where each weighs one) at which a value becomes one.
    ``decimal``: the mark before the decimals of numbers that come as text; a point is always read as one, too.
    """

    name: str
    type: str
    title: str = ""
    description: str = ""
    role: str = "other"
    categories: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    ordered: bool = False
    minimum: Bound | None = None
    maximum: Bound | None = None
    nullable: bool = False
    other: str | None = None
    unseen: str | bool | Bound | None = None
    missing_values: tuple[str, ...] = ("",)
    true_values: tuple[str, ...] = TRUE_VALUES
    false_values: tuple[str, ...] = FALSE_VALUES
    bins: int | tuple[Bound, ...] | str | None = None
    resolution: str | float | None = None
    format: str | None = None
    fake: str | None = None
    group: bool = False
    static: bool = False
    area_population: int | None = None
    spikes: tuple[Bound, ...] = ()
    pattern: str | None = None
    hierarchy: str | tuple[tuple[str, str], ...] | None = None
    anchor: str | None = None
    open: bool = False
    minimum_count: int | None = None
    decimal: str = "."

    @cached_property
    def counted(self) -> Field:
        """What is counted: for a duration and an anchored date whole numbers, of steps; for others the column itself."""
        if self.anchor is None and self.type != "duration":
            return self
        return replace(self, type="integer", resolution=None, format=None, anchor=None)

    @property
    def has_bounds(self) -> bool:
        """Whether values lie between a minimum and a maximum (numbers and dates), rather than in a list."""
        return self.type in ("integer", "number", "date", "datetime", "duration")

    @property
    def levels(self) -> tuple[str, ...]:
        """The values of a listed column, in code order."""
        return ("false", "true") if self.type == "boolean" else self.categories or ()

    def __post_init__(self) -> None:
        if not self.name:
            raise SchemaError("a field has an empty name")
        if self.type not in TYPES:
            self._refuse(f"has type={self.type!r}; it must be one of {', '.join(TYPES)}")
        if self.role not in ROLES:
            self._refuse(f"has dp:role={self.role!r}; it must be one of {', '.join(ROLES)}")
        if self.role == "identifier":
            self._check_identifier()
        else:
            self._check_modelled()

    def _refuse(self, rule: str) -> NoReturn:
        raise SchemaError(f"field {self.name!r} {rule}")

    def _check_identifier(self) -> None:
        unused = {
            "dp:hierarchy": self.hierarchy,
            "dp:categories": self.open or None,
            "dp:minimumCount": self.minimum_count,
            "categories": self.categories,
            "constraints.minimum": self.minimum,
            "constraints.maximum": self.maximum,
            "dp:bins": self.bins,
            "dp:spikes": self.spikes or None,
            "dp:other": self.other,
            "dp:unseen": self.unseen,
            "dp:resolution": self.resolution,
            "dp:group": self.group or None,
            "dp:areaPopulation": self.area_population,
            "dp:anchor": self.anchor,
        }
        if self.pattern is not None and (self.type != "string" or self.fake is not None):
            self._refuse("has dp:pattern, which is for identifiers of type string without dp:fake")
        if self.pattern is not None and not {"#", "?"} & set(self.pattern):
            self._refuse(
                f'has dp:pattern={self.pattern!r} with nothing to fill in; write # for a digit and ? for a letter, e.g. "MRN-#######"'
            )
        for key, value in unused.items():
            if value is not None:
                self._refuse(f"is an identifier, which is never modelled, so {key} has no meaning; remove it or change dp:role")

    def _check_modelled(self) -> None:
        if self.fake is not None:
            self._refuse(f'has dp:fake={self.fake!r}, which is for identifiers; set "dp:role": "identifier" or remove it')
        if self.area_population is not None and self.area_population < 0:
            self._refuse(f"has dp:areaPopulation={self.area_population}; it must be >= 0")
        if self.open and self.type != "string":
            self._refuse(f'has type={self.type} and dp:categories, which is for "type": "string"; remove it')
        if self.minimum_count is not None and not self.open:
            self._refuse('has dp:minimumCount, which goes with "dp:categories": "dp"; remove it')
        if self.hierarchy is not None and self.type != "string":
            self._refuse(f"has type={self.type} and dp:hierarchy, which is for categories; remove it")
        if self.pattern is not None:
            self._refuse('has dp:pattern, which is for identifiers; set "dp:role": "identifier" or remove it')
        if self.unseen is not None and (self.nullable or self.other is not None):
            self._refuse(f"has dp:unseen beside {'dp:nullable' if self.other is None else 'dp:other'}, which wins; remove one")
        if self.anchor is not None:
            self._check_anchored(self.anchor)
        elif self.type == "duration":
            self._check_duration()
        elif self.has_bounds:
            self._check_bounds()
            self._check_bins()
            self._check_resolution()
        else:
            self._check_levels()
        self._check_format()

    def _check_levels(self) -> None:
        for key, value in (
            ("constraints.minimum", self.minimum),
            ("constraints.maximum", self.maximum),
            ("dp:bins", self.bins),
            ("dp:spikes", self.spikes or None),
            ("dp:resolution", self.resolution),
        ):
            if value is not None:
                self._refuse(f"has type={self.type} and {key}, which is for numbers and dates; remove it")
        if self.type == "boolean":
            self._check_boolean()
            return
        if self.open:
            self._check_open()
        if self.categories is None:
            if self.open:
                return
            self._refuse(
                'has no categories; list its public values, find them under the budget with "dp:categories": "dp", '
                'or set "dp:role": "identifier" to leave it out'
            )
        seen: set[str] = set()
        for category in self.categories:
            if category.strip() in seen:
                self._refuse(f"has the category {category!r} twice")
            seen.add(category.strip())
        if len(self.categories) > MAX_LEVELS:
            self._refuse(f"has {len(self.categories)} categories; at most {MAX_LEVELS} are supported")
        if self.labels is not None and len(self.labels) != len(self.categories):
            self._refuse(f"has {len(self.labels)} labels for {len(self.categories)} categories")
        self._check_hierarchy(self.categories)
        blanks = [category for category in self.categories if category.strip() in self._missing]
        if blanks:
            self._refuse(f"has {blanks[0]!r} both as a category and as a missing value")
        for key, value in (("dp:other", self.other), ("dp:unseen", self.unseen)):
            if value is not None and value not in self.categories:
                self._refuse(f"has {key}={value!r}, which must be one of its categories")

    def _check_open(self) -> None:
        if self.other is None:
            self._refuse('has "dp:categories": "dp" and no dp:other; name the category of what is too rare, e.g. "other"')
        if self.other.strip() in self._missing:
            self._refuse(f"has dp:other={self.other!r}, which is also a missing value")
        if self.minimum_count is not None and self.minimum_count < 1:
            self._refuse(f"has dp:minimumCount={self.minimum_count}; it must be >= 1")
        if self.ordered:
            self._refuse('has "dp:categories": "dp" and an order, which values that nobody knows yet cannot have; remove one')
        if self.labels is not None or isinstance(self.hierarchy, tuple):
            self._refuse('has "dp:categories": "dp", so nothing can be said of single categories; remove the labels, or the groups')
        if self.categories is None:
            self._check_hierarchy(())

    def _check_hierarchy(self, categories: tuple[str, ...]) -> None:
        rule = self.hierarchy
        if rule is None or rule in CLASSIFICATIONS:
            return
        if isinstance(rule, str):
            length = rule.removeprefix(PREFIX)
            if length == rule or not length.isdecimal() or int(length) < 1:
                self._refuse(
                    f'has dp:hierarchy={rule!r}; it must be "icd9", "icd10", "prefix:3" (the first 3 characters), or an object of groups'
                )
            return
        grouped = {category for category, _ in rule}
        for category in categories:
            if category not in grouped:
                self._refuse(f"has a dp:hierarchy without a group for the category {category!r}")

    @property
    def _missing(self) -> frozenset[str]:
        return frozenset(text.strip() for text in self.missing_values)

    def _check_boolean(self) -> None:
        if self.categories is not None:
            self._refuse("has type=boolean and categories; use trueValues and falseValues, or type=string")
        if self.other is not None:
            self._refuse("has type=boolean and dp:other; use type=string with three categories, or dp:nullable")
        if self.unseen is not None and not isinstance(self.unseen, bool):
            self._refuse(f"has dp:unseen={self.unseen!r}; for a boolean it must be true or false")
        if not self.true_values or not self.false_values:
            self._refuse("needs at least one value in trueValues and in falseValues")
        both = set(self.true_values) & set(self.false_values)
        if both:
            self._refuse(f"has {min(both)!r} in trueValues and in falseValues")

    def _check_bounds(self) -> None:
        if self.categories is not None:
            self._refuse(f'has type={self.type} and categories; use "type": "string" (1, 1.0 and "1" match category "1")')
        if self.other is not None:
            self._refuse("has dp:other, which is for categories; use dp:unseen or dp:nullable")
        for key, bound in (("minimum", self.minimum), ("maximum", self.maximum)):
            if bound is None:
                self._refuse(f"has no constraints.{key}; give a public bound, e.g. {self._example(key)}")
            self._check_value(f"constraints.{key}", bound)
        low, high = self.minimum, self.maximum
        assert low is not None and high is not None
        if low > high or (low == high and self.type == "number"):  # type: ignore[operator]
            self._refuse(f"has constraints.minimum={_show(low)}, which must be below constraints.maximum={_show(high)}")
        if isinstance(low, float | int) and self.type == "number":
            assert isinstance(high, float | int)
            if high - low < max(1e-9 * max(abs(low), abs(high)), 1e-300):
                self._refuse("has bounds too close together for their size; subtract an offset first")
        if self.unseen is not None:
            self._check_value("dp:unseen", self.unseen)
            if not low <= self.unseen <= high:  # type: ignore[operator]
                self._refuse(f"has dp:unseen={_show(self.unseen)} outside its bounds")

    def _example(self, key: str) -> str:
        if self.type in ("date", "datetime"):
            return '"2000-01-01"' if key == "minimum" else '"2030-12-31"'
        if self.type == "duration":
            return '"P0D"' if key == "minimum" else '"P365D"'
        if key == "minimum":
            return "0"
        return next((value for word, value in _ADVICE.items() if word in self.name.lower()), "1000")

    def _check_value(self, key: str, value: object) -> None:
        """Whether ``value`` is of the type of the column."""
        kinds: dict[str, tuple[type, ...]] = {
            "integer": (int,),
            "number": (int, float),
            "date": (date,),
            "datetime": (datetime,),
        }
        fits = isinstance(value, kinds[self.type]) and not isinstance(value, bool)
        if not fits or (self.type == "date" and isinstance(value, datetime)):
            self._refuse(f"has {key}={_show(value)}, which is not of type {self.type}")
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse(f"has {key}={value}, which must be finite")
        if isinstance(value, int | float) and abs(value) > _EXACT:
            self._refuse(f"has {key}={value}, which must lie within +-2**53")
        if isinstance(value, datetime) and value.tzinfo is not None:
            self._refuse(f"has {key} with a time zone; datetimes are kept as naive UTC")

    def _check_bins(self) -> None:
        for spike in self.spikes:
            self._check_value("dp:spikes", spike)
            if not self.minimum <= spike <= self.maximum:  # type: ignore[operator]
                self._refuse(f"has the dp:spikes value {_show(spike)} outside its bounds")
        bins = self.bins
        if bins is None or bins == DP:
            return
        if isinstance(bins, tuple):
            for edge in bins:
                self._check_value("dp:bins", edge)
                if not self.minimum <= edge <= self.maximum:  # type: ignore[operator]
                    self._refuse(f"has the dp:bins edge {_show(edge)} outside its bounds")
            if not bins or any(a >= b for a, b in pairwise(bins)):  # type: ignore[operator]
                self._refuse("has dp:bins edges that are not strictly increasing")
        elif isinstance(bins, bool) or not isinstance(bins, int) or not 1 <= bins <= 4096:
            self._refuse(f'has dp:bins={bins!r}; it must be a number of bins from 1 to 4096, a list of edges, or "dp"')

    def _check_anchored(self, anchor: str) -> None:
        if self.type not in RESOLUTIONS:
            self._refuse(f"has type={self.type} and dp:anchor, which is for dates and datetimes; remove it")
        known = ("day",) if self.type == "date" else tuple(anchors.STEPS)
        if self.resolution is not None and self.resolution not in known:
            self._refuse(
                f"has dp:resolution={self.resolution!r} beside dp:anchor; for a {self.type} a distance is counted in {' or '.join(known)}, "
                "and dp:bins make it coarser"
            )
        low, high, step = self.minimum, self.maximum, anchors.step_of(self)
        if low is None or high is None:
            self._refuse(
                f"has dp:anchor, but no dp:offset; say how many {step}s after {anchor!r} it can lie, "
                'e.g. "dp:offset": {"minimum": 0, "maximum": 365}'
            )
        for key, bound in (("minimum", low), ("maximum", high)):
            if isinstance(bound, bool) or not isinstance(bound, int):
                self._refuse(f"has dp:offset.{key}={_show(bound)}, which must be a whole number of {step}s")
        if low > high:  # type: ignore[operator]
            self._refuse(f"has dp:offset.minimum={low}, which must not be above dp:offset.maximum={high}")
        # The rest is checked as for any column of whole numbers.
        self.counted  # noqa: B018

    def _check_duration(self) -> None:
        if self.resolution is not None and self.resolution not in durations.STEPS:
            self._refuse(f"has dp:resolution={self.resolution!r}; for a duration it must be one of {', '.join(durations.STEPS)}")
        for key, bound in (("minimum", self.minimum), ("maximum", self.maximum)):
            if bound is None:
                self._refuse(f"has no constraints.{key}; give a public bound, e.g. {self._example(key)}")
        # The rest is checked as for any column of whole numbers.
        self.counted  # noqa: B018

    def _check_resolution(self) -> None:
        if self.resolution is None:
            return
        if self.type in RESOLUTIONS:
            known = RESOLUTIONS[self.type]
            if self.resolution not in known:
                self._refuse(f"has dp:resolution={self.resolution!r}; for a {self.type} it must be one of {', '.join(known)}")
        elif self.type == "integer":
            self._refuse("has dp:resolution, which is for numbers and dates; use dp:bins")
        else:
            step = self.resolution
            assert isinstance(self.minimum, int | float) and isinstance(self.maximum, int | float)
            if isinstance(step, bool | str) or not 0 < step <= self.maximum - self.minimum:
                self._refuse(f"has dp:resolution={step!r}; for a number it must be a step > 0 within the range, e.g. 0.01")
            if (self.maximum - self.minimum) / step > _EXACT:
                self._refuse(f"has dp:resolution={step!r}, which is too fine for its range")

    def _check_format(self) -> None:
        if self.format not in (None, "default") and self.type not in RESOLUTIONS:
            self._refuse(f"has format={self.format!r}, which is only read for dates and datetimes; remove it")
        if self.decimal not in (".", ",") or (self.decimal == "," and self.type != "number"):
            self._refuse(f'has decimalChar={self.decimal!r}; it is "." or, in a column of type number, ","')

    def to_dict(self) -> dict[str, Any]:
        """The field as Table Schema JSON; ``Schema.from_dict`` reads it back to an equal field."""
        out: dict[str, Any] = {"name": self.name, "type": self.type}
        optional: dict[str, Any] = {
            "title": self.title or None,
            "description": self.description or None,
            "format": self.format,
            "decimalChar": self.decimal if self.decimal != "." else None,
            "categories": self._categories_json(),
            "dp:categories": DP if self.open else None,
            "dp:minimumCount": self.minimum_count,
            "categoriesOrdered": True if self.ordered and self.categories is not None else None,
            "trueValues": list(self.true_values) if self.true_values != TRUE_VALUES else None,
            "falseValues": list(self.false_values) if self.false_values != FALSE_VALUES else None,
            "missingValues": list(self.missing_values),
            "dp:anchor": self.anchor,
            "constraints" if self.anchor is None else "dp:offset": {
                k: self._json(v) for k, v in (("minimum", self.minimum), ("maximum", self.maximum)) if v is not None
            }
            or None,
            "dp:role": self.role,
            "dp:nullable": self.nullable or None,
            "dp:other": self.other,
            "dp:unseen": self._json(self.unseen),
            "dp:bins": [self._json(edge) for edge in self.bins] if isinstance(self.bins, tuple) else self.bins,
            "dp:spikes": [self._json(spike) for spike in self.spikes] or None,
            "dp:resolution": self.resolution,
            "dp:fake": self.fake,
            "dp:pattern": self.pattern,
            "dp:hierarchy": dict(self.hierarchy) if isinstance(self.hierarchy, tuple) else self.hierarchy,
            "dp:group": self.group or None,
            "dp:static": self.static or None,
            "dp:areaPopulation": self.area_population,
        }
        return {**out, **{key: value for key, value in optional.items() if value is not None}}

    def _json(self, value: Any) -> Any:
        """A declared value as it is written in a schema."""
        if self.type == "duration" and value is not None:
            return durations.shown(self, value)
        return value.isoformat() if isinstance(value, date) else value

    def _categories_json(self) -> list[Any] | None:
        known = CLASSIFICATIONS.get(self.hierarchy) if isinstance(self.hierarchy, str) else None
        if known is not None and not self.open and self.categories == known[0]() and self.labels is None:
            return None
        if self.categories is None or self.labels is None:
            return None if self.categories is None else list(self.categories)
        return [{"value": value, "label": label} for value, label in zip(self.categories, self.labels, strict=True)]


@dataclass(frozen=True)
class Schema:
    """The declared table: its columns, whom it protects, and what is public about its size.

    ``rows`` is the number of synthetic rows to write when the caller does not say; ``population_bound`` an upper bound
    on the number of units. ``relations`` hold in every synthetic row.
    """

    dataset: str
    population: str
    unit: Unit
    fields: tuple[Field, ...]
    title: str = ""
    description: str = ""
    missing_values: tuple[str, ...] = ("",)
    primary_key: tuple[str, ...] = ()
    rows: int | None = None
    population_bound: int | None = None
    neighbours: str = "add_remove"
    relations: Relations = dataclass_field(default_factory=Relations)

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        for name in names:
            if names.count(name) > 1:
                raise SchemaError(f"field {name!r} is declared twice")
        if self.neighbours not in NEIGHBOURS:
            raise SchemaError(f"dp:neighbours={self.neighbours!r} must be one of {', '.join(NEIGHBOURS)}")
        for key, value in (("dp:rows", self.rows), ("dp:dataset.populationBound", self.population_bound)):
            if value is not None and value < 1:
                raise SchemaError(f"{key}={value} must be >= 1")
        if not self.modelled:
            raise SchemaError("every field is an identifier; there is nothing to model")
        if self.unit.field is not None:
            if self.unit.field not in names:
                raise SchemaError(f'dp:unit.field={self.unit.field!r} is not a field; declare it with "dp:role": "identifier"')
            if self[self.unit.field].role != "identifier":
                raise SchemaError(f'field {self.unit.field!r} is dp:unit.field, so it needs "dp:role": "identifier"')
        for name in self.primary_key:
            if name not in names:
                raise SchemaError(f"primaryKey names {name!r}, which is not among the fields")
        anchors.check(self.fields)
        consistency.check(self.relations, self._counted)
        if len(self.derived) == len(self.modelled):
            raise SchemaError("dp:constraints compute every field; there is nothing to model")
        self._check_persons()

    def _check_persons(self) -> None:
        """What is declared about the rows of a person fits together."""
        unit = self.unit
        if not unit.by_person:
            for field in self.fields:
                if field.static:
                    raise SchemaError(
                        f'field {field.name!r} is dp:static, which needs dp:unit.weights="person"; other rows belong to nobody'
                    )
            return
        if count_name(unit.name) in self._by_name:
            raise SchemaError(f"field {count_name(unit.name)!r} has the name of the modelled number of rows; rename the field")
        if unit.order is None:
            return
        if unit.order not in self._by_name:
            raise SchemaError(f"dp:unit.order={unit.order!r} is not a field")
        ordered = self[unit.order]
        if not ordered.has_bounds or ordered.type == "duration" or ordered.static or ordered.role == "identifier":
            raise SchemaError(
                f"field {unit.order!r} is dp:unit.order, so it must be a number or a date that is neither static nor an identifier"
            )

    def __getitem__(self, name: str) -> Field:
        try:
            return self._by_name[name]
        except KeyError:
            raise SchemaError(f"field {name!r} is not in the schema; it has {', '.join(self._by_name)}") from None

    @cached_property
    def _by_name(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    @cached_property
    def _counted(self) -> dict[str, Field]:
        return {field.name: field.counted for field in self.fields}

    @cached_property
    def modelled(self) -> tuple[Field, ...]:
        """The columns a model is built on: all but the identifiers."""
        return tuple(field for field in self.fields if field.role != "identifier")

    @cached_property
    def derived(self) -> tuple[str, ...]:
        """Columns that a relation computes from others: left out of the model, in the order of computation."""
        return tuple(self.relations.rules)

    @cached_property
    def identifiers(self) -> tuple[Field, ...]:
        """The columns that are never read (but for grouping rows by the unit) and are generated anew."""
        return tuple(field for field in self.fields if field.role == "identifier")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are read from a source: the modelled ones and the unit key."""
        return tuple(field.name for field in self.fields if field.role != "identifier" or field.name == self.unit.field)

    @cached_property
    def open(self) -> tuple[str, ...]:
        """Columns whose categories are still to be found under the budget."""
        return tuple(field.name for field in self.modelled if field.open and field.categories is None)

    def closed(self, found: Mapping[str, Iterable[str]]) -> Schema:
        """The schema with categories for its open columns: ``dp:other`` first, then what was ``found``, sorted.

        The values must come from a differentially private release, or from a table that is public.
        """
        closed = {}
        for name, values in found.items():
            other = str(self[name].other)
            closed[name] = replace(self[name], categories=(other, *sorted({value for value in values if value != other})))
        return replace(self, fields=tuple(closed.get(field.name, field) for field in self.fields))

    @cached_property
    def declared(self) -> Schema:
        """The schema as it was written: without the categories that were found."""
        if not any(field.open and field.categories is not None for field in self.fields):
            return self
        return replace(self, fields=tuple(replace(field, categories=None) if field.open else field for field in self.fields))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of the schema as it was written."""
        return hashlib.sha256(json.dumps(self.declared.to_dict(), sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    @classmethod
    def read(cls, path: str | Path) -> Schema:
        """The schema in a JSON file."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise SchemaError(f"schema file {str(path)!r} does not exist") from None
        except OSError as error:
            raise SchemaError(f"schema file {str(path)!r} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SchemaError(f"schema file {str(path)!r} is not UTF-8 text") from None
        try:
            data = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
        except json.JSONDecodeError as error:
            raise SchemaError(f"schema file {str(path)!r} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
        except RecursionError:
            raise SchemaError(f"schema file {str(path)!r} is nested too deeply") from None
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Schema:
        """The schema in parsed JSON; every mistake is an error that names the field and the key."""
        _check_shape(data)
        missing = tuple(data.get("missingValues", [""]))
        unit, dataset = data["dp:unit"], data["dp:dataset"]
        key = data.get("primaryKey", [])
        fields = tuple(_field(item, missing) for item in data["fields"])
        by_name = {field.name: field for field in fields}
        declared = list(data.get("dp:constraints", []))
        declared += [relation for relation in anchors.implied(by_name) if relation not in declared]
        return cls(
            dataset=dataset["id"],
            population=dataset["population"],
            unit=Unit(unit["name"], unit.get("field"), int(unit.get("maxRows", 1)), unit.get("weights", ROWS), unit.get("order")),
            fields=fields,
            title=data.get("title", ""),
            description=data.get("description", ""),
            missing_values=missing,
            primary_key=(key,) if isinstance(key, str) else tuple(key),
            rows=None if data.get("dp:rows") is None else int(data["dp:rows"]),
            population_bound=None if dataset.get("populationBound") is None else int(dataset["populationBound"]),
            neighbours=data.get("dp:neighbours", "add_remove"),
            relations=Relations.from_list(declared, by_name),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; ``from_dict`` reads it back to an equal schema."""
        unit: dict[str, Any] = {"name": self.unit.name, "maxRows": self.unit.max_rows}
        unit |= {"weights": self.unit.weights} if self.unit.by_person else {}
        unit |= {"order": self.unit.order} if self.unit.order is not None else {}
        dataset: dict[str, Any] = {"id": self.dataset, "population": self.population}
        optional = {
            "title": self.title or None,
            "description": self.description or None,
            "primaryKey": list(self.primary_key) or None,
            "dp:rows": self.rows,
            "dp:constraints": self.relations.to_list() or None,
        }
        return {
            **{key: value for key, value in optional.items() if value is not None},
            "missingValues": list(self.missing_values),
            "dp:dataset": dataset if self.population_bound is None else {**dataset, "populationBound": self.population_bound},
            "dp:unit": unit if self.unit.field is None else {**unit, "field": self.unit.field},
            "dp:neighbours": self.neighbours,
            "fields": [field.to_dict() for field in self.fields],
        }

    def lint(self) -> list[str]:
        """Advice on what is allowed but probably not meant; empty when there is none. Reads no record."""
        advice = [f"field {field.name!r} {text}" for field in self.modelled for text in _lint_field(field)]
        for field in self.modelled:
            if field.missing_values != self.missing_values and not field.nullable and field.other is None:
                advice.append(f"field {field.name!r} declares missing values but is not dp:nullable; dp:unseen will replace them")
        roles = {field.role for field in self.modelled}
        if "quasi" not in roles:
            advice.append('no field has "dp:role": "quasi"; singling-out and inference audits need what an attacker may know')
        if "sensitive" not in roles and "target" not in roles:
            advice.append('no field has "dp:role": "sensitive" or "target"; attribute inference has nothing to guess')
        if self.unit.max_rows > 20 and not self.unit.by_person:
            advice.append(
                f"dp:unit.maxRows={self.unit.max_rows} multiplies the noise by as much; "
                'a smaller cap often does better, and "weights": "person" has no such price'
            )
        if self.unit.by_person and not any(field.static for field in self.modelled):
            advice.append(
                'no field is "dp:static": true; what stays the same in all rows of a person (sex, birth year) will change from row to row'
            )
        if self.unit.field is None and self.identifiers:
            advice.append("there are identifiers but no dp:unit.field; if a person can have several rows, name their key")
        if self.rows is None and self.neighbours == "add_remove":
            advice.append("no dp:rows; the number of synthetic rows will be measured under the budget")
        advice.extend(consistency.advice(self.relations, self._counted))
        loose = [name for name in self.primary_key if self[name].role != "identifier"]
        if loose:
            advice.append(f"primaryKey includes {', '.join(loose)}, which is modelled; synthetic rows may repeat it")
        return advice


_PLACES = frozenset(
    {"zip", "zip3", "zipcode", "postcode", "postal", "county", "municipality", "city", "town", "district", "puma", "province"}
)


def _lint_field(field: Field) -> Iterable[str]:
    words = field.name.lower().replace("-", "_").split("_")
    if {"id", "ssn", "mrn", "email", "phone", "iban", "uuid", "name", "address"} & set(words) and field.categories is None:
        yield 'looks like an identifier by its name; if it is one, set "dp:role": "identifier"'
    if field.open and field.categories is None:
        yield (
            "takes its categories from the records, by a differentially private choice; names of common values will be published, "
            "so it must hold codes or kinds, never what somebody typed about a person"
        )
    elif field.open:
        yield 'has categories and "dp:categories": "dp"; keep one: values that an earlier release found are public and can be listed'
    # A hierarchy groups rare ones by itself.
    if field.hierarchy is None and field.categories is not None and len(field.categories) > 500:
        yield f"has {len(field.categories)} categories; noise per category grows, so group rare ones"
    if field.type in RESOLUTIONS and field.anchor is None and field.resolution in (None, "day", "hour", "minute", "second"):
        yield 'keeps exact dates; "dp:resolution": "year" or "month" is enough for most uses, and many policies ask it'
    if field.area_population is None and _PLACES & set(words):
        yield "looks like a place by its name; dp:areaPopulation says how many people live in the smallest one, and health policies ask it"
    if field.group and field.has_bounds and not isinstance(field.bins, tuple):
        yield "is a dp:group without dp:bins edges; fairness figures want a few named groups"


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [name for name, _ in pairs]
        raise SchemaError(f"key {next(name for name in names if names.count(name) > 1)!r} appears twice in one object")
    return out


def _no_constants(text: str) -> NoReturn:
    raise SchemaError(f"the schema contains {text}, which is not JSON; use a finite number")


def _shape_file() -> Path:
    return Path(__file__).parent / "schemas" / "dpsynth-schema-1.json"


def _check_shape(data: object) -> None:
    """Refuse what the JSON Schema of schemas refuses, in words."""
    import jsonschema

    if not isinstance(data, Mapping):
        raise SchemaError(f"a schema is a JSON object, not {_kind(data)}")
    shape = json.loads(_shape_file().read_text(encoding="utf-8"))
    errors = sorted(
        jsonschema.Draft202012Validator(shape).iter_errors(dict(data)),
        key=lambda error: list(map(str, error.absolute_path)),
    )
    if errors:
        raise SchemaError(_shape_message(data, errors[0]))


def _shape_message(data: Mapping[str, Any], error: Any) -> str:
    path = list(error.absolute_path)
    where = "the schema"
    if len(path) >= 2 and path[0] == "fields":
        item = data["fields"][path[1]]
        name = item.get("name") if isinstance(item, Mapping) else None
        where = f"field {name!r}" if isinstance(name, str) else f"field number {path[1] + 1}"
        path = path[2:]
    key = ".".join(map(str, path))
    inside = key + "." if key else ""
    value = error.instance
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        unknown = sorted(set(value) - set(known))
        return f"{where} has the unknown key {inside + unknown[0]!r}; known keys are {', '.join(known)}"
    if error.validator == "required":
        absent = next(name for name in error.validator_value if name not in value)
        return f"{where} has no {inside + absent}"
    if error.validator == "enum":
        return f"{where} has {key}={value!r}; it must be one of {', '.join(map(str, error.validator_value))}"
    if error.validator == "const":
        return f"{where} has {key}={value!r}; it must be {error.validator_value!r}"
    if error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        return f"{where} has {key or 'a value'} of type {_kind(value)}; it must be {' or '.join(wanted)}"
    if error.validator in ("minimum", "maximum"):
        sign = ">=" if error.validator == "minimum" else "<="
        return f"{where} has {key}={value!r}; it must be {sign} {error.validator_value}"
    if error.validator in ("minItems", "minLength"):
        return f"{where} has an empty {key}"
    if error.validator == "uniqueItems":
        return f"{where} repeats a value in {key}"
    return f"{where} has an invalid {key or 'shape'}"


def _kind(value: object) -> str:
    return {
        dict: "object",
        list: "array",
        str: "string",
        bool: "boolean",
        int: "integer",
        float: "number",
        type(None): "null",
    }.get(type(value), "unknown")


def _field(item: Mapping[str, Any], missing: tuple[str, ...]) -> Field:
    name, kind = item["name"], item["type"]
    kind_of_bounds = kind
    if kind == "duration" and item.get("dp:role") != "identifier":
        item, kind_of_bounds = durations.in_steps(item), "integer"
    constraints = {**item.get("constraints", {})}
    anchor = item.get("dp:anchor")
    if anchor is not None:
        constraints, kind_of_bounds = _offset(name, item, constraints), "integer"
    elif "dp:offset" in item:
        raise SchemaError(f'field {name!r} has dp:offset without dp:anchor; name the date it is counted from, e.g. "dp:anchor": "admitted"')
    hierarchy = item.get("dp:hierarchy")
    found = item.get("dp:categories") == DP
    if isinstance(hierarchy, str) and hierarchy in CLASSIFICATIONS and "categories" not in item and not found:
        item = {**item, "categories": list(CLASSIFICATIONS[hierarchy][0]())}
    categories = [c if isinstance(c, Mapping) else {"value": c} for c in item["categories"]] if "categories" in item else None
    labelled = categories is not None and any("label" in c for c in categories)
    required = constraints.get("required")
    nullable = item.get("dp:nullable")
    if required and nullable:
        raise SchemaError(f"field {name!r} has constraints.required and dp:nullable; keep one")
    listed = item.get("categoriesOrdered", item.get("dp:ordered"))
    if "categoriesOrdered" in item and "dp:ordered" in item and item["categoriesOrdered"] != item["dp:ordered"]:
        raise SchemaError(f"field {name!r} has categoriesOrdered and dp:ordered, and they differ; keep one")
    numeric = kind not in ("string", "boolean")
    if numeric and listed is False:
        raise SchemaError(f'field {name!r} has type={kind}, which is ordered; for codes use "type": "string" with categories')
    if kind == "boolean" and listed:
        raise SchemaError(f"field {name!r} has type=boolean, which is not ordered")
    bins = item.get("dp:bins")
    other, unseen = item.get("dp:other", OTHER if found else None), item.get("dp:unseen")
    return Field(
        name=name,
        type=kind,
        title=item.get("title", ""),
        description=item.get("description", ""),
        role=item.get("dp:role", "other"),
        categories=None if categories is None else tuple(_text(c["value"]) for c in categories),
        labels=tuple(c.get("label", _text(c["value"])) for c in categories) if categories is not None and labelled else None,
        ordered=numeric or bool(listed),
        minimum=_bound(name, kind_of_bounds, "constraints.minimum", constraints.get("minimum")),
        maximum=_bound(name, kind_of_bounds, "constraints.maximum", constraints.get("maximum")),
        nullable=bool(nullable) if nullable is not None else required is False,
        other=None if other is None else _text(other),
        unseen=_unseen(name, kind_of_bounds, unseen),
        missing_values=tuple(item.get("missingValues", missing)),
        true_values=tuple(item.get("trueValues", TRUE_VALUES)),
        false_values=tuple(item.get("falseValues", FALSE_VALUES)),
        bins=tuple(_bound(name, kind_of_bounds, "dp:bins", edge) for edge in bins) if isinstance(bins, list) else _whole(bins),
        spikes=tuple(_bound(name, kind_of_bounds, "dp:spikes", spike) for spike in item.get("dp:spikes", ())),
        resolution=item.get("dp:resolution"),
        format=item.get("format"),
        decimal=item.get("decimalChar", "."),
        fake=item.get("dp:fake"),
        pattern=item.get("dp:pattern"),
        hierarchy=tuple(hierarchy.items()) if isinstance(hierarchy, Mapping) else hierarchy,
        group=item.get("dp:group", False),
        static=item.get("dp:static", False),
        area_population=_whole(item.get("dp:areaPopulation")),
        anchor=anchor,
        open=found,
        minimum_count=_whole(item.get("dp:minimumCount")),
    )


def _offset(name: str, item: Mapping[str, Any], constraints: Mapping[str, Any]) -> dict[str, Any]:
    """The constraints of an anchored column, with the bounds of its distance."""
    for key in ("minimum", "maximum"):
        if key in constraints:
            raise SchemaError(
                f"field {name!r} has constraints.{key} beside dp:anchor; its bounds are those of the distance, "
                'e.g. "dp:offset": {"minimum": 0, "maximum": 365}'
            )
    return {**constraints, **item.get("dp:offset", {})}


def _text(value: object) -> str:
    """A declared category as text; whole numbers without a decimal point."""
    return str(_whole(value))


def _unseen(name: str, kind: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    return _text(value) if kind == "string" else _bound(name, kind, "dp:unseen", value)


def _bound(name: str, kind: str, key: str, value: Any) -> Any:
    """A declared value of an ordered column, in the type of the column. ``Field`` refuses what is of another type."""
    if value is None or kind in ("string", "boolean"):
        return value
    if kind in ("date", "datetime"):
        if not isinstance(value, str):
            raise SchemaError(f'field {name!r} has {key}={value!r}; write a {kind} as text, e.g. "2000-01-01"')
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise SchemaError(f'field {name!r} has {key}={value!r}, which is not an ISO 8601 {kind}, e.g. "2000-01-01"') from None
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        return moment if kind == "datetime" else moment.date()
    return _whole(value) if kind == "integer" else value


def _whole(value: Any) -> Any:
    """JSON does not tell 10 from 10.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _show(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else repr(value)
