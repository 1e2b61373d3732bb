"""Public hierarchies of codes: which codes are alike, so that rare ones are merged with their own kind and not with each other.

ICD-9-CM: chapters and the form of its codes are those of the classification's tabular list (World Health Organization; National Center for
Health Statistics, in the public domain). Every number of a chapter's range is a category, used or not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

ICD9 = "icd9"
PREFIX = "prefix:"

_CHAPTERS = (
    1, 140, 240, 280, 290, 320, 390, 460, 520, 580, 630, 680, 710, 740, 760, 780, 800,
)  # fmt: skip
"""First category of each chapter: infections, neoplasms, endocrine, blood, mental, nervous, circulatory, respiratory, digestive,
genitourinary, pregnancy, skin, musculoskeletal, congenital, perinatal, symptoms, injuries."""

_CODE = re.compile(r"([EeVv]?)(\d{1,3})(?:\.\d*)?")


@cache
def icd9_categories() -> tuple[str, ...]:
    """All three-character categories (four with E): 001 to 999, V01 to V91, E000 to E999."""
    return (
        *(f"{number:03d}" for number in range(1, 1000)),
        *(f"V{number:02d}" for number in range(1, 92)),
        *(f"E{number:03d}" for number in range(1000)),
    )


def icd9_category(text: str) -> str | None:
    """The category of a code as tables write it, with or without a subdivision and leading zeros; None if it is none.

    >>> icd9_category("250.83"), icd9_category("8"), icd9_category("v57.1"), icd9_category("E909")
    ('250', '008', 'V57', 'E909')
    """
    found = _CODE.fullmatch(text.strip())
    if found is None:
        return None
    letter, number = found[1].upper(), int(found[2])
    return f"V{number:02d}" if letter == "V" else f"{letter}{number:03d}"


def parents(categories: Sequence[str], hierarchy: str | Sequence[tuple[str, str]]) -> tuple[int, ...]:
    """The number of the parent of each category."""
    if isinstance(hierarchy, str):
        names = [_icd9_chapter(c) if hierarchy == ICD9 else c[: int(hierarchy.removeprefix(PREFIX))] for c in categories]
    else:
        given = dict(hierarchy)
        names = [given[category] for category in categories]
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(name, len(numbers)) for name in names)


def _icd9_chapter(category: str) -> str:
    code = icd9_category(category)
    if code is None or not code.isdigit():
        return "other" if code is None else code[0]
    return str(sum(first <= int(code) for first in _CHAPTERS))
