"""Check digits against published examples; columns of facts are left alone, columns of identifiers are not."""

from __future__ import annotations

import pandas as pd
import pytest

from audits.direct_identifiers import CHECKS, card_number, find_direct_identifiers, iban, luhn, scan_content
from audits.result import AuditInput, Column, Verdict
from audits.tables import infer_columns
from tests.audits.people import COLUMNS, population

CARD = "4539578763621486"  # a made-up number with a valid check digit


@pytest.mark.parametrize("digits", ["79927398713", "4111111111111111", "378282246310005", CARD])
def test_luhn(digits: str) -> None:
    assert luhn(digits)
    assert not luhn(digits[:-1] + str((int(digits[-1]) + 1) % 10))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CARD, True),
        ("4539 5787 6362 1486", True),
        ("4111111111111111", False),  # published test number
        ("0000000000000000", False),
        ("9999999999999995", False),  # no issuer
        ("4539578763621487", False),  # check digit
        ("45395787636214", False),  # too short for its digit
    ],
)
def test_card_numbers(text: str, expected: bool) -> None:
    assert card_number(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GB82 WEST 1234 5698 7654 32", True),
        ("DE89370400440532013000", True),
        ("DE89370400440532013001", False),
        ("DE8937040044053201300", False),
        ("ZZ82WEST12345698765432", False),
    ],
)
def test_iban(text: str, expected: bool) -> None:
    assert iban(text) is expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("e-mail", "a.person+tag@mail.example.org"),
        ("payment card", CARD),
        ("IBAN", "FR1420041010050500013M02606"),
        ("US social security number", "219-09-9999"),
        ("UK national insurance number", "QQ123456C".replace("QQ", "AB")),
        ("telephone number", "+44 20 7946 0958"),
        ("telephone number", "(212) 555-0188"),
        ("street address", "12 Old Church Road"),
    ],
)
def test_one_value_is_enough(kind: str, value: str) -> None:
    frame = population(300, 0)
    frame.loc[7, "job"] = value
    result = find_direct_identifiers(AuditInput(synthetic=frame, columns=COLUMNS))

    assert result.verdict is Verdict.VIOLATION
    assert result.details["columns"] == {"job": {kind: 1}}
    assert value not in str(result.to_dict())


def test_columns_of_names_and_numbers() -> None:
    first, last = ("Ann", "Bob", "Cyd", "Dee", "Eve", "Fay", "Gil", "Hal"), "Car Dan Erik Fer John Jack Will Robin"
    names = [f"{a} {b}son" for a in first for b in last.split()]
    frame = pd.DataFrame({"who": names, "address": [f"place {i}" for i in range(64)], "fine": ["x"] * 64})
    result = find_direct_identifiers(AuditInput(synthetic=frame, columns=infer_columns([frame])))

    assert set(result.details["columns"]) == {"who", "address"}


def test_facts_are_left_alone() -> None:
    frame = pd.DataFrame({
        "date": ["2020-01-02", "1999-12-31"] * 50,
        "icd": ["250.01", "V45.1", "E10"] + ["401.9"] * 97,
        "code": [f"{i:010d}" for i in range(100)],
        "telephone": ["yes", "no"] * 50,
        "amount": [1e12 + i for i in range(100)],
        "native_country": ["United-States", "El-Salvador"] * 50,
        "title": ["Sales Manager", "Data Analyst"] * 50,
    })  # fmt: skip
    result = find_direct_identifiers(AuditInput(synthetic=frame, columns=infer_columns([frame])))

    assert result.verdict is Verdict.NOT_FALSIFIED, result.details
    assert result.detectable == 1.0


def test_identifier_columns_are_exempt_but_their_cards_are_counted() -> None:
    frame = pd.DataFrame({"card": [CARD, "4111111111111111"], "x": [1, 2]})
    columns = (Column("card", "categorical", role="identifier"), Column("x", "ordered"))

    assert find_direct_identifiers(AuditInput(synthetic=frame, columns=columns)).verdict is Verdict.NOT_FALSIFIED
    assert scan_content(frame, columns) == {"luhn_valid_pan_outside_test_bins": 1, "identifier_like_columns": []}


def test_cards_kept_as_numbers_are_found() -> None:
    frame = pd.DataFrame({"n": [int(CARD), 5, None]}, dtype="Int64")

    assert scan_content(frame, [Column("n", "ordered")])["luhn_valid_pan_outside_test_bins"] == 1


def test_categories_declared_from_data_are_found_even_unreleased() -> None:
    frame = pd.DataFrame({"c": ["a", "b"]})
    columns = (Column("c", "categorical", categories=("a", "b", "someone@example.org")),)

    assert find_direct_identifiers(AuditInput(synthetic=frame, columns=columns)).verdict is Verdict.VIOLATION


def test_every_kind_has_a_test_value_count() -> None:
    assert all(least >= 1 and 0 <= share <= 1 for _, least, share in CHECKS.values())
