"""Fitted models: files that round-trip and never run code, conditioning and marginals against the joint written out."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.encode import Encoder
from dpsynth.errors import ConfigError, InputError
from dpsynth.marginals import Attribute, CodedTable, Domain, Measurement, Recoding, count
from dpsynth.model import Refinement, SyntheticModel, load
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.schema import Schema
from dpsynth.synthesizers import Adaptive
from tests.dpsynth.pgm.joints import calibrated, joint_of, marginal_of

TRANSCRIPT = {"$schema": "dpsynth.transcript/1", "events": [{"kind": "gaussian", "rho": 0.1}]}


def _model(*, zeros: bool = False, encoder: Encoder | None = None) -> SyntheticModel:
    """Columns a (3 levels), b (6 levels, merged to 3 in the model), c (2) and an unconnected d (2)."""
    domain = Domain((Attribute("a", 3), Attribute("b", 6, ordered=True), Attribute("c", 2), Attribute("d", 2)))
    recoding = Recoding({"b": np.array([0, 0, 1, 2, 2, 2])})
    tree = junction_tree((3, 3, 2, 2), [(0, 1), (1, 2)])
    return SyntheticModel(
        synthesizer="toy",
        domain=domain,
        beliefs=calibrated(tree, 5, zeros=zeros, total=900.0),
        total=900.0,
        measurements=(
            Measurement(("a",), np.array([300.0, 300.0, 300.0]), 4.0),
            Measurement(("a", "c"), np.ones((3, 2)), 9.0),
            Measurement(("a", "d"), np.zeros((3, 2)), 2.0, "residual"),
        ),
        transcript=TRANSCRIPT,
        recoding=recoding,
        within={"b": np.array([1.0, 3.0, 2.0, 0.0, 5.0, 5.0])},
        encoder=encoder,
    )


def _joint(model: SyntheticModel) -> npt.NDArray[np.float64]:
    """The joint over full levels: merged cells spread by the shares within."""
    inside = np.array([0.25, 0.75, 1.0, 0.0, 0.5, 0.5])
    merged = np.take(joint_of(model.beliefs), [0, 0, 1, 2, 2, 2], axis=1)
    return np.asarray(merged * inside[None, :, None, None])


# --- files ----------------------------------------------------------------------------------------------------------------


def test_a_model_comes_back_from_its_file_the_same(tmp_path: Path) -> None:
    model = _model()
    model.save(tmp_path / "m.model")
    again = load(tmp_path / "m.model")
    assert (again.synthesizer, again.domain, again.total) == (model.synthesizer, model.domain, model.total)
    assert dict(again.transcript) == TRANSCRIPT
    np.testing.assert_array_equal(joint_of(again.beliefs), joint_of(model.beliefs))
    assert again.explain() == model.explain()
    for name in model.domain.names:
        np.testing.assert_array_equal(again.sample_codes(500, seed=3).columns[name], model.sample_codes(500, seed=3).columns[name])
    # Byte for byte, also the second time round.
    again.save(tmp_path / "n.model")
    assert (tmp_path / "m.model").read_bytes() == (tmp_path / "n.model").read_bytes() == model.to_bytes()


def test_a_model_file_holds_arrays_and_json_and_no_pickle(tmp_path: Path) -> None:
    _model().save(tmp_path / "m.model")
    with zipfile.ZipFile(tmp_path / "m.model") as archive:
        assert all(name == "model.json" or name.endswith(".npy") for name in archive.namelist())
        json.loads(archive.read("model.json"))
        for name in archive.namelist():
            if name.endswith(".npy"):
                np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)  # type: ignore[no-untyped-call]
    with np.load(tmp_path / "m.model", allow_pickle=False) as arrays:
        assert arrays["table_0"].dtype == np.float64


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        raise AssertionError("a model file was unpickled")


def _rewritten(path: Path, **changes: bytes | None) -> Path:
    """The file with members replaced, or left out where the change is None; ``json`` stands for model.json."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for key, data in changes.items():
        name = "model.json" if key == "json" else f"{key}.npy"
        if data is None:
            del members[name]
        else:
            members[name] = data
    out = path.with_suffix(".tampered")
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out


