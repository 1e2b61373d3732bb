"""The straight line: source -> private data -> model -> synthetic table -> audits -> decision -> bundle. Nothing goes round it."""

from __future__ import annotations

import json
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth import bundle as bundles
from dpsynth import certificate, companions, evidence
from dpsynth.dossier import Dossier
from dpsynth.errors import ConfigError, InputError
from dpsynth.privacy import Cohort, PrivacyBudget, PrivateData
from dpsynth.privacy.ledger import MAX_ATTEMPTS, Ledger, Reservation
from dpsynth.schema import Schema, Unit
from dpsynth.synthesizers import SYNTHESIZERS, Adaptive, Aim, Synthesizer, choose

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import pyarrow as pa

    from audits import Claim
    from dpsynth.encode import Encoder
    from dpsynth.model import SyntheticModel
    from dpsynth.streaming import IdentifiedChunks
    from policies import Decision, Waiver

Progress = Callable[[str, int, int], None]

# The audit cohort: about this many units, and never more than this share of them, may be left out of training.
# Half of them are members, and policies ask for a thousand attacks on members: two thousand would be too few every other time.
_COHORT_UNITS = 2400
_COHORT_SHARE = 0.2
# Tables of more rows are drawn and written in chunks where nobody needs them whole.
_STREAMED_FROM = 1_000_000
# A release is audited whole, in memory: larger ones are made only for those who ask for their number of rows.
_RELEASED = 1_000_000
# With fewer rows expected to be new, a control table's overlap with the training table cannot be told from chance.
_ENOUGH_UNSEEN = 40


@dataclass(frozen=True)
class ReleaseOutcome:
    """What became of a release. ``bundle.public`` is None when it was refused."""

    decision: Decision
    bundle: bundles.Bundle
    epsilon: float
    delta: float
    unit: str
    synthesizer: str
    n_rows: int
    seconds: Mapping[str, float]
    sign_off: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 0 permitted, 1 denied, 3 indeterminate."""
        return self.decision.exit_code

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; the decision without measured values."""
        return {
            "decision": self.decision.to_dict("verdicts"),
            "exit_code": self.exit_code,
            "bundle": {
                "public": None if self.bundle.public is None else str(self.bundle.public),
                "internal": str(self.bundle.internal),
            },
            "epsilon": self.epsilon,
            "delta": self.delta,
            "unit": self.unit,
            "synthesizer": self.synthesizer,
            "n_rows": self.n_rows,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }


@dataclass(frozen=True)
class Synthesis:
    """A fitted model and the table drawn from it; not audited."""

    model: SyntheticModel
    table: pd.DataFrame
    unit: str
    synthesizer: str


