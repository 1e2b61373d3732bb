"""``python -m benchmarks.audits_attacks``: our membership score beside other people's, on the same releases, targets and reference records.

The others are computed from their papers' definitions and given what their authors give them: the release, reference records of the same
population and, for the marginal-based one, the marginals that were really measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.bounds import auc
from audits.membership import membership_scores
from audits.nearest import Space, kth_distance
from audits.result import AuditInput, Claim
from audits.tables import Prepared, cells, flat, prepare
from benchmarks.audits_generators import COPYING
from benchmarks.audits_releases import as_audited, columns_of, frame_of
from benchmarks.records import Records, source_digest
from benchmarks.tables import UNIT, bundled, latent_classes
from dpsynth.marginals import CodedTable
from dpsynth.privacy import Cohort, PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.noise import release_noise
from dpsynth.synthesizers import SYNTHESIZERS

Floats = npt.NDArray[np.float64]

DELTA = 1e-6
ROWS = 4000
SHARE = 0.5
"""Of the units in the cohort, half of which are left out: 1,000 members and 1,000 strangers of 4,000 rows, 3,000 of which train."""
EPSILONS = (1.0, 4.0, 10.0, 100.0)
MECHANISMS = ("mst", "adaptive", "independent")
_NOISELESS_EPSILON = 10.0
_FALSE_POSITIVE_RATE = 0.01
_KDE_ROWS = 4000


def asked(module: str, description: str | None, file: str, argv: Sequence[str] | None) -> tuple[argparse.Namespace, Records]:
    """The options of a benchmark of kinds of releases, and what it has measured already."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--releases", nargs="*", help="names of releases; default: all")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    return options, Records(options.out / file, source_digest("dpsynth", "audits"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing in ``--out``, then print AUC and TPR at 1 % FPR of our score and of the best other on every kind of release."""
    options, records = asked("audits_attacks", __doc__, "attacks.jsonl", argv)
    for repeat in range(options.repeats):
        for table in _tables(repeat):
            for release, make in releases():
                if options.releases and release not in options.releases:
                    continue
                key = {"data": table[0], "release": release, "repeat": repeat}

                def scored(real: CodedTable = table[1], make: Release = make, repeat: int = repeat) -> Mapping[str, Any]:
                    return scores_of(make(real, repeat))

                records.once(key, scored)
    _print(records)
    return 0


Release = Callable[[CodedTable, int], AuditInput]


def releases() -> Iterator[tuple[str, Release]]:
    """Every kind of release by name: correct ones, ones without noise, and copying generators."""
    for mechanism in MECHANISMS:
        for epsilon in EPSILONS:
            yield f"{mechanism}, epsilon {epsilon:g}", _released(mechanism, epsilon, release_noise)
        yield f"{mechanism}, no noise", _released(mechanism, _NOISELESS_EPSILON, silent)
    for name in COPYING:
        yield name, _copied(name)


def _tables(repeat: int) -> Iterator[tuple[str, CodedTable]]:
    """A bundled table and a generated one, each cut to ROWS rows that differ from repeat to repeat."""
    real = bundled("sipp-401k").table
    yield "sipp-401k", real.take(np.random.default_rng(repeat).permutation(real.n_rows)[:ROWS])
    yield "latent", latent_classes(ROWS, (40, 2, 30, 5, 8, 3, 20, 6, 2, 50, 4, 7), seed=repeat)


def _released(mechanism: str, epsilon: float, hook: Any) -> Release:
    def make(real: CodedTable, seed: int) -> AuditInput:
        budget = PrivacyBudget(epsilon, DELTA)
        private = PrivateData.of_codes(real, budget, unit=PrivacyUnit(UNIT, 1, "add_remove"), cohort=Cohort(SHARE), hook=hook)
        model = SYNTHESIZERS[mechanism]().fit(private)
        # As many rows as are expected to train.
        made = model.sample_codes(round(real.n_rows * (1 - SHARE / 2)), seed=seed)
        claim = Claim(UNIT, 1, "add_remove", budget.rho, epsilon, DELTA)
        return AuditInput(**as_audited(private, made), claim=claim, seed=seed)

    return make


def silent(event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
    """A kernel that forgets its noise: exact counts, the best candidate."""
    if event["kind"] == "exponential":
        return int(np.argmax(exact))
    return np.asarray(exact, dtype=np.int64) if event["kind"] == "gaussian" else draw()


def _copied(name: str) -> Release:
    def make(real: CodedTable, seed: int) -> AuditInput:
        rng = np.random.default_rng(seed)
        frame = frame_of(real)
        out = rng.random(len(frame)) < SHARE / 2
        train, control = frame[~out].reset_index(drop=True), frame[out].reset_index(drop=True)
        made = COPYING[name](train, rng)
        return AuditInput(synthetic=made, columns=columns_of(real.domain), train=train, control=control, seed=seed)

    return make


def scores_of(data: AuditInput) -> dict[str, Any]:
    """AUC and TPR at 1 % FPR of each score, on the units that our own attack does not learn from."""
    prepared = prepare(data)
    if prepared.unusable:
        raise ValueError(prepared.unusable)
    ours = membership_scores(prepared)
    game = prepared.game
    judged = ~ours.selection
    inside, outside = judged & game.member, judged & ~game.member
    out: dict[str, Any] = {"statistic": ours.overall, "at_low_fpr": ours.extreme}
    for name, (overall, extreme) in {"ours": (ours.values, ours.extremes), **{k: (v, v) for k, v in others(prepared).items()}}.items():
        limit = np.quantile(extreme[outside], 1 - _FALSE_POSITIVE_RATE, method="higher")
        out[name] = {"auc": auc(overall[inside], overall[outside])[0], "tpr": float(np.mean(extreme[inside] > limit))}
    return out


def others(prepared: Prepared) -> dict[str, Floats]:
    """Each published score of every cohort unit."""
    game = prepared.game
    rows = {name: np.zeros(len(game.rows)) for name in ("MAMA-MIA", "MAMA-MIA, logarithms", "DCR", "DCR ratio", "DOMIAS")}
    space = Space(prepared.ordered, prepared.sizes, tuple(range(len(prepared.names))))
    nearest = kth_distance(space, prepared.real.take(game.rows), prepared.synth, 1)
    rows["DCR"] = -nearest
    cliques = _measured_or_pairs(prepared)
    for units, reference in prepared.references:
        mine = units[game.owner]
        targets, crowd = prepared.real.take(game.rows[mine]), prepared.real.take(reference)
        rows["MAMA-MIA"][mine], rows["MAMA-MIA, logarithms"][mine] = _mama_mia(prepared, cliques, targets.coarse, crowd.coarse)
        own = kth_distance(space, targets, crowd, 1)
        rows["DCR ratio"][mine] = (own + 1.0) / (nearest[mine] + 1.0)
        rows["DOMIAS"][mine] = _domias(prepared, targets.coarse, crowd.coarse)
    return {name: game.per_unit(values) for name, values in rows.items()}


def _measured_or_pairs(prepared: Prepared) -> list[tuple[int, ...]]:
    """The focal points: the marginals of two and more columns that the transcript says were measured; all pairs without one."""
    from itertools import combinations

    position = {name: j for j, name in enumerate(prepared.names)}
    events = (prepared.transcript or {}).get("events", ())
    found = {tuple(sorted(position[name] for name in clique)) for event in events for clique in event.get("cliques", ())}
    return sorted(clique for clique in found if clique) or list(combinations(range(len(prepared.names)), 2))


def _mama_mia(prepared: Prepared, cliques: Sequence[tuple[int, ...]], targets: Any, crowd: Any) -> tuple[Floats, Floats]:
    """Mean over focal points of the density of the target's cell in the release over that in the reference (Golob et al. 2024), and of its
    logarithm."""
    ratio, logarithm = np.zeros(len(targets)), np.zeros(len(targets))
    for clique in cliques:
        size = cells(clique, prepared.sizes)
        at = flat(targets, clique, prepared.sizes)
        shares = []
        for table in (prepared.synth.coarse, crowd):
            counts = np.bincount(flat(table, clique, prepared.sizes), minlength=size)
            shares.append((counts[at] + 0.5) / (len(table) + 1.0))
        ratio += shares[0] / shares[1]
        logarithm += np.log(shares[0] / shares[1])
    return ratio / len(cliques), logarithm / len(cliques)


def _domias(prepared: Prepared, targets: Any, crowd: Any) -> Floats:
    """Ratio of two kernel density estimates, release over reference (van Breugel et al. 2023), on standardised principal coordinates.

    Categories are indicators; the projection keeps Scott's bandwidth and the covariance well conditioned.
    """
    from scipy.stats import gaussian_kde
    from sklearn.decomposition import PCA

    tables = [_indicators(prepared, table) for table in (targets, prepared.synth.coarse[:_KDE_ROWS], crowd[:_KDE_ROWS])]
    both = np.concatenate(tables[1:])
    scale = np.maximum(both.std(axis=0), 1e-9)
    reduced = PCA(n_components=0.95, svd_solver="full").fit(both / scale)
    places = [reduced.transform(table / scale) / np.sqrt(reduced.explained_variance_) for table in tables]
    top, bottom = (gaussian_kde(places[i].T).logpdf(places[0].T) for i in (1, 2))
    return np.asarray(np.clip(top, -700, 700) - np.clip(bottom, -700, 700))


def _indicators(prepared: Prepared, codes: Any) -> Floats:
    parts = []
    for j, size in enumerate(prepared.sizes.tolist()):
        column = codes[:, [j]].astype(np.float64)
        parts.append(column if prepared.ordered[j] else (column == np.arange(size)).astype(np.float64))
    return np.concatenate(parts, axis=1)


def _print(records: Records) -> None:
    """A table in Markdown: means over tables and repeats, and how far ours is from the best other by its mean, in standard errors."""
    lines = []
    for release, _ in releases():
        rows = records.where(release=release)
        if not rows:
            continue
        others_there = [name for name, value in rows[0].items() if isinstance(value, dict) and name != "ours"]
        cells = [f"| {release} "]
        for figure in ("auc", "tpr"):
            found = {name: np.array([row[name][figure] for row in rows]) for name in ("ours", *others_there)}
            best = max(others_there, key=lambda name: float(found[name].mean()))
            gap = found["ours"] - found[best]
            error = float(gap.std(ddof=1)) / len(gap) ** 0.5 if len(gap) > 1 else float("nan")
            cells.append(f"| {found['ours'].mean():.3f} | {found[best].mean():.3f} ({best}) | {gap.mean():+.3f} ± {error:.3f} ")
        lines.append("".join(cells) + "|")
    print("| release | AUC, ours | best other | difference | TPR at 1 % FPR, ours | best other | difference |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
