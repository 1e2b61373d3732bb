"""Public hierarchies of codes: which codes are alike, so that rare ones are merged with their own kind and not with each other.

ICD-9-CM and ICD-10-CM: chapters and the form of codes are those of the classifications' tabular lists (World Health Organization; National
Center for Health Statistics, in the public domain). Every number of a chapter's range is a category, used or not.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache

ICD9 = "icd9"
ICD10 = "icd10"
PREFIX = "prefix:"

_CHAPTERS = (
    1, 140, 240, 280, 290, 320, 390, 460, 520, 580, 630, 680, 710, 740, 760, 780, 800,
)  # fmt: skip
"""First category of each chapter: infections, neoplasms, endocrine, blood, mental, nervous, circulatory, respiratory, digestive,
genitourinary, pregnancy, skin, musculoskeletal, congenital, perinatal, symptoms, injuries."""

_CODE = re.compile(r"([EeVv]?)(\d{1,3})(?:\.\d*)?")

_CHAPTERS_10 = (
    "A00", "C00", "D50", "E00", "F00", "G00", "H00", "H60", "I00", "J00", "K00", "L00", "M00", "N00", "O00", "P00", "Q00", "R00", "S00",
    "U00", "V00", "Z00",
)  # fmt: skip
"""First category of each chapter: infections, neoplasms, blood, endocrine, mental, nervous, eye, ear, circulatory, respiratory, digestive,
skin, musculoskeletal, genitourinary, pregnancy, perinatal, congenital, symptoms, injuries, special purposes, external causes, contacts."""

# Categories of ICD-10-CM whose last character is a letter.
_LETTERED_10 = ("C4A", "C7A", "C7B", "D3A", "M1A", "O9A", "Z3A")
# Claims files leave the point out; ICD-10-CM codes have up to four characters behind it, with X where one is empty.
_CODE_10 = re.compile(r"([A-Z]\d[0-9AB])(?:\.?[0-9A-Z]{1,4}|\.)?")


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


@cache
def icd10_categories() -> tuple[str, ...]:
    """All three-character categories: A00 to Z99, and the seven of ICD-10-CM that end in a letter."""
    numbered = (f"{letter}{number:02d}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for number in range(100))
    return tuple(sorted((*numbered, *_LETTERED_10)))


def icd10_category(text: str) -> str | None:
    """The category of a code as tables write it, with or without its point; None if it is none.

    >>> icd10_category("E11.65"), icd10_category("s72001a"), icd10_category("Z3A.38"), icd10_category("250.83")
    ('E11', 'S72', 'Z3A', None)
    """
    found = _CODE_10.fullmatch(text.strip().upper())
    if found is None or (found[1][2].isalpha() and found[1] not in _LETTERED_10):
        return None
    return found[1]


CLASSIFICATIONS: dict[str, tuple[Callable[[], tuple[str, ...]], Callable[[str], str | None]]] = {
    ICD9: (icd9_categories, icd9_category),
    ICD10: (icd10_categories, icd10_category),
}
"""Hierarchies that bring their categories, and how the category of a finer code is told."""


def parents(categories: Sequence[str], hierarchy: str | Sequence[tuple[str, str]]) -> tuple[int, ...]:
    """The number of the parent of each category."""
    if isinstance(hierarchy, str):
        names = [_group(category, hierarchy) for category in categories]
    else:
        given = dict(hierarchy)
        names = [given[category] for category in categories]
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(name, len(numbers)) for name in names)


def _group(category: str, hierarchy: str) -> str:
    if hierarchy == ICD9:
        return _icd9_chapter(category)
    if hierarchy == ICD10:
        return _icd10_chapter(category)
    return category[: int(hierarchy.removeprefix(PREFIX))]


def _icd10_chapter(category: str) -> str:
    code = icd10_category(category)
    return "other" if code is None else str(bisect_right(_CHAPTERS_10, code))


def _icd9_chapter(category: str) -> str:
    code = icd9_category(category)
    if code is None or not code.isdigit():
        return "other" if code is None else code[0]
    return str(sum(first <= int(code) for first in _CHAPTERS))
