"""The one door: it charges before it looks, its sensitivities hold on every neighbour, and views share one account."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.counting import Lookups, Records
from dpsynth.encode import Encoder
from dpsynth.errors import BudgetError, ConfigError
from dpsynth.marginals import Attribute, Clique, CodedTable, Counts, Domain, Recoding
from dpsynth.privacy import Cohort, PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.noise import Hook, SeededNoise
from dpsynth.schema import Schema
from tests.dpsynth.synthesizers.hooks import Frozen, Recording, dependent_table, exact_answers, table_of

BUDGET = PrivacyBudget(1.0, 1e-6)
DOMAIN = Domain.of({"a": 2, "b": 3})
PAIRS: list[tuple[str, ...]] = [("a",), ("b",), ("a", "b")]
REST = [(0, 0), (0, 1), (1, 2), (1, 2), (0, 2)]
PERSON = PrivacyUnit("person", 1)


class TenRho(PrivacyBudget):
    """A budget whose rho needs no conversion, for tests that open thousands of tables."""

    @property
    def rho(self) -> float:
        return 10.0


TEN = TenRho(10.0, 1e-6)


def _models() -> list[npt.NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 4, size=DOMAIN.shape(clique)) for clique in PAIRS]


Question = Callable[[PrivateData], Any]
QUESTIONS: dict[str, Question] = {
    "total": lambda p: p.total(0.01),
    "marginal": lambda p: p.measure(("a", "b"), 0.01, "pair"),
    "one_way": lambda p: p.measure(("b",), 0.01, "one"),
    "residual": lambda p: p.measure_residual(("a", "b"), 0.01, "residual"),
    "residual_one_way": lambda p: p.measure_residual(("b",), 0.01, "residual"),
    "scores": lambda p: p.scores(PAIRS, _models(), 0.01, "scores"),
    "select": lambda p: p.select(PAIRS, _models(), 0.01, "select"),
    "select_or_none": lambda p: p.select_or_none(PAIRS, _models(), 0.01, "select"),
    "weighted_select": lambda p: p.select(
        PAIRS,
        _models(),
        0.01,
        "select",
        penalties=np.array([0.3, 2.0, -1.25]),
        weights=np.array([1, 5, 3]),
    ),
}


def _private(
    rows: Sequence[Sequence[int]] = REST,
    *,
    unit: PrivacyUnit = PERSON,
    ids: Sequence[int] | None = None,
    budget: PrivacyBudget = TEN,
    hook: Hook = exact_answers,
    cohort: Cohort | None = None,
    domain: Domain = DOMAIN,
) -> PrivateData:
    units = None if ids is None else np.array(ids, dtype=np.int64)
    return PrivateData.of_codes(table_of(domain, rows), budget, unit=unit, unit_ids=units, hook=hook, cohort=cohort)


class _Guarded:
    """Stands for the table and refuses to be read before ``charged`` says so."""

    def __init__(self, table: Records, charged: Callable[[], bool]) -> None:
        self._table, self._charged = table, charged
        self.domain = table.domain
        self.looked = 0

    def _look(self) -> Records:
        assert self._charged(), "the records were read before they were paid for"
        self.looked += 1
        return self._table

    def counts(self, cliques: Sequence[Clique]) -> list[Counts]:
        return self._look().counts(cliques)

    def merged(self, domain: Domain, lookups: Lookups) -> Records:
        return self._table.merged(domain, lookups)

    @property
    def n_rows(self) -> int:
        return self._look().n_rows


# --- charge, then look --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_charged_and_written_down_before_it_is_asked(question: str) -> None:
    private = _private()
    account = private._account
    guard = _Guarded(private._table, lambda: account.filter.spent == 0.01 and len(account.transcript.events) == 1)
    private._table = guard  # type: ignore[assignment]
    QUESTIONS[question](private)
    assert guard.looked > 0


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_that_cannot_be_paid_does_not_touch_the_records(question: str) -> None:
    private = _private()
    private.measure(("a",), private.rho_left, "everything")
    events = len(private.transcript()["events"])
    guard = _Guarded(private._table, lambda: False)
    private._table = guard  # type: ignore[assignment]
    private._exact.clear()
    with pytest.raises(BudgetError):
        QUESTIONS[question](private)
    assert guard.looked == 0
    assert len(private.transcript()["events"]) == events


@pytest.mark.parametrize("rho", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("question", ["total", "measure", "residual", "scores", "select"])
def test_a_cost_that_is_none_is_refused_without_a_look(question: str, rho: float) -> None:
    private = _private()
    private._table = _Guarded(private._table, lambda: False)  # type: ignore[assignment]
    ask: dict[str, Callable[[], Any]] = {
        "total": lambda: private.total(rho),
        "measure": lambda: private.measure(("a",), rho, "x"),
        "residual": lambda: private.measure_residual(("a",), rho, "x"),
        "scores": lambda: private.scores(PAIRS, _models(), rho, "x"),
        "select": lambda: private.select(PAIRS, _models(), rho, "x"),
    }
    with pytest.raises(BudgetError):
        ask[question]()
    assert private.rho_spent == 0.0
    assert private.transcript()["events"] == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_nothing_is_refunded_when_the_answer_is_lost(question: str) -> None:
    def fails(event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
        raise OSError("out of entropy")

    private = _private(hook=fails)
    with pytest.raises(OSError, match="entropy"):
        QUESTIONS[question](private)
    assert private.rho_spent == 0.01
    assert len(private.transcript()["events"]) == 1


def test_the_answer_of_every_question_is_the_hooks() -> None:
    hook = Recording(seed=1)
    private = _private(hook=hook)
    for question in QUESTIONS.values():
        question(private)
    measured = private.measure(("b", "a"), 0.01, "again")
    assert measured.clique == ("a", "b")
    np.testing.assert_array_equal(measured.values.ravel(), hook.looks[-1].answer)


# --- sensitivities ------------------------------------------------------------------------------------------------------


def _brought(k: int) -> Iterator[list[tuple[int, int]]]:
    """Everything one unit may bring: every multiset of up to k rows, nothing first."""
    cells = list(product(range(2), range(3)))
    for n in range(k + 1):
        yield from (list(rows) for rows in combinations_with_replacement(cells, n))


def _answers(question: str, unit: PrivacyUnit) -> tuple[dict[str, Any], npt.NDArray[np.float64]]:
    """The event of a question and its exact answers for everything the last unit may bring."""
    answers, events = [], []
    for mine in _brought(unit.max_rows):
        hook = Recording()
        ids = [*range(len(REST)), *([99] * len(mine))]
        private = _private([*REST, *mine], unit=unit, ids=ids, hook=hook)
        QUESTIONS[question](private)
        (look,) = hook.releases
        answers.append(look.exact.ravel().astype(np.float64))
        events.append({key: value for key, value in look.event.items() if key != "selected"})
    assert all(event == events[0] for event in events), "what is written down depends on the records"
    return events[0], np.array(answers)


@pytest.mark.parametrize("neighbours", ["add_remove", "replace_one"])
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("question", QUESTIONS)
def test_no_neighbour_moves_an_answer_by_more_than_was_declared(question: str, k: int, neighbours: str) -> None:
    unit = PrivacyUnit("person", k, neighbours)
    if question == "total" and unit.total_is_public:
        pytest.skip("the number of rows is public here")
    event, answers = _answers(question, unit)
    gaps = answers[None, 0] - answers if neighbours == "add_remove" else answers[:, None] - answers[None, :]
    if event["kind"] == "gaussian":
        worst, declared = float(np.linalg.norm(gaps, axis=-1).max()), event["l2_sensitivity"]
        assert event["rho"] * (1 - 1e-9) < declared**2 / (2 * event["stddev"] ** 2) <= event["rho"]
    else:
        worst, declared = float(np.abs(gaps).max()), event["score_sensitivity"]
        assert event["rho"] * (1 - 1e-9) < event["epsilon"] ** 2 / 8 <= event["rho"]
    assert worst <= declared * (1.0 + 1e-12)
    # Tight where it can be: the noise is not larger than needed.
    if question in ("marginal", "one_way", "total") or (question != "scores" and neighbours == "add_remove"):
        assert worst == pytest.approx(declared, rel=1e-9)


@pytest.mark.parametrize(
    ("k", "neighbours", "marginal", "score", "total"),
    [(1, "add_remove", 1.0, 1.0, 1.0), (4, "add_remove", 4.0, 4.0, 4.0), (3, "replace_one", 3 * 2**0.5, 6.0, 3.0)],
)
def test_the_factor_of_the_unit_is_in_every_event(k: int, neighbours: str, marginal: float, score: float, total: float) -> None:
    private = _private(unit=PrivacyUnit("person", k, neighbours), ids=range(len(REST)))
    for question in QUESTIONS.values():
        question(private)
    events = private.transcript()["events"]
    by_form = {event["forms"][0]: event for event in events if event["kind"] == "gaussian"}
    assert by_form["marginal"]["l2_sensitivity"] == pytest.approx(marginal)
    assert by_form["total"]["l2_sensitivity"] == pytest.approx(total)
    assert by_form["scores"]["l2_sensitivity"] == pytest.approx(score * math.sqrt(3))
    plain, or_none, weighted = (event for event in events if event["kind"] == "exponential")
    assert plain["score_sensitivity"] == or_none["score_sensitivity"] == pytest.approx(score)
    assert weighted["score_sensitivity"] == pytest.approx(5 * score)


def test_an_error_is_the_sum_over_all_cells_also_of_a_pair() -> None:
    """``np.linalg.norm(x, 1)`` of a 2-D table is its largest column sum, and 3 to 10 times too small."""
    hook = Recording()
    model = np.array([[5, 5, 5], [5, 5, 5]])
    _private(hook=hook).scores([("a", "b")], [model], 0.01, "scores")
    counts = np.zeros((2, 3), dtype=np.int64)
    for row in REST:
        counts[row] += 1
    assert hook.releases[0].exact.tolist() == [int(np.abs(counts - 5).sum())]


def test_noise_is_added_to_integers() -> None:
    hook = Recording()
    private = _private(hook=hook)
    for question in ("total", "marginal", "residual", "scores"):
        QUESTIONS[question](private)
    assert all(look.exact.dtype == np.int64 for look in hook.releases)


def test_scores_of_a_selection_are_exact_in_floats() -> None:
    hook = Recording()
    QUESTIONS["weighted_select"](_private(hook=hook))
    scores = hook.releases[0].exact
    np.testing.assert_array_equal(scores, np.rint(scores))


def test_none_is_one_candidate_more_with_a_score_that_no_row_moves() -> None:
    scores, drawn = [], []
    for rows in (REST, REST[1:]):
        for answer in (0, len(PAIRS)):
            seen: list[npt.NDArray[Any]] = []

            def hook(
                event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any], *, answer: int = answer, seen: list[Any] = seen
            ) -> int:
                assert event["candidates"] == len(PAIRS) + 1 == len(exact)
                assert event["score_sensitivity"] == 1.0
                seen.append(exact)
                return answer

            private = _private(rows, hook=hook)
            drawn.append(private.select_or_none(PAIRS, _models(), 0.01, "x", penalties=np.array([5.0, 5.0, 5.0])))
            assert private.transcript()["events"][-1]["selected"] == answer
            scores.append(seen[0])
    assert drawn == [0, None, 0, None]
    np.testing.assert_array_equal(scores[0][:-1], _scores(REST) - 5.0)
    assert all(score[-1] == 0.0 for score in scores)
    assert np.abs(scores[0] - scores[2]).max() <= 1.0


def test_an_error_that_was_kept_is_that_of_its_own_model() -> None:
    hook = Recording()
    private = _private(hook=hook)
    one, other = _models(), [model + 7 for model in _models()]
    for models in (one, other, one, [one[0], *other[1:]]):
        private.scores(PAIRS, models, 0.01, "x")
        fresh = Recording()
        _private(hook=fresh).scores(PAIRS, models, 0.01, "x")
        np.testing.assert_array_equal(hook.releases[-1].exact, fresh.releases[-1].exact)
    private.scores([PAIRS[0], PAIRS[0]], [one[0], other[0]], 0.01, "twice")
    assert hook.releases[-1].exact.tolist() == [hook.releases[0].exact[0], hook.releases[1].exact[0]]


def _scores(rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    hook = Recording()
    _private(rows, hook=hook).select(PAIRS, _models(), 0.01, "x")
    return np.asarray(hook.releases[0].exact)


@pytest.mark.parametrize("penalty", [0.4, 123.456, 1e12, -1e12])
@pytest.mark.parametrize("weight", [1, 3, 8000])
def test_a_row_moves_a_large_score_by_no_float_digit_more_than_declared(penalty: float, weight: int) -> None:
    answers = []
    for rows in (REST, REST[1:]):
        hook = Recording()
        _private(rows, hook=hook).select(
            [("a",)], [np.array([10**6, 0])], 0.1, "x", penalties=np.array([penalty]), weights=np.array([weight])
        )
        answers.append(float(hook.releases[0].exact[0]))
    assert abs(answers[0] - answers[1]) == weight == hook.releases[0].event["score_sensitivity"]


def test_the_noise_of_a_residual_is_that_of_its_own_sensitivity_scaled_back() -> None:
    measured = _private().measure_residual(("a", "b"), 0.02, "residual")
    # Row norm sqrt((1 - 1/2)(1 - 1/3)); the exact residual of the table comes back when no noise is added.
    assert measured.stddev == pytest.approx(math.sqrt(0.5 * 2 / 3) / math.sqrt(2 * 0.02))
    counts = np.zeros((2, 3))
    for row in REST:
        counts[row] += 1.0
    expected = counts - counts.mean(0, keepdims=True) - counts.mean(1, keepdims=True) + counts.mean()
    np.testing.assert_allclose(measured.values, expected, atol=1e-12)
    assert measured.form == "residual"


def test_a_residual_of_a_column_with_one_level_is_refused_from_the_domain_alone() -> None:
    private = _private([(0, 0)], domain=Domain.of({"a": 1, "b": 2}))
    private._table = _Guarded(private._table, lambda: False)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="two levels"):
        private.measure_residual(("a", "b"), 0.1, "x")
    assert private.rho_spent == 0.0


# --- models that would break a sensitivity --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        np.zeros((5, 2, 3), dtype=np.int64),  # broadcasts: a row would count five times
        np.zeros((1, 3), dtype=np.int64),
        np.zeros((2, 3)),  # floats: errors are rounded, NaN is no number
        np.full((2, 3), np.nan),
        np.full((2, 3), np.iinfo(np.int64).min),  # wraps round
        np.full((2, 3), 1 << 62),
    ],
)
@pytest.mark.parametrize("method", ["scores", "select"])
def test_a_model_under_which_a_row_could_count_more_than_once_is_refused(method: str, model: npt.NDArray[np.int64]) -> None:
    private = _private()
    private._table = _Guarded(private._table, lambda: False)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="model of a, b"):
        getattr(private, method)([("a", "b")], [model], 0.1, "x")
    assert private.rho_spent == 0.0


@pytest.mark.parametrize("weights", [[-5, 1, 1], [0, 0, 0], [0.5, 1.0, 2.0]])
def test_weights_that_would_understate_the_sensitivity_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="weights"):
        _private().select(PAIRS, _models(), 0.1, "x", weights=np.array(weights))


@pytest.mark.parametrize("penalty", [math.nan, math.inf, -math.inf, 1e300])
def test_penalties_that_would_swallow_a_row_are_refused(penalty: float) -> None:
    with pytest.raises(ConfigError, match="penalties"):
        _private().select(PAIRS, _models(), 0.1, "x", penalties=np.array([0.0, penalty, 0.0]))


# --- data-adapted bins ----------------------------------------------------------------------------------------------------

_BINNED = Schema.from_dict(
    {
        "fields": [
            {"name": "x", "type": "number", "constraints": {"minimum": 0, "maximum": 100}, "dp:bins": "dp"},
            {
                "name": "y",
                "type": "integer",
                "constraints": {"minimum": 0, "maximum": 5000},
                "dp:bins": "dp",
                "dp:nullable": True,
            },
            {"name": "z", "type": "boolean"},
        ],
        "dp:dataset": {"id": "t", "population": "p"},
        "dp:unit": {"name": "person"},
    }
)


def _gridded(rows: Sequence[Sequence[int]], ids: Sequence[int], unit: PrivacyUnit, hook: Hook) -> PrivateData:
    encoder = Encoder(_BINNED)
    private = _private(rows, unit=unit, ids=ids, hook=hook, domain=encoder.grid_domain)
    private._encoder = encoder
    return private


_GRID_REST = [(10 * i % 3000, 7 * i % 5000, i % 2) for i in range(60)]
_GRID_MINE = [(0, 0, 0), (32_000, 5001, 1), (16_000, 5000, 1), (4, 3, 0)]


@pytest.mark.parametrize("neighbours", ["add_remove", "replace_one"])
@pytest.mark.parametrize("k", [1, 3])
def test_interval_counts_of_all_columns_move_by_at_most_what_was_declared(k: int, neighbours: str) -> None:
    unit = PrivacyUnit("person", k, neighbours)
    ids = range(len(_GRID_REST))
    recorded = Recording()
    own = [] if neighbours == "add_remove" else [_GRID_MINE[0]] * k
    first = _gridded([*_GRID_REST, *own], [*ids, *[99] * len(own)], unit, recorded)
    first.discretised(1.0)
    # Three levels at least, or the test would not see the split ones.
    assert len(recorded.releases) >= 3
    assert all(look.event["forms"] == ["histogram"] * len(look.event["cliques"]) for look in recorded.releases)
    worst = 0.0
    for n in range(k + 1):
        for mine in combinations_with_replacement(_GRID_MINE, n):
            replay = Frozen(recorded.looks)
            base = _gridded([*_GRID_REST, *mine], [*ids, *[99] * n], unit, replay)
            base.discretised(1.0)
            assert base.rho_spent == first.rho_spent
            for ours, theirs in zip(recorded.releases, replay.releases, strict=True):
                assert ours.event == theirs.event
                moved = float(np.linalg.norm(ours.exact - theirs.exact)) / ours.event["l2_sensitivity"]
                assert moved <= 1.0 + 1e-12
                worst = max(worst, moved)
    # Reached when all rows of the unit are in one cell of every column, and go to another.
    assert worst == pytest.approx(1.0)


def test_bins_are_paid_for_and_say_so() -> None:
    private = _gridded(_GRID_REST, range(60), PERSON, Recording())
    binned = private.discretised(1.0)
    assert 0.0 < private.rho_spent <= 1.0 * (1 + 1e-12)
    assert {a.name: a.provenance for a in binned.domain} == {"x": "dp", "y": "dp", "z": "declared"}
    assert binned.encoder is not None
    assert binned.domain == binned.encoder.domain
    # The level for missing stays the last, apart from any bin.
    assert binned.domain["y"].nullable
    assert binned.discretised(1.0) is binned
    assert binned.rho_spent == private.rho_spent


def test_bins_are_charged_before_the_first_interval_is_counted() -> None:
    private = _gridded(_GRID_REST, range(60), PERSON, exact_answers)
    account = private._account
    guard = _Guarded(private._table, lambda: account.filter.spent > 0.0)
    private._table = guard  # type: ignore[assignment]
    private.discretised(1.0)
    assert guard.looked > 0


# --- transcript -----------------------------------------------------------------------------------------------------------


def test_the_transcript_recomposes_to_what_was_spent() -> None:
    private = _private(unit=PrivacyUnit("person", 2), ids=[0, 0, 1, 2, 3], budget=BUDGET)
    cheap = [q for q in QUESTIONS if q != "total"]
    for question in cheap:
        if private.rho_left > 0.01:
            QUESTIONS[question](private)
    private.measure(("a",), private.rho_left, "rest")
    transcript = private.transcript()
    costs = [
        e["l2_sensitivity"] ** 2 / (2 * e["stddev"] ** 2) if e["kind"] == "gaussian" else e["epsilon"] ** 2 / 8
        for e in transcript["events"]
    ]
    assert math.fsum(costs) == pytest.approx(private.rho_spent, rel=1e-9)
    assert math.fsum(costs) <= transcript["budget"]["rho"] <= BUDGET.rho
    assert json.loads(json.dumps(transcript)) == transcript


def test_an_event_says_which_tables_it_held() -> None:
    private = _private(hook=Recording())
    for question in QUESTIONS.values():
        question(private)
    total, pair, one, residual, _, scores, select, _, _ = private.transcript()["events"]
    assert (total["forms"], total["cliques"], total["cells"]) == (["total"], [[]], 1)
    assert (pair["forms"], pair["cliques"], pair["cells"], pair["shapes"]) == (["marginal"], [["a", "b"]], 6, [[2, 3]])
    assert (one["cells"], one["scale"]) == (3, 1)
    assert (residual["forms"], residual["scale"], residual["cells"]) == (["residual"], 6, 6)
    assert (scores["forms"], scores["cells"]) == (["scores"] * 3, 3)
    assert (select["kind"], select["candidates"]) == ("exponential", 3)
    assert select["selected"] in (0, 1, 2)


def test_the_transcript_holds_no_exact_answer() -> None:
    hook = Recording(seed=2)
    rows = [(i % 2, i % 3) for i in range(12_345)]
    private = _private(rows, hook=hook)
    for question in QUESTIONS.values():
        question(private)
    text = json.dumps(private.transcript())
    assert "12345" not in text
    assert "12345" not in repr(private)


@pytest.mark.parametrize(
    ("hook", "seeded", "observed"),
    [(None, False, False), (SeededNoise(0), True, True), (Recording(), False, True), (exact_answers, False, True)],
)
def test_noise_that_anybody_could_know_is_stamped(hook: Hook | None, seeded: bool, observed: bool) -> None:
    table = table_of(DOMAIN, REST)
    given = {} if hook is None else {"hook": hook}
    stamp = PrivateData.of_codes(table, BUDGET, unit=PERSON, **given).transcript()["noise"]  # type: ignore[arg-type]
    assert (stamp["seeded"], stamp["observed"]) == (seeded, observed)
    assert stamp["source"].startswith("opendp ")


# --- views ----------------------------------------------------------------------------------------------------------------


def test_a_recoded_view_counts_merged_levels_on_the_same_account() -> None:
    private = _private()
    before = private.measure(("b",), 0.5, "fine")
    view = private.recoded(Recoding({"b": np.array([0, 1, 1])}))
    after = view.measure(("b",), 0.5, "merged")
    assert before.values.tolist() == [1.0, 1.0, 3.0]
    assert after.values.tolist() == [1.0, 4.0]
    assert private.measure(("b",), 0.5, "fine again").values.tolist() == [1.0, 1.0, 3.0]
    assert private.rho_spent == view.rho_spent == 1.5
    assert [event["stage"] for event in view.transcript()["events"]] == ["fine", "merged", "fine again"]
    assert [event["shapes"] for event in private.transcript()["events"]] == [[[3]], [[2]], [[3]]]
    with pytest.raises(BudgetError):
        view.measure(("a",), 9.0, "too much")


def test_a_recoding_of_nothing_is_the_same_view() -> None:
    private = _private()
    assert private.recoded(Recoding({})) is private


# --- bounding ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_unit_with_many_rows_is_cut_before_anything_is_asked(k: int) -> None:
    rows = [(0, 0)] * 100 + [(1, 1)]
    private = _private(rows, unit=PrivacyUnit("person", k), ids=[5] * 100 + [6])
    assert private.measure(("a",), 1.0, "x").values.tolist() == [float(k), 1.0]


def test_rows_of_units_need_ids_and_rows_without_ids_are_units() -> None:
    with pytest.raises(ConfigError, match="unit ids"):
        _private(unit=PrivacyUnit("person", 2))
    assert _private().transcript()["unit"]["bounded_by"] == "one row is one unit"
    assert "at most max_rows" in _private(ids=range(5)).transcript()["unit"]["bounded_by"]


@pytest.mark.parametrize(
    "ids",
    [np.array([np.nan] * 5), np.arange(4), np.array(["u"] * 5, dtype=object), np.arange(5).reshape(5, 1)],
)
def test_unit_ids_that_could_split_a_unit_are_refused(ids: npt.NDArray[Any]) -> None:
    """NaN differs from itself: as a float key, each of its rows would be a unit of its own."""
    with pytest.raises(ConfigError, match="unit_ids"):
        PrivateData.of_codes(table_of(DOMAIN, REST), TEN, unit=PrivacyUnit("person", 2), unit_ids=ids)


@pytest.mark.parametrize("codes", [np.array([0, 1, 7]), np.array([0, 1, -3]), np.array([0, 1, 2**63], dtype=np.uint64)])
def test_a_code_outside_the_domain_is_clipped_and_never_an_exception(codes: npt.NDArray[Any]) -> None:
    table = CodedTable(Domain.of({"a": 3}), {"a": codes})
    private = PrivateData.of_codes(table, TEN, unit=PERSON, hook=exact_answers)
    assert private.measure(("a",), 0.1, "x").values.sum() == 3.0


@pytest.mark.parametrize("codes", [np.array([0.0, 1.0, np.nan]), np.array(["0", "1", "2"])])
def test_codes_that_are_no_whole_numbers_are_refused_by_their_type(codes: npt.NDArray[Any]) -> None:
    with pytest.raises(ConfigError, match="whole numbers"):
        PrivateData.of_codes(CodedTable(Domain.of({"a": 3}), {"a": codes}), TEN, unit=PERSON)


def test_columns_of_different_lengths_are_refused() -> None:
    columns = {"a": np.zeros(3, dtype=np.uint8), "b": np.zeros(4, dtype=np.uint8)}
    with pytest.raises(ConfigError, match="as many as"):
        PrivateData.of_codes(CodedTable(DOMAIN, columns), TEN, unit=PERSON)


# --- total ----------------------------------------------------------------------------------------------------------------


def test_the_total_is_free_only_where_every_neighbour_has_it() -> None:
    public = _private(unit=PrivacyUnit("person", 1, "replace_one"))
    assert float(public.total(0.0).values) == 5.0
    assert public.rho_spent == 0.0
    for unit in (PERSON, PrivacyUnit("person", 2, "replace_one")):
        private = _private(unit=unit, ids=range(5))
        private.total(0.1)
        assert private.rho_spent == 0.1
        with pytest.raises(BudgetError):
            private.total(0.0)


# --- degenerate tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [[], [(0, 0)]])
@pytest.mark.parametrize("question", QUESTIONS)
def test_an_empty_table_and_one_row_are_answered_like_any_other(question: str, rows: list[tuple[int, int]]) -> None:
    private = _private(rows)
    QUESTIONS[question](private)
    reference = _private()
    QUESTIONS[question](reference)
    strip = [{k: v for k, v in e.items() if k != "selected"} for e in private.transcript()["events"]]
    assert strip == [{k: v for k, v in e.items() if k != "selected"} for e in reference.transcript()["events"]]


def test_columns_of_one_level_are_measured() -> None:
    private = _private([(0, 0)] * 4, domain=Domain.of({"a": 1, "b": 1}))
    assert private.measure(("a", "b"), 0.1, "x").values.tolist() == [[4.0]]
    private.scores([("a", "b")], [np.array([[3]])], 0.1, "x")


def test_real_noise_answers_every_question() -> None:
    private = PrivateData.of_codes(table_of(DOMAIN, REST * 20), BUDGET, unit=PERSON)
    for question, ask in QUESTIONS.items():
        if private.rho_left > 0.01:
            ask(private)
        else:
            pytest.fail(f"{question} was not reached; shrink the costs")
        if private.rho_left < 0.0105:
            break
    assert not private.transcript()["noise"]["observed"]


# --- cohort ---------------------------------------------------------------------------------------------------------------


def _people(n: int, rows_each: int) -> tuple[CodedTable, npt.NDArray[np.int64]]:
    domain = Domain((Attribute("who", n), Attribute("x", 4)))
    who = np.repeat(np.arange(n), rows_each)
    table = CodedTable(domain, {"who": who.astype(np.uint16), "x": (who % 4).astype(np.uint8)})
    return table, np.random.default_rng(0).permutation(n)[who] - n // 2


@pytest.mark.parametrize("rows_each", [1, 3])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_the_cohort_is_split_by_unit_into_members_and_control(share: float, rows_each: int) -> None:
    table, ids = _people(2000, rows_each)
    unit = PrivacyUnit("person", rows_each)
    private = PrivateData.of_codes(table, TEN, unit=unit, unit_ids=ids, cohort=Cohort(share), hook=Recording())
    read = private.read_for_audit()
    train, control, members = (set(x.tolist()) for x in (read.train_units, read.control_units, read.members))
    assert not train & control
    assert members <= train
    assert train | control == set(ids.tolist())
    # Whole units: nobody's rows are on both sides, and rows are not lost.
    assert read.train.n_rows + read.control.n_rows == table.n_rows
    assert all(n == rows_each for n in np.unique(read.train_units, return_counts=True)[1])
    # A fair coin for each of about 2000 * share units: within seven standard deviations.
    cohort = len(members) + len(control)
    assert abs(cohort - 2000 * share) <= 7 * math.sqrt(2000 * share * (1 - share))
    assert abs(len(control) - cohort / 2) <= 7 * math.sqrt(cohort / 4)


def test_only_the_training_part_is_counted() -> None:
    table, ids = _people(400, 1)
    private = PrivateData.of_codes(table, TEN, unit=PERSON, unit_ids=ids, cohort=Cohort(1.0), hook=exact_answers)
    read = private.read_for_audit()
    counts = private.measure(("who",), 0.1, "x").values
    np.testing.assert_array_equal(np.flatnonzero(counts), np.sort(read.train.columns["who"]))


def test_reading_for_the_audit_is_stamped_and_free() -> None:
    private = _private(cohort=Cohort(0.5), hook=Recording())
    private.recoded(Recoding({"b": np.array([0, 1, 1])})).read_for_audit("second look")
    (event,) = private.transcript()["events"]
    assert event == {"kind": "audit_read", "stage": "second look", "rho": 0.0}
    assert private.rho_spent == 0.0


def test_without_a_cohort_nobody_may_read_the_records() -> None:
    with pytest.raises(ConfigError, match="cohort"):
        _private().read_for_audit()


def test_a_cohort_of_nobody_trains_everybody() -> None:
    read = _private(cohort=Cohort.nobody()).read_for_audit()
    assert (read.train.n_rows, read.control.n_rows, len(read.members)) == (5, 0, 0)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_outside_zero_and_one_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="share"):
        Cohort(share)


def test_who_is_left_out_depends_on_the_key_and_the_unit_alone() -> None:
    """The coins of everybody else stay as they were when a unit leaves or its records change."""
    table, ids = _people(500, 1)
    sides = []
    for rows in (np.arange(500), np.arange(1, 500)):
        part = table.take(rows)
        private = PrivateData.of_codes(part, TEN, unit=PERSON, unit_ids=ids[rows], cohort=Cohort(0.5), hook=exact_answers)
        sides.append(set(private.read_for_audit().control_units.tolist()))
    assert sides[0] - {int(ids[0])} == sides[1] - {int(ids[0])}


def test_bounding_and_cohort_draw_from_different_keys() -> None:
    stages: dict[str, int] = {}

    def notes(event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
        answer = draw()
        stages[event["stage"]] = answer
        return answer

    table = dependent_table(Domain.of({"a": 2, "b": 3}), 50, 0)
    for _ in range(2):
        before = dict(stages)
        PrivateData.of_codes(table, TEN, unit=PERSON, unit_ids=np.arange(50), cohort=Cohort(0.5), hook=notes)
        assert set(stages) == {"contribution_bounding", "cohort"}
        assert len({*stages.values(), *before.values()}) == len(stages) + len(before)
        assert all(0 <= key < 1 << 128 for key in stages.values())