def _meta(path: Path, **changes: Any) -> bytes:
    with zipfile.ZipFile(path) as archive:
        meta = json.loads(archive.read("model.json"))
    return json.dumps({**meta, **changes}).encode()


def _array(array: npt.NDArray[Any], *, allow_pickle: bool = False) -> bytes:
    raw = io.BytesIO()
    np.lib.format.write_array(raw, array, allow_pickle=allow_pickle)  # type: ignore[no-untyped-call]
    return raw.getvalue()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "m.model"
    _model().save(path)
    return path


def test_an_array_that_would_have_to_be_unpickled_is_refused(saved: Path) -> None:
    pickled = _array(np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not a dpsynth model"):
        load(_rewritten(saved, table_0=pickled))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut short", pickle.dumps({"x": 1}), b"\x80\x04\x95"])
def test_a_foreign_file_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.model"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a dpsynth model"):
        load(path)


def test_a_file_that_is_not_there_and_a_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "nowhere.model")
    with pytest.raises(InputError):
        load(tmp_path)


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("no description", {"json": None}),
        ("not JSON", {"json": b"{"}),
        ("another format", {"json": b'{"format": "dpsynth.model/2"}'}),
        ("a list", {"json": b"[]"}),
        ("only a format", {"json": b'{"format": "dpsynth.model/1"}'}),
        ("a missing table", {"table_0": None}),
        ("a missing weight table", {"within_0": None}),
        ("a table cut short", {"table_0": _array(np.ones((2, 2)))[:-8]}),
    ],
)
def test_a_damaged_file_is_an_input_error(saved: Path, why: str, changes: dict[str, bytes | None]) -> None:
    with pytest.raises(InputError):
        load(_rewritten(saved, **changes))


@pytest.mark.parametrize(
    "spec",
    [
        {"total": "many"},
        {"tree": {"sizes": [3, 3, 2, 2], "cliques": [[0, 9]], "parents": [-1], "separators": [[]]}},
        {"tree": {}},
        {"domain": [{"name": "a", "size": 3}]},
        {"domain": [{"name": "a", "size": 0}]},
        {"domain": [{"name": "a", "colour": 3}]},
        {"measurements": [{"clique": ["a"], "stddev": 1.0}]},
        {"recoded": ["b", "c"]},
    ],
)
def test_a_description_that_does_not_fit_its_arrays_is_an_input_error(saved: Path, spec: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        load(_rewritten(saved, json=_meta(saved, **spec)))


@pytest.mark.parametrize("table", [np.ones((2, 2)), np.full((3, 3), np.nan), np.full((3, 3), -1.0), np.ones(9)])
def test_a_table_of_another_shape_or_without_meaning_is_an_input_error(saved: Path, table: npt.NDArray[np.float64]) -> None:
    with pytest.raises(InputError):
        load(_rewritten(saved, table_0=_array(table)))


# --- sampling -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 4000])
def test_rows_follow_the_joint_over_full_levels(rows: int) -> None:
    model = _model()
    table = model.sample_codes(rows, seed=0)
    assert table.domain == model.domain
    assert table.n_rows == rows
    for name in model.domain.names:
        assert table.columns[name].dtype == np.uint8
    joint = _joint(model)
    for pair in [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")]:
        expected = marginal_of(joint, [model.domain.names.index(n) for n in pair]) / 900.0 * rows
        assert np.all(np.abs(count(table, pair) - expected) <= 6.0 * np.sqrt(expected) + 2.0)


def test_a_seed_repeats_the_rows_and_none_does_not() -> None:
    model = _model()
    one, same, free, other = (model.sample_codes(300, seed=s).columns["a"].tolist() for s in (0, 0, None, None))
    assert one == same
    assert len({tuple(x) for x in (one, free, other)}) == 3


def test_a_level_without_weight_is_not_drawn_and_a_group_without_weight_is_drawn_evenly() -> None:
    model = _model()
    assert not np.any(model.sample_codes(5000, seed=1).columns["b"] == 3)
    empty = replace(model, within={"b": np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])})
    drawn = np.bincount(empty.sample_codes(5000, seed=1).columns["b"], minlength=6)
    assert abs(int(drawn[0]) - int(drawn[1])) <= 1
    values = empty.marginal(["b"]).values
    assert values[0] == pytest.approx(values[1])


