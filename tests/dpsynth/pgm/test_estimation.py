"""Fitting, against problems whose least-squares answer is known: in closed form, by another solver, or because the measurements agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize

from dpsynth.marginals import Measurement, centred
from dpsynth.pgm.estimation import Stack, Target, combine, fit
from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.synthesizers.one_way import on_simplex
from tests.dpsynth.pgm.joints import calibrated, joint_of, marginal_of

NAMES = "abcdef"
INDEX = {name: i for i, name in enumerate(NAMES)}
# Enough for these small problems to sit at their optimum.
ENOUGH = 3000


def _measure(
    joint: npt.NDArray[np.float64], attributes: Sequence[int], stddev: float, seed: int = 0, form: str = "marginal"
) -> Measurement:
    """A measurement of a joint, with Gaussian noise when ``stddev`` is not the tiny one of exact answers."""
    table = marginal_of(joint, attributes)
    table = centred(table) if form == "residual" else table
    if stddev > 0.1:
        table = table + np.random.default_rng(seed).normal(0.0, stddev, table.shape)
    table = centred(table) if form == "residual" else table
    return Measurement(tuple(NAMES[a] for a in attributes), table, stddev, form)


def _loss(mu: npt.NDArray[np.float64], measurements: Sequence[Measurement]) -> float:
    """Sum of |Q mu - y|^2 / (2 sigma^2), from its definition."""
    total = 0.0
    for m in measurements:
        table = marginal_of(mu, [INDEX[name] for name in m.clique])
        table = centred(table) if m.form == "residual" else table
        total += float(((table - m.values) ** 2).sum()) / (2.0 * m.stddev**2)
    return total


def _optimum(shape: tuple[int, ...], measurements: Sequence[Measurement], total: float) -> float:
    """The least loss of any non-negative table with this total: scipy's SLSQP over the whole joint."""
    cells = int(np.prod(shape))
    scale = max(1.0, _loss(np.full(shape, total / cells), measurements))
    best = minimize(
        lambda p: _loss(total * p.reshape(shape), measurements) / scale,
        np.full(cells, 1.0 / cells),
        bounds=[(0.0, 1.0)] * cells,
        constraints=[{"type": "eq", "fun": lambda p: p.sum() - 1.0}],
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    return float(best.fun) * scale


def test_one_table_is_projected_onto_the_simplex() -> None:
    """One clique, one measurement: the optimum is the nearest non-negative table with that total, known in closed form."""
    rng = np.random.default_rng(0)
    for stddev in (5.0, 40.0):
        values = 1000.0 * rng.dirichlet(np.full(12, 0.3)).reshape(3, 4) + rng.normal(0.0, stddev, (3, 4))
        measurement = Measurement(("a", "b"), values, stddev)
        fitted = fit(junction_tree((3, 4), [(0, 1)]), combine([measurement], INDEX), 1000.0, iterations=ENOUGH)
        expected = on_simplex(values.ravel(), 1000.0).reshape(3, 4)
        np.testing.assert_allclose(joint_of(fitted.beliefs), expected, atol=1.0)
        assert fitted.losses[-1] <= _loss(expected, [measurement]) * 1.001 + 1e-6


def test_measurements_that_agree_are_met_exactly() -> None:
    tree = junction_tree((2, 3, 2, 3), [(0, 1), (1, 2), (2, 3)])
    truth = joint_of(calibrated(tree, 3))
    measurements = [_measure(truth, pair, 0.01) for pair in [(0, 1), (1, 2), (2, 3)]]
    fitted = fit(tree, combine(measurements, INDEX), 1000.0, iterations=ENOUGH)
    for pair in [(0, 1), (1, 2), (2, 3)]:
        np.testing.assert_allclose(marginal_of(joint_of(fitted.beliefs), pair), marginal_of(truth, pair), atol=0.05)
    # The truth is the only distribution of this tree with these marginals, hence the one of largest entropy.
    np.testing.assert_allclose(joint_of(fitted.beliefs), truth, atol=0.05)


# (why, sizes, tree, [(attributes, stddev, form)])
PROBLEMS = [
    ("conflicting one-ways and pair", (3, 3), [(0, 1)], [((0,), 5.0, "marginal"), ((0, 1), 20.0, "marginal")]),
    (
        "chain",
        (2, 3, 2),
        [(0, 1), (1, 2)],
        [((0, 1), 30.0, "marginal"), ((1, 2), 10.0, "marginal"), ((0,), 5.0, "marginal")],
    ),
    (
        "residual beside one-ways",
        (3, 3),
        [(0, 1)],
        [((0,), 10.0, "marginal"), ((1,), 10.0, "marginal"), ((0, 1), 6.0, "residual")],
    ),
    (
        "residuals of a triple",
        (2, 2, 3),
        [(0, 1, 2)],
        [
            ((0,), 10.0, "marginal"),
            ((1,), 10.0, "marginal"),
            ((2,), 10.0, "marginal"),
            ((0, 1), 6.0, "residual"),
            ((1, 2), 6.0, "residual"),
            ((0, 1, 2), 4.0, "residual"),
        ],
    ),
    ("mostly noise", (4, 3), [(0, 1)], [((0, 1), 400.0, "marginal"), ((1,), 100.0, "marginal")]),
    ("marginal and residual of one pair", (2, 4), [(0, 1)], [((0, 1), 20.0, "marginal"), ((0, 1), 5.0, "residual")]),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=[p[0] for p in PROBLEMS])
def test_the_fit_reaches_the_optimum_that_another_solver_finds(
    problem: tuple[str, tuple[int, ...], list[tuple[int, ...]], list[tuple[tuple[int, ...], float, str]]],
) -> None:
    _, sizes, cliques, asked = problem
    tree = junction_tree(sizes, cliques)
    truth = joint_of(calibrated(tree, 11))
    measurements = [_measure(truth, a, sd, seed=i, form=form) for i, (a, sd, form) in enumerate(asked)]
    fitted = fit(tree, combine(measurements, INDEX), 1000.0, iterations=ENOUGH)
    reached = _loss(joint_of(fitted.beliefs), measurements)
    assert reached <= _optimum(sizes, measurements, 1000.0) * 1.002 + 1e-4
    # The losses are those of the definition up to what combining equal cliques leaves out, a constant.
    uniform = np.full(sizes, 1000.0 / np.prod(sizes))
    constant = _loss(uniform, measurements) - _combined_loss(uniform, measurements)
    assert min(fitted.losses) + constant == pytest.approx(reached, rel=1e-2, abs=1e-2)


def _combined_loss(mu: npt.NDArray[np.float64], measurements: Sequence[Measurement]) -> float:
    targets = combine(measurements, INDEX)
    stack = Stack(targets, mu.shape)
    return stack.loss_and_gradient(stack.flat({t.axes: marginal_of(mu, t.axes) for t in targets}))[0]


@pytest.mark.parametrize("problem", PROBLEMS, ids=[p[0] for p in PROBLEMS])
def test_a_hundred_iterations_are_most_of_the_way(
    problem: tuple[str, tuple[int, ...], list[tuple[int, ...]], list[tuple[tuple[int, ...], float, str]]],
) -> None:
    _, sizes, cliques, asked = problem
    tree = junction_tree(sizes, cliques)
    truth = joint_of(calibrated(tree, 11))
    measurements = [_measure(truth, a, sd, seed=i, form=form) for i, (a, sd, form) in enumerate(asked)]
    fitted = fit(tree, combine(measurements, INDEX), 1000.0, iterations=100)
    start = _loss(np.full(sizes, 1000.0 / np.prod(sizes)), measurements)
    best = _optimum(sizes, measurements, 1000.0)
    assert _loss(joint_of(fitted.beliefs), measurements) - best <= 0.05 * (start - best) + 0.5


def test_weights_are_inverse_variances() -> None:
    """Two looks at one column, sigma 1 and 3: the answer is nine to one between them, not three to one."""
    looks = [Measurement(("a",), np.array([600.0, 400.0]), 1.0), Measurement(("a",), np.array([500.0, 500.0]), 3.0)]
    fitted = fit(junction_tree((2,), []), combine(looks, INDEX), 1000.0, iterations=ENOUGH)
    np.testing.assert_allclose(fitted.beliefs.tables[0], [590.0, 410.0], atol=0.01)


def test_combining_keeps_precision_and_forms_apart() -> None:
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(2, 3)) for _ in range(4)]
    (target,) = combine(
        [
            Measurement(("a", "b"), tables[0], 1.0),
            Measurement(("a", "b"), tables[1], 2.0),
            Measurement(("a", "b"), centred(tables[2]), 0.5, "residual"),
            Measurement(("a", "b"), centred(tables[3]), 0.5, "residual"),
        ],
        INDEX,
    )
    assert target.axes == (0, 1)
    assert target.marginal_weight == pytest.approx(1.25)
    assert target.residual_weight == pytest.approx(8.0)
    assert target.weight == pytest.approx(9.25)
    assert target.marginal is not None and target.residual is not None
    np.testing.assert_allclose(target.marginal, (tables[0] + tables[1] / 4.0) / 1.25)
    np.testing.assert_allclose(target.residual, centred(tables[2] + tables[3]) / 2.0)


