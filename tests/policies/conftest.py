"""Evidence that every shipped policy permits, and a moment at which to judge it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import policies

CASES = Path(__file__).parent / "cases"


@pytest.fixture(scope="session")
def cases() -> Path:
    return CASES


@pytest.fixture(scope="session")
def _good() -> dict[str, Any]:
    return policies.load_evidence(CASES / "evidence-good.json")


@pytest.fixture
def evidence(_good: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(_good)


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2026, 11, 22, 12, tzinfo=UTC)
