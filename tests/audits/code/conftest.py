"""Shared pieces: how an audit is given a mechanism and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from audits.result import AuditInput, Mechanism
from tests.audits.code.reference import COLUMNS


@pytest.fixture
def given() -> Callable[..., AuditInput]:
    """An input with a mechanism, a transcript or neither; no record of anybody."""

    def make(mechanism: Mechanism | None = None, **rest: Any) -> AuditInput:
        return AuditInput(synthetic=pd.DataFrame(), columns=COLUMNS, mechanism=mechanism, **{"tier": "smoke", **rest})

    return make