def test_the_loss_is_the_sum_over_targets_and_the_gradient_is_that_of_the_loss() -> None:
    rng = np.random.default_rng(1)
    sizes = (2, 3, 2, 3)
    asked = [((0, 1), "both"), ((1,), "marginal"), ((2, 3), "residual"), ((0, 1, 2), "residual"), ((0, 2), "marginal"), ((0, 3), "both")]
    targets = []
    for i, (axes, which) in enumerate(asked):
        shape = tuple(sizes[a] for a in axes)
        marginal = rng.normal(size=shape) if which != "residual" else None
        residual = centred(rng.normal(size=shape)) if which != "marginal" else None
        weights = (0.7 + i if which != "residual" else 0.0, 1.3 + i if which != "marginal" else 0.0)
        targets.append(Target(axes, marginal, weights[0], residual, weights[1]))
    stack = Stack(targets, sizes)
    tables = {t.axes: rng.normal(size=tuple(sizes[a] for a in t.axes)) for t in targets}
    mu = stack.flat(tables)
    for axes, table in stack.tables(mu).items():
        np.testing.assert_array_equal(table, tables[axes])
    loss, gradient = stack.loss_and_gradient(mu)
    expected = 0.0
    for t in targets:
        if t.marginal is not None:
            expected += 0.5 * t.marginal_weight * float(((tables[t.axes] - t.marginal) ** 2).sum())
        if t.residual is not None:
            expected += 0.5 * t.residual_weight * float(((centred(tables[t.axes]) - t.residual) ** 2).sum())
    assert loss == pytest.approx(expected)
    for cell in range(len(mu)):
        step = np.zeros(len(mu))
        step[cell] = 1e-5
        up, down = (stack.loss_and_gradient(mu + sign * step)[0] for sign in (1, -1))
        assert gradient[cell] == pytest.approx((up - down) / 2e-5, abs=1e-6)