def release(
    source: Any,
    *,
    schema: Schema | str | Path,
    policy: str | Path,
    out: str | Path,
    epsilon: float,
    delta: float,
    synthesizer: str | Synthesizer = "auto",
    rows: int | None = None,
    ledger: str | Path | None = None,
    cap: tuple[float, float] | None = None,
    key: str | Path | None = None,
    role: str = "publisher",
    control: Any = None,
    tier: str = "standard",
    seed: int | None = None,
    waivers: Sequence[Waiver] = (),
    approvals: Sequence[Mapping[str, str]] = (),
    sign_off: Sequence[str] = (),
    supersedes: str | None = None,
    purpose: str | None = None,
    recipient: str | None = None,
    about: companions.About | str | Path | None = None,
    force: bool = False,
    cache: bool = True,
    progress: Progress | None = None,
) -> ReleaseOutcome:
    """Synthesize under (``epsilon``, ``delta``), attack the result, and publish it only if ``policy`` permits.

    Everything that can be refused without a record is refused before one is read: arguments, schema, policy, key, output folder, budget.
    A refusal by the policy is a returned outcome, not an exception. ``cap`` sets the ledger's cap for this population at first use.
    ``approvals`` were given beforehand; ``sign_off`` names roles whose signatures the certificate needs before it verifies.
    ``supersedes`` is the id of the release that this one replaces. Without ``rows`` as many are made as the table has, up to a million.
    ``about`` is what the publisher says in public (licence, region, answers to the datasheet); blanks stay where it is silent.
    ``cache=False`` runs the code audits again even if this code and configuration passed them before.
    """
    import audits
    import policies
    from audits.registry import TIERS
    from dpsynth.code_audit_cache import CodeAuditCache
    from dpsynth.code_audits import audit_code, toy_for
    from dpsynth.encode import Encoder
    from dpsynth.sources import open_source

    step = _Stages(progress)
    # --- before any record
    schema = _schema(schema)
    budget = PrivacyBudget(epsilon, delta).with_open_columns(len(schema.open))
    rules = policies.load(policy)
    recipe = _recipe(synthesizer, schema, budget)
    if supersedes is not None:
        certificate.check_release_id(supersedes)
    sign_off = tuple(dict.fromkeys(certificate.check_role(role) for role in sign_off))
    signing_key = None if key is None else certificate.SigningKey.read(key)
    said_by_people = about if isinstance(about, companions.About) else companions.About.read(about) if about else companions.About()
    if rows is not None and rows < 1:
        raise ConfigError(f"rows={rows} must be >= 1")
    if seed is None:
        seed = secrets.randbits(32)
    if tier not in TIERS:
        raise ConfigError(f"tier={tier!r} must be one of {', '.join(TIERS)}")
    # Opened before the charge: a control table that is not there must not cost a release.
    others = None if control is None else open_source(control, Encoder(schema).columns)
    with bundles.BundleWriter(out, force=force) as writer:
        attempts = rules.budget.get("max_attempts", MAX_ATTEMPTS)
        with _charged(ledger, schema, budget, f"release of {schema.dataset}", cap, max_attempts=attempts) as account:
            # --- real records, from here to the fitted model
            with step("read"):
                private = PrivateData.read(
                    source,
                    schema,
                    budget,
                    cohort=_cohort(schema) if others is None else Cohort.nobody(),
                    before_reading=account.mark_read,
                )
            with step("synthesize"):
                model = recipe.fit(private, progress)
                schema = _closed(schema, model)
                table, rows_source = _draw(model, schema, rows, seed, _RELEASED)
            parquet = writer.public_path("synthetic.parquet")
            _write_tables(table, writer)
            sha256 = bundles.sha256_of(parquet)
            # --- internal: attacks on the very file that would be released
            with step("audit"):
                tables = _audit_tables(private, schema, parquet, others)
                claim = _claim(schema, budget)
                mechanism = toy_for(recipe, schema.declared, budget)
                code = audit_code(mechanism, tier=tier, cache=CodeAuditCache.of_user() if cache else None, progress=progress)
                found = audits.run(
                    **tables,
                    transcript=private.transcript(),
                    claim=claim,
                    mechanism=mechanism,
                    tier=tier,
                    seed=seed,
                    known=code.results,
                    progress=progress,
                )
                suite = {**found.to_dict(), "rows": {"trained": tables["trained"], "seen": len(tables["train"])}, "code": code.to_dict()}
            with step("compare"):
                compared = audits.AuditInput(**tables, claim=claim, tier=tier, seed=seed)
                content = {**audits.scan_content(tables["synthetic"], tables["columns"]), **_kept_relations(schema, parquet)}
                # An empty table is judged like any other: an error of its own would say that it is empty.
                fidelity = audits.measure_fidelity(compared) if len(tables["train"]) else {}
                similarity = audits.measure_similarity(compared)
            # --- decision
            facts = evidence.ReleaseFacts(
                id=account.reservation.id if account.reservation else uuid.uuid4().hex,
                created=datetime.now(UTC).replace(microsecond=0),
                n_rows=len(table),
                rows_source=rows_source,
                whole_units=schema.unit.by_person,
                synthesizer=recipe.name,
                sha256=sha256,
                attempt=account.attempt,
                signed=signing_key is not None,
                purpose=purpose,
                recipient=recipient,
                approvals=tuple(approvals),
                sign_off=sign_off,
            )
            # The fit's transcript, with the stamp that the audit read the records.
            fitted = replace(model, transcript=private.transcript())
            document = evidence.build(
                facts, schema, fitted, claim, suite, fidelity, similarity, content, account.reservation, account.head, step.seconds
            )
            document = json.loads(json.dumps(document, allow_nan=False))
            decision = policies.evaluate(document, rules, waivers=waivers, now=facts.created)
            dossier = Dossier(document, schema, rules, fitted.transcript, seed, said_by_people, supersedes)
            account.commit(decision.verdict, dossier.seal(writer, decision))
        with step("write"):
            dossier.write(writer, decision, waivers, signing_key, role)
            bundle = writer.finish()
    return ReleaseOutcome(decision, bundle, float(epsilon), float(delta), schema.unit.name, recipe.name, len(table), step.seconds, sign_off)


