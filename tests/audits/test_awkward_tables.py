"""Tables as people bring them: the right verdict or INCONCLUSIVE with a reason, never a crash and never a silent pass."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audits.registry import AUDITS
from audits.result import AuditError, AuditInput, Verdict
from audits.singling_out import Index, Predicate
from audits.tables import Prepared, fingerprints, infer_columns, labels, prepare
from tests.audits.people import COLUMNS, copy, population, strangers, world

RELEASE = [name for name, audit in AUDITS.items() if "train" in audit.needs and "anonymeter" not in audit.needs]
ANY = [*RELEASE, "direct_identifiers"]


def table(columns: dict[str, object], n: int) -> pd.DataFrame:
    return pd.DataFrame({name: np.resize(np.asarray(values, dtype=object), n) for name, values in columns.items()})


def given(train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame) -> AuditInput:
    columns = infer_columns([train, control, synthetic])
    return AuditInput(synthetic=synthetic, columns=columns, train=train, control=control, tier="smoke")


@pytest.mark.parametrize("name", RELEASE)
def test_constant_columns_prove_nothing(name: str) -> None:
    same = pd.DataFrame({"a": ["x"] * 300, "b": [1.0] * 300, "c": [None] * 300})
    result = AUDITS[name].run(given(same, same.copy(), same.copy()))

    assert result.verdict is Verdict.INCONCLUSIVE
    assert "alike" in result.reason


@pytest.mark.parametrize("name", RELEASE)
@pytest.mark.parametrize("kind", ["category", "number"])
def test_one_column(name: str, kind: str) -> None:
    rng = np.random.default_rng(2)
    make = (lambda: rng.choice(["a", "b", "c"], 400).astype(object)) if kind == "category" else (lambda: rng.normal(size=400))
    tables = [pd.DataFrame({"only": make()}) for _ in range(3)]
    result = AUDITS[name].run(given(*tables))

    assert result.verdict is not Verdict.VIOLATION
    if name in ("linkability", "attribute_inference", "outliers"):
        assert result.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", RELEASE)
def test_one_continuous_column_that_was_copied_is_flagged(name: str) -> None:
    if name in ("linkability", "attribute_inference", "outliers"):
        pytest.skip("needs two columns")
    rng = np.random.default_rng(1)
    train, control = (pd.DataFrame({"only": rng.normal(size=800)}) for _ in range(2))

    assert AUDITS[name].run(given(train, control, train.sample(frac=1, random_state=0))).verdict is Verdict.VIOLATION


@pytest.mark.parametrize("name", RELEASE)
def test_two_hundred_rows(name: str) -> None:
    people = world(seed=3, n=200, cohort=160)
    quiet = AUDITS[name].run(people.given(strangers(people), tier="smoke"))
    leaky = AUDITS[name].run(people.given(copy(people), tier="smoke"))

    assert quiet.verdict is not Verdict.VIOLATION
    assert leaky.verdict is not Verdict.NOT_FALSIFIED or leaky.detectable is not None
    if name in ("membership", "exact_copies"):
        assert leaky.verdict is Verdict.VIOLATION


@pytest.mark.parametrize("name", RELEASE)
def test_too_few_units_are_inconclusive(name: str) -> None:
    result = AUDITS[name].run(given(population(40, 1), population(40, 2), population(40, 3)))

    assert result.verdict is Verdict.INCONCLUSIVE
    assert "40 members" in result.reason


@pytest.mark.parametrize("name", RELEASE)
def test_no_control_is_inconclusive(name: str) -> None:
    data = AuditInput(synthetic=population(200, 1), columns=COLUMNS, train=population(200, 2))
    result = AUDITS[name].run(data)

    assert result.verdict is Verdict.INCONCLUSIVE
    assert "control" in result.reason


@pytest.mark.parametrize("name", ANY)
def test_an_empty_release_is_inconclusive(name: str) -> None:
    result = AUDITS[name].run(given(population(200, 1), population(200, 2), population(200, 3).iloc[:0]))

    assert result.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", RELEASE)
def test_a_control_from_another_population_is_inconclusive(name: str) -> None:
    """Even a copy: a shift alone would look like leakage, so nothing is concluded and nothing passes."""
    shifted = population(900, 2)
    shifted["age"] = (shifted["age"] // 2 + 40).clip(0, 99)
    for synthetic in (population(900, 3), population(900, 1)):
        result = AUDITS[name].run(given(population(900, 1), shifted, synthetic))

        assert result.verdict is Verdict.INCONCLUSIVE
        assert "population" in result.reason


def test_a_control_cut_from_train_is_inconclusive() -> None:
    train = population(900, 1)
    result = AUDITS["membership"].run(given(train, train.iloc[:300].copy(), population(900, 3)))

    assert result.verdict is Verdict.INCONCLUSIVE
    assert "reappear" in result.reason


def test_units_on_both_sides_are_inconclusive() -> None:
    people = world(seed=3, n=300, cohort=250)
    ids = people.control_units.copy()
    ids[0] = people.train_units[0]
    result = AUDITS["membership"].run(people.given(strangers(people), control_units=ids))

    assert result.verdict is Verdict.INCONCLUSIVE
    assert "share units" in result.reason


@pytest.mark.parametrize("name", RELEASE)
def test_people_who_are_duplicates_of_each_other(name: str) -> None:
    """Few distinct rows, each held by many members and many strangers: nobody is exposed."""
    kinds = {"a": ["x", "y", "z"], "b": [1, 2, 3]}
    rng = np.random.default_rng(0)
    tables = [table(kinds, 600).sample(frac=1, random_state=int(rng.integers(99))) for _ in range(3)]

    assert AUDITS[name].run(given(*tables)).verdict is not Verdict.VIOLATION


def test_zero_predicates_are_inconclusive() -> None:
    two = pd.DataFrame({"a": ["x", "y"] * 300, "b": [0, 1, 1, 0] * 150})
    result = AUDITS["singling_out"].run(given(two, two.copy(), two.copy()))

    assert result.verdict is Verdict.INCONCLUSIVE
    assert "too few" in result.reason


def test_a_release_with_values_nobody_had() -> None:
    people = world(seed=4, n=500, cohort=400)
    odd = strangers(people).assign(region="nowhere", age=10_000.0, visits=-np.inf)

    for name in RELEASE:
        assert AUDITS[name].run(people.given(odd, tier="smoke")).verdict is not Verdict.VIOLATION


def test_columns_are_inferred_from_types() -> None:
    frame = population(20, 0).assign(flag=True, digits="12")
    kinds = {c.name: (c.kind, c.nullable) for c in infer_columns({"train": frame, "synthetic": frame.drop(columns="sex")})}

    assert kinds["age"] == ("ordered", False)
    assert kinds["since"][0] == "ordered"
    assert kinds["visits"] == ("ordered", True)
    assert kinds["flag"][0] == kinds["digits"][0] == kinds["region"][0] == "categorical"
    assert "sex" not in kinds


def test_tables_with_nothing_in_common_are_refused() -> None:
    with pytest.raises(AuditError, match="no column in common"):
        infer_columns([pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})])
    with pytest.raises(AuditError, match="no table"):
        infer_columns([])


def test_a_missing_column_is_named() -> None:
    with pytest.raises(AuditError, match="'age' is not in the control table"):
        prepare(AuditInput(synthetic=population(5, 0), columns=COLUMNS, control=population(5, 1).drop(columns="age")))


def test_units_must_fit_their_table() -> None:
    data = prepare(AuditInput(synthetic=population(5, 0), columns=COLUMNS, train=population(5, 1), train_units=np.arange(4)))
    with pytest.raises(AuditError, match="train_units"):
        _ = data.units


def coded(train: pd.DataFrame, synthetic: pd.DataFrame) -> Prepared:
    return prepare(AuditInput(synthetic=synthetic, columns=infer_columns([train, synthetic]), train=train))


def test_codes_of_missing_and_ordered_values() -> None:
    train = pd.DataFrame({"x": [3.0, np.nan, -1.0], "d": pd.to_datetime(["2020-01-02", None, "1999-12-31"])})
    data = coded(train, pd.DataFrame({"x": [-1.0, 7.0], "d": pd.to_datetime(["2020-01-02", "2021-01-01"])}))

    assert data.real.fine.tolist() == [[2, 2], [0, 0], [1, 1]]
    assert data.synth.fine.tolist() == [[1, 2], [3, 3]]
    assert labels(data, 0) == ["(missing)", "-1", "3", "7"]
    assert labels(data, 1)[1:] == ["1999-12-31", "2020-01-02", "2021-01-01"]


def test_coarse_codes_keep_the_order_and_the_limit() -> None:
    rng = np.random.default_rng(0)
    data = coded(pd.DataFrame({"x": rng.normal(size=500)}), pd.DataFrame({"x": rng.normal(size=500)}))
    fine, coarse = data.real.fine[:, 0], data.real.coarse[:, 0]

    assert coarse.max() <= 33 and coarse.min() >= 1
    assert (np.diff(coarse[np.argsort(fine)]) >= 0).all()


def test_fingerprints_are_equal_exactly_where_rows_are() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (2000, 5)).astype(np.int32)
    _, expected = np.unique(codes, axis=0, return_inverse=True)
    _, found = np.unique(fingerprints(codes), return_inverse=True)

    assert len(set(zip(expected.reshape(-1).tolist(), found.reshape(-1).tolist(), strict=True))) == len(set(found.tolist()))
    assert len(set(found.tolist())) == len(set(expected.reshape(-1).tolist()))


def test_predicates_match_what_they_say() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 6, (300, 4)).astype(np.int32)
    index = Index.of(codes)
    for _ in range(200):
        columns = tuple(sorted(rng.choice(4, rng.integers(1, 5), replace=False).tolist()))
        predicate = Predicate(columns, tuple(rng.integers(1, 6, len(columns)).tolist()), tuple(rng.integers(-1, 2, len(columns)).tolist()))
        expected = np.ones(300, dtype=bool)
        for j, code, direction in zip(predicate.columns, predicate.codes, predicate.directions, strict=True):
            x = codes[:, j]
            expected &= (x == code) if direction == 0 else (x >= code) if direction > 0 else (x <= code) & (x > 0)

        assert sorted(index.matches(predicate).tolist()) == np.flatnonzero(expected).tolist()
