"""Direct identifiers: values that look like a person's address in the world, in any column that would be released.

Patterns with a check digit are checked. Nothing here needs the real records; when train is given, copied values are
counted too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from audits.result import AuditInput, AuditResult, Column, Verdict
from audits.verdicts import inconclusive

if TYPE_CHECKING:
    import pandas as pd

TEST_CARDS = frozenset({
    "4111111111111111", "4242424242424242", "4012888888881881", "4000056655665556", "4222222222222", "5555555555554444",
    "5105105105105100", "5200828282828210", "2223003122003222", "378282246310005", "371449635398431", "378734493671000",
    "6011111111111117", "6011000990139424", "30569309025904", "38520000023237", "3566002020360505", "3530111333300000",
})  # fmt: skip
"""Card numbers that payment networks publish for testing."""

_ISSUERS = re.compile(r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|3(?:0[0-5]|[68])|35(?:2[89]|[3-8])|6(?:011|4[4-9]|5)")
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d{2})",
        "AD24 AE23 AT20 BE16 BG22 BH22 BR29 CH21 CR22 CY28 CZ24 DE22 DK18 EE20 ES24 FI18 FR27 GB22 GE22 GR27 "
        "HR21 HU28 IE22 IL23 IS26 IT27 KW30 LB28 LI21 LT20 LU20 LV21 MC27 MT31 NL18 NO15 PK24 PL28 PT25 QA29 "
        "RO24 RS22 SA24 SE24 SI19 SK24 SM27 TR26 UA29",
    )
}
_MANY_VALUES = 50
_NAMES = re.compile(
    r"(?:^|[_\s.-])"
    r"(?:(?:first|last|given|family|full|maiden|sur|middle|patient|customer|client)[_\s.-]?names?|surname|e[_-]?mail|"
    r"phone|telephone|mobile|fax|ssn|iban|passport|street|address|licen[cs]e|mrn|"
    r"national[_\s-]?id|tax[_\s-]?id|nhs[_\s-]?number)"
    r"(?:$|[_\s.-])",
    re.IGNORECASE,
)


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def card_number(text: str) -> bool:
    """A payment card number of a known issuer range with a valid check digit that is not a published test number."""
    digits = re.sub(r"[ -]", "", text)
    return (
        bool(re.fullmatch(r"[0-9]{13,19}", digits))
        and bool(_ISSUERS.match(digits))
        and len(set(digits)) > 1
        and digits not in TEST_CARDS
        and luhn(digits)
    )


def iban(text: str) -> bool:
    """An international bank account number: country length and remainder 1 modulo 97 (ISO 13616-1)."""
    compact = text.replace(" ", "").upper()
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", compact) or _IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _nhs_number(text: str) -> bool:
    digits = re.sub(r"[ -]", "", text)
    if not re.fullmatch(r"[0-9]{10}", digits) or len(set(digits)) == 1:
        return False
    check = 11 - sum(int(c) * (10 - i) for i, c in enumerate(digits[:9])) % 11
    return check % 11 == int(digits[9])


def _spanish_id(text: str) -> bool:
    found = re.fullmatch(r"([0-9]{8})-?([A-HJ-NP-TV-Z])", text.upper())
    return bool(found) and "TRWAGMYFPDXBNJZSQVHLCKE"[int(found[1]) % 23] == found[2]  # type: ignore[index]


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


CHECKS: dict[str, tuple[Callable[[str], bool], int, float]] = {
    # kind: (test of one value, distinct values needed, share of the column's distinct values needed)
    "e-mail": (_matches(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}"), 1, 0.0),
    "payment card": (card_number, 1, 0.0),
    "IBAN": (iban, 1, 0.0),
    "US social security number": (_matches(r"(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}"), 1, 0.0),
    "UK national insurance number": (
        _matches(r"(?i)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]"), 1, 0.0
    ),
    "telephone number": (
        _matches(r"\+\d[\d ().-]{6,18}\d|\(\d{3}\) ?\d{3}[ .-]\d{4}|[2-9]\d{2}[-.][2-9]\d{2}[-.]\d{4}"), 1, 0.0
    ),
    "Spanish identity number": (_spanish_id, 2, 0.5),
    # A tenth of random ten-digit numbers passes; a column of them does not.
    "NHS number": (_nhs_number, 5, 0.9),
    "personal name": (
        _matches(r"[A-Z][a-z]+(?:[-'][A-Z][a-z]+)?,? (?:[A-Z]\.? )?[A-Z][a-z]+(?:[-'][A-Z][a-z]+)?"), 50, 0.8
    ),
    "IP address": (_matches(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)"), 3, 0.5),
    "street address": (
        _matches(r"\d{1,5}[A-Za-z]? (?:[A-Z][a-z]+ ){1,3}(?:St|Street|Ave|Avenue|Road|Rd|Lane|Drive|Blvd|Way)\.?"),
        1,
        0.0,
    ),
}  # fmt: skip


def scan_content(frame: pd.DataFrame, columns: Iterable[Column]) -> dict[str, Any]:
    """What a table would disclose by its values alone: card numbers, and columns that look like identifiers. Counts
    and column names only."""
    cards, flagged = 0, []
    for column in columns:
        found = _scan(frame, column)
        cards += found.get("payment card", 0)
        if column.role != "identifier" and (found or _named(frame, column)):
            flagged.append(column.name)
    return {"luhn_valid_pan_outside_test_bins": cards, "identifier_like_columns": flagged}


def find_direct_identifiers(data: AuditInput) -> AuditResult:
    """Flag every released column with values (or a name) of a direct identifier; identifier columns are generated,
    hence exempt."""
    started, name = time.perf_counter(), "direct_identifiers"
    if len(data.synthetic) == 0:
        return inconclusive(name, data, started, "the synthetic table is empty")
    flagged: dict[str, dict[str, int]] = {}
    checked = 0
    for column in data.columns:
        if column.role == "identifier":
            continue
        checked += 1
        found = _scan(data.synthetic, column)
        if column.categories:
            for kind, count in _kinds(column.categories).items():
                found[f"declared category: {kind}"] = count
        if _named(data.synthetic, column):
            found["column name"] = 1
        if found:
            flagged[column.name] = found
    verdict = Verdict.VIOLATION if flagged else Verdict.NOT_FALSIFIED
    return AuditResult(
        name=name,
        verdict=verdict,
        value=float(len(flagged)),
        interval=(float(len(flagged)), None),
        confidence=1.0,
        n=checked,
        detectable=1.0,
        detectable_unit="columns with a well-formed identifier",
        claim_digest=data.claim.digest if data.claim else None,
        seconds=time.perf_counter() - started,
        reason=f"{len(flagged)} of {checked} columns look like direct identifiers",
        details={"columns": flagged},
    )


def _named(frame: pd.DataFrame, column: Column) -> bool:
    """A column called after an identifier, with as many values as one: "telephone: yes or no" is no number."""
    return bool(_NAMES.search(column.name)) and int(frame[column.name].nunique()) >= _MANY_VALUES


def _scan(frame: pd.DataFrame, column: Column) -> dict[str, int]:
    import pandas as pd

    series = frame[column.name].dropna()
    if column.kind == "ordered":
        if not pd.api.types.is_numeric_dtype(series.dtype):
            return {}
        # Of numbers only those long enough for a card; the columns that hold amounts have none.
        values = series[(series >= 1e12) & (series < 1e19)].unique()
        count = sum(card_number(str(int(value))) for value in values)
        return {"payment card": count} if count else {}
    return _kinds(str(value) for value in series.astype(object).unique())


def _kinds(values: Iterable[str]) -> dict[str, int]:
    texts = [text.strip() for text in values]
    found = {}
    for kind, (test, least, share) in CHECKS.items():
        count = sum(map(test, texts))
        if count >= max(least, share * len(texts)):
            found[kind] = count
    return found