@dataclass(frozen=True)
class Fitted:
    """A model of a table, and how many rows of it are wanted. ``seed`` is that of the rows."""

    model: SyntheticModel
    schema: Schema
    rows: int
    seed: int
    synthesizer: str

    @property
    def streams(self) -> bool:
        """Whether the rows are written chunk by chunk: too many for a table in memory, and not in groups of one person."""
        return self.rows > _STREAMED_FROM and not self.schema.unit.by_person

    def table(self) -> pd.DataFrame:
        """The rows in schema order, identifiers made up anew."""
        return _draw(self.model, self.schema, self.rows, self.seed, self.rows)[0]

    def batches(self) -> IdentifiedChunks:
        """The rows chunk by chunk; see `dpsynth.streaming`."""
        from dpsynth.streaming import Chunks, IdentifiedChunks

        return IdentifiedChunks(Chunks(self.model, self.rows, self.seed), self.schema)


def fit(
    source: Any,
    *,
    schema: Schema | str | Path,
    epsilon: float,
    delta: float,
    synthesizer: str | Synthesizer = "auto",
    fast: bool = False,
    target: str | None = None,
    rows: int | None = None,
    ledger: str | Path | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """A model under (``epsilon``, ``delta``), charged to ``ledger`` but neither audited nor gated: for use inside the house.

    ``target`` names a column whose relations matter most, such as what a model will be trained to predict (`Adaptive` and `Aim`).
    """
    schema = _schema(schema)
    budget = PrivacyBudget(epsilon, delta).with_open_columns(len(schema.open))
    recipe = _recipe(synthesizer, schema, budget, fast=fast, target=target)
    if rows is not None and rows < 1:
        raise ConfigError(f"rows={rows} must be >= 1")
    step = _Stages(progress)
    # Nobody chooses among attempts whose verdict nobody sees.
    with _charged(ledger, schema, budget, f"synthesis of {schema.dataset}", None, max_attempts=sys.maxsize) as account:
        with step("read"):
            private = PrivateData.read(source, schema, budget, before_reading=account.mark_read)
        with step("synthesize"):
            model = recipe.fit(private, progress)
        account.commit("ungated")
    return Fitted(
        model, _closed(schema, model), rows or schema.rows or model.rows, secrets.randbits(32) if seed is None else seed, recipe.name
    )


def synthesize(
    source: Any,
    *,
    schema: Schema | str | Path,
    epsilon: float,
    delta: float,
    synthesizer: str | Synthesizer = "auto",
    fast: bool = False,
    target: str | None = None,
    rows: int | None = None,
    ledger: str | Path | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Synthesis:
    """As `fit`, and the table drawn from the model."""
    fitted = fit(
        source,
        schema=schema,
        epsilon=epsilon,
        delta=delta,
        synthesizer=synthesizer,
        fast=fast,
        target=target,
        rows=rows,
        ledger=ledger,
        seed=seed,
        progress=progress,
    )
    return Synthesis(fitted.model, fitted.table(), fitted.schema.unit.name, fitted.synthesizer)


# --- steps --------------------------------------------------------------------------------------------------------------------------


@dataclass
class _Stages:
    """Seconds per stage, told to the caller's progress."""

    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if self.progress:
            self.progress(name, 0, 0)
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began


@dataclass
class _Account:
    """The charge of one run, with or without a ledger."""

    ledger: Ledger | None
    reservation: Reservation | None

    @property
    def attempt(self) -> int:
        return self.reservation.attempt if self.reservation else 1

    @property
    def head(self) -> str | None:
        return self.ledger.head if self.ledger else None

    def mark_read(self) -> None:
        if self.ledger and self.reservation:
            self.ledger.mark_read(self.reservation)

    def commit(self, outcome: str, seal: str | None = None) -> None:
        """``seal`` is that of a refusal whose table is kept."""
        if self.ledger and self.reservation:
            self.ledger.commit(self.reservation, outcome=outcome, meta=None if seal is None else {"refusal": seal})


@contextmanager
def _charged(
    path: str | Path | None,
    schema: Schema,
    budget: PrivacyBudget,
    purpose: str,
    cap: tuple[float, float] | None,
    *,
    max_attempts: int = MAX_ATTEMPTS,
) -> Iterator[_Account]:
    """Reserve the budget, or refuse; on any failure close the reservation, which stays charged once records were read."""
    if path is None:
        yield _Account(None, None)
        return
    ledger = Ledger.open(path)
    reservation = ledger.reserve(
        schema.population,
        schema.unit.name,
        budget.epsilon,
        budget.delta,
        # Approximate zCDP does not add up by rho alone: such a charge has none, and a cap composed by zCDP refuses it.
        None if budget.threshold_delta else budget.rho,
        purpose=purpose,
        cap=cap,
        max_attempts=max_attempts,
        accounting=f"zCDP, {schema.neighbours}, at most {schema.unit.max_rows} rows per unit",
    )
    try:
        yield _Account(ledger, reservation)
    except BaseException:
        ledger.abandon(reservation, reason="the run did not finish")
        raise


def _schema(schema: Schema | str | Path) -> Schema:
    return schema if isinstance(schema, Schema) else Schema.read(schema)


def _closed(schema: Schema, model: SyntheticModel) -> Schema:
    """The schema with the categories that the fit found for its open columns."""
    return schema if model.encoder is None or not schema.open else model.encoder.schema


def _recipe(
    synthesizer: str | Synthesizer, schema: Schema, budget: PrivacyBudget, *, fast: bool = False, target: str | None = None
) -> Synthesizer:
    if not isinstance(synthesizer, str):
        recipe = synthesizer
    elif synthesizer == "auto":
        recipe = choose(schema.rows, len(schema.modelled), 1 if schema.unit.by_person else schema.unit.max_rows, budget, fast=fast)
        if target is not None and not isinstance(recipe, Adaptive):
            raise ConfigError(f"target={target!r}: the budget is too small for relations between columns; leave the target out")
    elif synthesizer not in SYNTHESIZERS:
        raise ConfigError(f"synthesizer={synthesizer!r} must be one of auto, {', '.join(SYNTHESIZERS)}")
    elif fast and synthesizer != Adaptive.name:
        raise ConfigError(f"fast=True goes with synthesizer auto or adaptive, not {synthesizer!r}")
    else:
        recipe = Adaptive(refine=False) if fast else SYNTHESIZERS[synthesizer]()
    if target is None:
        return recipe
    if not isinstance(recipe, Adaptive | Aim):
        raise ConfigError(f"target={target!r} goes with synthesizer auto, adaptive or aim, not {recipe.name!r}")
    modelled = [f.name for f in schema.modelled if f.name not in schema.derived]
    if target not in modelled:
        raise ConfigError(f"target={target!r} must be a modelled column of the schema: {', '.join(modelled)}")
    return replace(recipe, target=target)


def _cohort(schema: Schema) -> Cohort:
    """From public numbers only: the declared bound of the population, else the declared number of rows, else the largest share."""
    units = schema.population_bound or schema.rows
    return Cohort(min(_COHORT_SHARE, _COHORT_UNITS / units) if units else _COHORT_SHARE)


def _claim(schema: Schema, budget: PrivacyBudget) -> Claim:
    from audits import Claim

    return Claim(
        schema.unit.name,
        schema.unit.max_rows,
        schema.neighbours,
        budget.rho,
        float(budget.epsilon),
        float(budget.delta),
        float(budget.threshold_delta),
    )


def _draw(model: SyntheticModel, schema: Schema, rows: int | None, seed: int, most: int) -> tuple[pd.DataFrame, str]:
    """Synthetic rows in schema order with new identifiers, and where their number comes from; at most ``most``, unless ``rows`` asks."""
    from dpsynth.identifiers import surrogates, surrogates_of_persons

    n, where = (rows, "caller") if rows is not None else (schema.rows, "schema") if schema.rows else (model.rows, "dp")
    n = n if rows is not None else min(n, most)
    table = model.sample(n, seed=seed)
    made = surrogates_of_persons(schema, _owners(table, schema), seed) if schema.unit.by_person else surrogates(schema, n, seed)
    for place, declared in enumerate(schema.fields):
        if declared.name in made:
            table.insert(place, declared.name, made[declared.name])
    return table, where


def _owners(table: pd.DataFrame, schema: Schema) -> npt.NDArray[np.int64]:
    """The number of the synthetic person of each row, from 0."""
    import pandas as pd

    return pd.factorize(table[schema.unit.field])[0].astype("int64")


def _audit_tables(private: PrivateData, schema: Schema, parquet: Path, others: Iterator[pa.RecordBatch] | None) -> dict[str, Any]:
    """Train, control and synthetic at the one granularity that audits compare: the public grid."""
    from dpsynth.encode import Encoder
    from dpsynth.persons import with_counts
    from dpsynth.sources import open_source
    from dpsynth.toy_mechanism import audit_columns, count_column

    read = private.read_for_audit()
    encoder = Encoder(schema)
    train = encoder.canonical(read.train.columns)
    members: npt.NDArray[np.int64] | None = read.members
    if others is None:
        other, other_units = encoder.canonical(read.control.columns), read.control_units
    else:
        other, other_units = _control_table(encoder, others)
        _refuse_overlap(train, other, read.train_units, other_units if schema.unit.field else None)
        members = None
    made = encoder if schema.unit.by_person else Encoder(replace(schema, unit=Unit(schema.unit.name), primary_key=()))
    drawn = made.encode(open_source(parquet, made.columns))
    synthetic, columns = made.canonical(drawn.codes), audit_columns(schema)
    if schema.unit.by_person and drawn.units is not None:
        # The number of a person's rows can be seen in the release, so the attacks may use it.
        pairs = ((train, read.train_units), (other, other_units), (synthetic, drawn.units))
        train, other, synthetic = (with_counts(table, units, schema) for table, units in pairs)
        columns = (*columns, count_column(schema))
    return {
        "train": train,
        "control": other,
        "synthetic": synthetic,
        "columns": columns,
        "train_units": read.train_units,
        "control_units": other_units,
        "members": members,
        "trained": read.trained,
    }


def _kept_relations(schema: Schema, parquet: Path) -> dict[str, Any]:
    """How many rows of the very file that would be released break a declared relation, and which."""
    import pandas as pd

    from dpsynth.constraints.checking import columns_read, violations

    found = violations(schema, pd.read_parquet(parquet, columns=columns_read(schema)))
    return {"constraint_violations": found["rows"], "constraints": found["relations"]}


def _control_table(encoder: Encoder, others: Iterator[pa.RecordBatch]) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    import numpy as np

    from dpsynth.marginals import UNIT
    from dpsynth.privacy.unit import bounded_rows, row_order, settled

    encoded = encoder.encode(others)
    if encoded.units is None:
        return encoder.canonical(encoded.codes), np.arange(encoded.n_rows, dtype=np.int64)
    kept = encoded.take(bounded_rows(encoded.units, encoder.schema.unit.max_rows, secrets.randbits(128)))
    units = kept.units if kept.units is not None else np.arange(kept.n_rows, dtype=np.int64)
    order, grid = row_order(units, secrets.randbits(128)), encoder.grid_domain
    codes = {
        name: settled(column, units, order, grid[name].size - 1 if grid[name].nullable else None) if grid[name].scope == UNIT else column
        for name, column in kept.codes.items()
    }
    return encoder.canonical(codes), units


def _refuse_overlap(
    train: pd.DataFrame,
    control: pd.DataFrame,
    train_units: npt.NDArray[np.int64],
    control_units: npt.NDArray[np.int64] | None,
) -> None:
    """A control set that took part in training would make every attack look harmless."""
    import numpy as np
    import pandas as pd

    from dpsynth.encode import KEYLESS_UNIT

    if control_units is not None:
        named = control_units[control_units != KEYLESS_UNIT]
        overlapping = bool(np.isin(named, train_units).any())
    else:
        known, times = np.unique(pd.util.hash_pandas_object(train, index=False).to_numpy(), return_counts=True)
        asked = pd.util.hash_pandas_object(control, index=False).to_numpy()
        # Of fresh rows as many are unseen as the share of training rows that stand alone (Good 1953, "Population frequencies of species").
        expected = len(asked) * float((times == 1).sum()) / max(1, len(train))
        unseen = float((~np.isin(asked, known)).sum())
        overlapping = expected >= _ENOUGH_UNSEEN and unseen < 0.5 * expected
    if overlapping:
        raise InputError("the control set overlaps the training table; give records of units that are not in it")


def _write_tables(table: pd.DataFrame, writer: bundles.BundleWriter) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Without pandas' own metadata: the file holds the columns and nothing about this machine.
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(arrow, writer.public_path("synthetic.parquet"), compression="zstd")
    table.to_csv(writer.public_path("synthetic.csv"), index=False)
