"""A small population with rare values, negative numbers and awkward category names, and generators that leak or do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from audits.result import AuditInput, Claim, Column

REGIONS = ["north", "south", "O'Brien's \"end\"", 'back\\slash"', "east; DROP", "west\n", "überall", "plain", "a,b", "c'd"]
JOBS = [f"job {i}" for i in range(15)]
CONDITIONS = ["none", "flu", "asthma", "gout", "burn", "graft"]

COLUMNS = (
    Column("region", "categorical", group=True),
    Column("sex", "categorical", group=True),
    Column("job", "categorical"),
    Column("age", "ordered", minimum=0, maximum=99),
    Column("balance", "ordered", minimum=-200, maximum=200),
    Column("visits", "ordered", nullable=True),
    Column("since", "ordered"),
    Column("condition", "categorical", role="sensitive"),
    Column("smoker", "categorical", role="target"),
)
CLAIM = Claim("person", 1, "add_remove", rho=0.02, epsilon=1.0, delta=1e-6)


def population(n: int, seed: int) -> pd.DataFrame:
    """``n`` independent people."""
    rng = np.random.default_rng(seed)
    age = rng.integers(0, 100, n)
    job = rng.integers(0, len(JOBS), n)
    visits = rng.poisson(1 + age / 40, n).astype(float)
    visits[rng.random(n) < 0.1] = np.nan
    condition = (job + rng.integers(0, 4, n) + (age > 60)) % len(CONDITIONS)
    return pd.DataFrame({
        "region": np.array(REGIONS, dtype=object)[rng.choice(len(REGIONS), n, p=_zipf(len(REGIONS)))],
        "sex": np.where(rng.random(n) < 0.5, "f", "m").astype(object),
        "job": np.array(JOBS, dtype=object)[job],
        "age": age,
        "balance": np.round(rng.normal(0, 60, n) + job - 7).clip(-200, 200),
        "visits": visits,
        "since": pd.Timestamp("2000-01-01") + pd.to_timedelta(365 * rng.integers(0, 24, n), unit="D"),
        "condition": np.array(CONDITIONS, dtype=object)[condition],
        "smoker": np.where(rng.random(n) < 0.1 + 0.3 * (age < 40), "yes", "no").astype(object),
    })  # fmt: skip


def _zipf(k: int) -> npt.NDArray[np.float64]:
    weights = 1.0 / np.arange(1, k + 1)
    return weights / weights.sum()


@dataclass(frozen=True)
class World:
    """A training table, the cohort's members in it, and the strangers that a coin kept out."""

    train: pd.DataFrame
    control: pd.DataFrame
    members: npt.NDArray[np.int64]
    train_units: npt.NDArray[np.int64]
    control_units: npt.NDArray[np.int64]

    def given(self, synthetic: pd.DataFrame, **changes: Any) -> AuditInput:
        """The audit input of a release, by default with fair coins and CLAIM."""
        found = AuditInput(
            synthetic=synthetic, columns=COLUMNS, train=self.train, control=self.control, members=self.members,
            train_units=self.train_units, control_units=self.control_units, claim=CLAIM, alpha=0.01,
        )  # fmt: skip
        return replace(found, **changes)


def world(seed: int = 0, n: int = 1800, cohort: int = 1200, rows_each: int = 1) -> World:
    """``n`` units, of which ``cohort`` flip coins; each unit has one to ``rows_each`` rows."""
    rng = np.random.default_rng([seed, 1])
    flips = rng.random(cohort) < 0.5
    inside = np.concatenate([np.ones(n - cohort, dtype=bool), flips])
    ids = rng.permutation(10 * n)[:n]
    repeats = rng.integers(1, rows_each + 1, n)
    owner = np.repeat(np.arange(n), repeats)
    table = population(len(owner), seed)
    stay = inside[owner]
    return World(
        train=table[stay].reset_index(drop=True),
        control=table[~stay].reset_index(drop=True),
        members=ids[n - cohort :][flips],
        train_units=ids[owner[stay]],
        control_units=ids[owner[~stay]],
    )


def copy(w: World) -> pd.DataFrame:
    """Releases the training table in another order."""
    return w.train.sample(frac=1, random_state=3).reset_index(drop=True)


def nearly_copy(w: World) -> pd.DataFrame:
    """Changes one cell in a hundred."""
    rng = np.random.default_rng(4)
    out = copy(w)
    for name in out.columns:
        mask = rng.random(len(out)) < 0.01
        values = out[name].to_numpy(copy=True)
        values[mask] = rng.permutation(values)[mask]
        out[name] = values
    return out


def bootstrap(w: World) -> pd.DataFrame:
    """Draws training rows with replacement."""
    return w.train.sample(len(w.train), replace=True, random_state=5).reset_index(drop=True)


def independent(w: World) -> pd.DataFrame:
    """Every column by itself, from another sample of the population."""
    other = population(len(w.train), 991)
    return pd.DataFrame({c: other[c].sample(frac=1, random_state=i).to_numpy() for i, c in enumerate(other.columns)})


def strangers(w: World) -> pd.DataFrame:
    """Other people altogether: perfect fidelity, nothing about anybody in training."""
    return population(len(w.train), 992)


LEAKY: dict[str, Callable[[World], pd.DataFrame]] = {"copy": copy, "nearly_copy": nearly_copy, "bootstrap": bootstrap}
QUIET: dict[str, Callable[[World], pd.DataFrame]] = {"independent": independent, "strangers": strangers}