@pytest.mark.parametrize("copies", [8, 1])
def test_rows_agree_with_a_pair_that_is_not_in_the_tree(copies: int) -> None:
    """Also where no more rows are drawn than are wanted. Above the limit rows come from the tree alone: c and d are independent."""
    rows = 4000
    plain = _model()
    shares = np.array([0.45, 0.05, 0.1, 0.4])
    target = 900.0 * shares.reshape(2, 2)
    # What the tree says of c and d alone stays: the target must agree with it to be met.
    c, d = (plain.marginal([name]).values / 900.0 for name in "cd")
    for _ in range(50):
        target *= (900.0 * c / target.sum(axis=1))[:, None]
        target *= 900.0 * d / target.sum(axis=0)
    refined = replace(plain, refinement=Refinement((((2, 3), target),), most_drawn=copies * rows, most_rows=rows))

    def distance(count_of: int) -> float:
        table = refined.sample_codes(count_of, seed=3)
        return float(np.abs(count(table, ("c", "d")) / count_of - target / 900.0).sum())

    assert distance(rows) < 0.03
    assert distance(rows + 1) > 0.3


def test_negative_numbers_of_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="rows=-1"):
        _model().sample_codes(-1)


@pytest.mark.parametrize(("total", "rows"), [(900.4, 900), (0.2, 1), (-5.0, 1)])
def test_the_default_number_of_rows_is_the_noisy_total(total: float, rows: int) -> None:
    assert SyntheticModel(**{**vars(_model()), "total": total}).rows == rows


# --- conditioning -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [{"a": 2}, {"b": 1}, {"b": 4}, {"c": 0}, {"d": 1}, {"a": 0, "c": 1}, {"a": 1, "b": 5, "d": 0}],
    ids=str,
)
def test_conditional_rows_follow_the_conditional_joint(where: dict[str, int]) -> None:
    model = _model()
    rows = 3000
    table = model.sample_codes(rows, seed=2, where=where)
    names = model.domain.names
    joint = _joint(model)
    for name, code in where.items():
        assert np.all(table.columns[name] == code)
        keep = np.zeros(model.domain[name].size)
        keep[code] = 1.0
        joint = joint * keep.reshape([-1 if n == name else 1 for n in names])
    joint = joint / joint.sum()
    for pair in [("a", "b"), ("b", "c"), ("a", "d")]:
        expected = rows * marginal_of(joint, [names.index(n) for n in pair])
        assert np.all(np.abs(count(table, pair) - expected) <= 6.0 * np.sqrt(expected) + 2.0)


def test_conditioning_leaves_the_model_as_it_was() -> None:
    model = _model()
    before = joint_of(model.beliefs)
    model.sample_codes(10, seed=0, where={"a": 0, "b": 2})
    np.testing.assert_array_equal(joint_of(model.beliefs), before)


def test_all_columns_may_be_fixed() -> None:
    table = _model().sample_codes(4, where={"a": 1, "b": 4, "c": 0, "d": 1})
    assert [table.columns[name].tolist() for name in "abcd"] == [[1] * 4, [4] * 4, [0] * 4, [1] * 4]