def test_a_warm_start_begins_where_the_last_fit_ended_and_reaches_the_same_optimum() -> None:
    sizes, cliques = (2, 2, 3, 2), [(0, 1), (1, 2), (2, 3)]
    truth = joint_of(calibrated(junction_tree(sizes, cliques), 3))
    first = [_measure(truth, (0, 1), 20.0, 1), _measure(truth, (2,), 20.0, 2), _measure(truth, (3,), 20.0, 3)]
    more = [*first, _measure(truth, (1, 2), 20.0, 4), _measure(truth, (2, 3), 20.0, 5)]
    small = fit(junction_tree(sizes, [(0, 1)]), combine(first, INDEX), 1000.0, iterations=ENOUGH)
    tree = junction_tree(sizes, cliques)
    # On the same targets the first loss of the warm fit is the last one of the cold fit.
    again = fit(tree, combine(first, INDEX), 1000.0, iterations=5, start=small.potentials)
    assert again.losses[0] == pytest.approx(small.losses[-1], rel=1e-3)
    warm = fit(tree, combine(more, INDEX), 1000.0, iterations=ENOUGH, start=small.potentials)
    cold = fit(tree, combine(more, INDEX), 1000.0, iterations=ENOUGH)
    best = _optimum(sizes, more, 1000.0)
    for fitted in (warm, cold):
        assert _loss(joint_of(fitted.beliefs), more) <= best * 1.002 + 1e-3


def test_a_warm_start_drops_what_the_new_tree_cannot_hold() -> None:
    truth = joint_of(calibrated(junction_tree((2, 2, 2), [(0, 1, 2)]), 0))
    first = fit(junction_tree((2, 2, 2), [(0, 2)]), combine([_measure(truth, (0, 2), 5.0)], INDEX), 1e3, iterations=50)
    measurements = [_measure(truth, (0, 1), 5.0), _measure(truth, (1, 2), 5.0)]
    tree = junction_tree((2, 2, 2), [(0, 1), (1, 2)])
    fitted = fit(tree, combine(measurements, INDEX), 1e3, iterations=ENOUGH, start=first.potentials)
    best = _optimum((2, 2, 2), measurements, 1e3)
    assert _loss(joint_of(fitted.beliefs), measurements) <= best * 1.002 + 1e-3


