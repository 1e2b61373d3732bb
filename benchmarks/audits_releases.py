"""Coded tables and releases in the form that the audits take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from audits.result import Column
from dpsynth.marginals import CodedTable, Domain
from dpsynth.privacy import PrivateData


def as_audited(private: PrivateData, synthetic: CodedTable) -> dict[str, Any]:
    """Train, control, cohort, transcript and synthetic table of one fit, as keyword arguments of an audit."""
    read = private.read_for_audit()
    return {
        "train": frame_of(read.train),
        "control": frame_of(read.control),
        "synthetic": frame_of(synthetic),
        "columns": columns_of(synthetic.domain),
        "train_units": read.train_units,
        "control_units": read.control_units,
        "members": read.members,
        "transcript": private.transcript(),
    }


def columns_of(domain: Domain) -> tuple[Column, ...]:
    """The public facts of coded columns."""
    return tuple(Column(a.name, "ordered" if a.ordered else "categorical") for a in domain)


def frame_of(table: CodedTable) -> pd.DataFrame:
    """Codes as numbers where they have an order, as words where not."""
    return pd.DataFrame({
        a.name: table.columns[a.name].astype(np.float64) if a.ordered else table.columns[a.name].astype(str).astype(object)
        for a in table.domain
    })  # fmt: skip