def test_an_impossible_condition_is_an_error_in_any_part_of_the_forest() -> None:
    tree = junction_tree((2, 2, 2), [(0, 1)])
    one_way = [np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([0.0, 1.0])]
    model = SyntheticModel("toy", Domain.of({"a": 2, "b": 2, "c": 2}), Beliefs(tree, one_way, 10.0), 10.0, (), {})
    for where in ({"a": 1}, {"c": 0}, {"b": 0, "c": 0}):
        with pytest.raises(ConfigError, match="no probability"):
            model.sample_codes(5, where=where)
    assert model.sample_codes(5, where={"a": 0, "c": 1}).n_rows == 5


@pytest.mark.parametrize("where", [{"z": 0}, {"a": 3}, {"a": -1}])
def test_a_condition_outside_the_domain_is_refused(where: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        _model().sample_codes(5, where=where)


# --- marginals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [False, True])
def test_marginals_over_full_levels_match_the_joint_in_any_order(zeros: bool) -> None:
    model = _model(zeros=zeros)
    joint = _joint(model)
    for n in range(1, 5):
        for names in permutations("abcd", n):
            estimate = model.marginal(names)
            assert estimate.columns == names
            np.testing.assert_allclose(estimate.values, marginal_of(joint, ["abcd".index(x) for x in names]), atol=1e-7)
            assert estimate.standard_error.shape == estimate.values.shape
    assert float(model.marginal([]).values) == 900.0


def test_the_standard_error_is_that_of_the_best_single_measurement() -> None:
    model = _model()
    # Column a was measured with stddev 4, and as the sum of two cells with stddev 9 each.
    np.testing.assert_allclose(model.marginal(["a"]).standard_error, 4.0)
    np.testing.assert_allclose(model.marginal(["c"]).standard_error, 9.0 * 3**0.5)
    np.testing.assert_allclose(model.marginal(["a", "c"]).standard_error, 9.0)
    np.testing.assert_allclose(model.marginal(["c", "a"]).standard_error, 9.0)
    # A residual says nothing of counts.
    assert np.all(np.isinf(model.marginal(["d"]).standard_error))
    # Nor of pairs, as long as one of the parts is unknown.
    np.testing.assert_allclose(model.marginal(["a", "d"]).standard_error, np.inf)


def test_a_residual_adds_to_its_parts() -> None:
    model = replace(_model(), measurements=(*_model().measurements, Measurement(("d",), np.array([400.0, 500.0]), 6.0)))
    # Residual 2, column a (4) spread over two levels of d, column d (6) over three levels of a.
    np.testing.assert_allclose(model.marginal(["a", "d"]).standard_error, (2.0**2 + (4.0 / 2) ** 2 + (6.0 / 3) ** 2) ** 0.5)


def test_a_merged_measurement_is_told_apart_by_shares_that_are_noisy_too() -> None:
    once = Measurement(("a", "b"), np.full((3, 3), 100.0), 5.0)
    fine = Measurement(("b",), np.array([50.0, 150.0, 100.0, 0.0, 300.0, 300.0]), 7.0)
    model = replace(_model(), measurements=(once, fine))
    estimate = model.marginal(["a", "b"])
    inside = np.array([0.25, 0.75, 1.0, 0.0, 0.5, 0.5])
    groups = [[0, 1], [2], [3, 4, 5]]
    whole = np.stack([estimate.values[:, next(g for g in groups if b in g)].sum(axis=1) for b in range(6)], axis=1)
    unknown = whole * np.minimum(1.0, 7.0 / whole.sum(axis=0))
    np.testing.assert_allclose(estimate.standard_error, np.sqrt((5.0 * inside) ** 2 + unknown**2))


@pytest.mark.statistical
def test_errors_of_a_fitted_model_are_of_the_size_that_is_quoted() -> None:
    rng = np.random.default_rng(0)
    domain = Domain((Attribute("wide", 120, ordered=True), *(Attribute(f"n{i}", 7) for i in range(6))))
    wide = np.clip(np.rint(rng.normal(60, 15, 20_000)), 0, 119).astype(np.uint8)
    near = np.where(rng.random(20_000) < 0.7, wide // 18, rng.integers(0, 7, 20_000)).astype(np.uint8)
    others = {f"n{i}": np.where(rng.random(20_000) < 0.7, near, rng.integers(0, 7, 20_000)).astype(np.uint8) for i in range(1, 6)}
    table = CodedTable(domain, {"wide": wide, "n0": near, **others})
    squares = []
    for _ in range(3):
        model = Adaptive().fit(PrivateData.of_codes(table, PrivacyBudget(1.0, 1e-9), unit=PrivacyUnit("row", 1)))
        for clique in (("wide",), ("n0",), ("n0", "n3")):
            estimate = model.marginal(clique)
            off = (estimate.values - count(table, clique)) / estimate.standard_error
            squares.append(float(np.mean(off**2)))
    # A fit combines measurements, so it is better than the best of them, but not by orders of magnitude; and never much worse.
    assert 0.05 < float(np.median(squares)) < 1.5
    assert max(squares) < 4.0


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="not in the domain"):
        _model().marginal(["z"])


def test_what_was_measured_is_listed_strongest_first() -> None:
    listed = _model().explain()
    assert [entry["stddev"] for entry in listed] == [2.0, 4.0, 9.0]
    assert listed[0] == {"clique": ["a", "d"], "form": "residual", "stddev": 2.0, "cells": 6}


# --- values -----------------------------------------------------------------------------------------------------------------


def _with_schema() -> SyntheticModel:
    schema = Schema.from_dict(
        {
            "fields": [
                {"name": "a", "type": "string", "categories": ["x", "y", "z"]},
                {"name": "b", "type": "integer", "constraints": {"minimum": 0, "maximum": 599}, "dp:bins": 6},
                {"name": "c", "type": "boolean"},
                {"name": "d", "type": "string", "categories": ["no", "yes"]},
            ],
            "dp:dataset": {"id": "t", "population": "p"},
            "dp:unit": {"name": "person"},
        }
    )
    return _model(encoder=Encoder(schema))


def test_tables_of_values_have_the_schemas_columns_and_the_wanted_rows() -> None:
    model = _with_schema()
    table = model.sample(200, seed=0)
    assert list(table.columns) == ["a", "b", "c", "d"]
    assert len(table) == 200
    assert len(model.sample(seed=0)) == 900
    assert table.equals(model.sample(200, seed=0))
    assert not table.equals(model.sample(200, seed=1))


def test_values_of_a_bin_are_spread_over_it_not_put_into_its_middle() -> None:
    values = _with_schema().sample(3000, seed=0)["b"].to_numpy()
    inside = values[(values >= 400) & (values < 500)] - 400
    assert len(inside) > 100
    assert len(np.unique(inside)) > 50
    assert abs(float(inside.mean()) - 49.5) < 6 * 29 / len(inside) ** 0.5


def test_conditions_are_given_as_values() -> None:
    model = _with_schema()
    table = model.sample(50, seed=0, where={"d": "yes", "c": True, "b": 130})
    assert set(table["d"]) == {"yes"}
    assert set(table["c"]) == {True}
    assert table["b"].between(100, 199).all()
    with pytest.raises(ConfigError, match="not in the declared domain"):
        model.sample(5, where={"d": "perhaps"})


def test_the_encoder_comes_back_with_the_model(tmp_path: Path) -> None:
    model = _with_schema()
    model.save(tmp_path / "m.model")
    assert load(tmp_path / "m.model").sample(50, seed=0).equals(model.sample(50, seed=0))


def test_a_model_of_codes_has_no_values_to_give() -> None:
    with pytest.raises(ConfigError, match="no encoder"):
        _model().sample(5)