def test_a_fit_is_a_function_of_its_measurements() -> None:
    tree = junction_tree((3, 4, 2), [(0, 1), (1, 2)])
    truth = joint_of(calibrated(tree, 0))
    measurements = [_measure(truth, (0, 1), 30.0, 1), _measure(truth, (1, 2), 30.0, 2)]
    runs = [fit(tree, combine(measurements, INDEX), 1000.0, iterations=80) for _ in range(2)]
    assert runs[0].losses == runs[1].losses
    for one, other in zip(runs[0].beliefs.tables, runs[1].beliefs.tables, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("total", [1.0, 50.0, 1e8])
@pytest.mark.parametrize("stddev", [0.5, 1e3, 1e9])
def test_no_scale_of_total_or_noise_breaks_the_fit(total: float, stddev: float) -> None:
    tree = junction_tree((3, 4, 2), [(0, 1), (1, 2)])
    truth = joint_of(calibrated(tree, 0, total=total))
    pairs = [(0, 1), (1, 2)]
    measurements = [_measure(truth, pair, stddev, i) for i, pair in enumerate(pairs)]
    fitted = fit(tree, combine(measurements, INDEX), total, iterations=200)
    joint = joint_of(fitted.beliefs)
    assert np.all(np.isfinite(joint))
    assert joint.min() >= 0.0
    assert joint.sum() == pytest.approx(total, rel=1e-9)
    assert fitted.losses[-1] <= fitted.losses[0] * (1.0 + 1e-6)


@pytest.mark.parametrize("stddev", [1.0, 100.0])
def test_impossible_answers_are_fitted_as_well_as_may_be(stddev: float) -> None:
    """All cells far below zero, and a total that no table has."""
    tree = junction_tree((3, 2), [(0, 1)])
    measurements = [Measurement(("a", "b"), np.full((3, 2), -1e4), stddev), Measurement(("a",), np.full(3, 9e4), stddev)]
    fitted = fit(tree, combine(measurements, INDEX), 100.0, iterations=300)
    assert np.all(np.isfinite(joint_of(fitted.beliefs)))
    assert joint_of(fitted.beliefs).sum() == pytest.approx(100.0)


def test_the_potentials_that_come_back_give_the_beliefs_that_come_back() -> None:
    tree = junction_tree((3, 4, 2), [(0, 1), (1, 2)])
    truth = joint_of(calibrated(tree, 0))
    fitted = fit(tree, combine([_measure(truth, (0, 1), 5.0), _measure(truth, (1, 2), 5.0)], INDEX), 1e3, iterations=150)
    again = fit(tree, [], 1e3, iterations=0, start=fitted.potentials)
    np.testing.assert_allclose(joint_of(again.beliefs), joint_of(fitted.beliefs), atol=1e-6)


def test_without_measurements_the_fit_is_uniform() -> None:
    fitted = fit(junction_tree((2, 3), [(0, 1)]), [], 60.0, iterations=10)
    np.testing.assert_allclose(joint_of(fitted.beliefs), 10.0)
    assert fitted.losses == ()


@pytest.mark.parametrize("total", [1.0, 30.0])
def test_answers_that_are_all_noise_are_fitted_to_the_optimum_too(total: float) -> None:
    """Noise twenty times the table: the long steps this asks for once drove every cell below the range of floats."""
    sizes = (2, 3, 2, 2)
    rng = np.random.default_rng(0)
    measurements = [Measurement((NAMES[a],), total / n + rng.normal(0.0, 20.0, n), 20.0) for a, n in enumerate(sizes)]
    for k in (2, 3):
        for attributes in combinations(range(4), k):
            noise = centred(rng.normal(0.0, 20.0, tuple(sizes[a] for a in attributes)))
            measurements.append(Measurement(tuple(NAMES[a] for a in attributes), noise, 20.0, "residual"))
    fitted = fit(junction_tree(sizes, [(0, 1, 2, 3)]), combine(measurements, INDEX), total, iterations=400)
    joint = joint_of(fitted.beliefs)
    assert joint.sum() == pytest.approx(total)
    assert _loss(joint, measurements) <= _optimum(sizes, measurements, total) * 1.01
