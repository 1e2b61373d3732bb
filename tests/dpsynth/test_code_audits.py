"""Answers of code audits are kept for the very code and configuration they are about, and for nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import audits
from audits.result import AuditResult, Verdict
from dpsynth import code_audits
from dpsynth.code_audit_cache import CodeAuditCache
from dpsynth.code_audits import audit_code, configuration_of, digest_of, toy_for
from dpsynth.privacy import PrivacyBudget
from dpsynth.synthesizers import Adaptive, Independent, Mst
from dpsynth.toy_mechanism import ToyMechanism
from dpsynth.toy_schema import standard_schema

SCHEMA = standard_schema("person", 2, "add_remove")
MECHANISM = toy_for(Independent(), SCHEMA, PrivacyBudget(1.0, 1e-6))


@pytest.fixture
def cache(tmp_path: Path) -> CodeAuditCache:
    return CodeAuditCache(tmp_path / "code-audits")


def answer(verdict: Verdict = Verdict.NOT_FALSIFIED) -> AuditResult:
    return AuditResult("record_replay", verdict, 1.0, (None, None), 0.95, 3, 1.0, "x", MECHANISM.claim.digest, 0.1, "why")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts real runs of the suite, which here answers at once."""
    made: list[str] = []

    def instead(mechanism: Any, *, tier: str, **rest: Any) -> audits.SuiteResult:
        made.append(tier)
        verdict = {"smoke": Verdict.NOT_FALSIFIED, "standard": Verdict.VIOLATION, "deep": Verdict.INCONCLUSIVE}[tier]
        return audits.SuiteResult(verdict, {"record_replay": answer(verdict)}, tier, 0.01, mechanism.claim)

    monkeypatch.setattr(audits, "audit_mechanism", instead)
    return made


def test_the_second_time_costs_nothing_and_says_when_the_first_was(cache: CodeAuditCache, runs: list[str]) -> None:
    first = audit_code(MECHANISM, tier="smoke", cache=cache)
    again = audit_code(MECHANISM, tier="smoke", cache=cache)

    assert runs == ["smoke"]
    assert (first.cached, again.cached) == (False, True)
    assert (again.made, again.digest, again.results) == (first.made, first.digest, first.results)
    assert again.to_dict()["configuration"]["sources"] == code_audits.source_digest()


def test_without_a_cache_they_run_again(runs: list[str]) -> None:
    audit_code(MECHANISM, tier="smoke")
    audit_code(MECHANISM, tier="smoke")

    assert len(runs) == 2


def test_a_violation_is_kept_and_what_could_not_be_judged_is_not(cache: CodeAuditCache, runs: list[str]) -> None:
    for tier in ("standard", "standard", "deep", "deep"):
        audit_code(MECHANISM, tier=tier, cache=cache)

    assert runs == ["standard", "deep", "deep"]


@pytest.mark.parametrize(
    "other",
    [
        toy_for(Mst(), SCHEMA, PrivacyBudget(1.0, 1e-6)),
        toy_for(Independent(), SCHEMA, PrivacyBudget(1.5, 1e-6)),
        toy_for(Independent(), SCHEMA, PrivacyBudget(1.0, 1e-7)),
        toy_for(Independent(), standard_schema("person", 3, "add_remove"), PrivacyBudget(1.0, 1e-6)),
        toy_for(Independent(), standard_schema("person", 2, "replace_one"), PrivacyBudget(1.0, 1e-6)),
        toy_for(Independent(), replace(SCHEMA, fields=SCHEMA.fields[:-1]), PrivacyBudget(1.0, 1e-6)),
    ],
)
def test_any_other_configuration_is_another_question(cache: CodeAuditCache, runs: list[str], other: ToyMechanism) -> None:
    audit_code(MECHANISM, tier="smoke", cache=cache)
    audit_code(other, tier="smoke", cache=cache)

    assert len(runs) == 2


def test_so_are_other_settings_sources_libraries_and_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = PrivacyBudget(1.0, 1e-6)
    digests = [digest_of(configuration_of(toy_for(recipe, SCHEMA, budget), "smoke", 0.01)) for recipe in (Adaptive(), Adaptive(rounds=2))]
    digests.append(digest_of(configuration_of(toy_for(Adaptive(), SCHEMA, budget), "deep", 0.01)))
    monkeypatch.setattr(code_audits, "source_digest", lambda: "0" * 64)
    digests.append(digest_of(configuration_of(toy_for(Adaptive(), SCHEMA, budget), "smoke", 0.01)))
    monkeypatch.setattr(code_audits.metadata, "version", lambda name: "0.0")
    digests.append(digest_of(configuration_of(toy_for(Adaptive(), SCHEMA, budget), "smoke", 0.01)))

    assert len(set(digests)) == 5


def test_a_synthesizer_from_elsewhere_is_never_kept(cache: CodeAuditCache, runs: list[str]) -> None:
    class Own(Independent):
        pass

    for _ in range(2):
        audit_code(toy_for(Own(), SCHEMA, PrivacyBudget(1.0, 1e-6)), tier="smoke", cache=cache)

    assert len(runs) == 2


def _edit(path: Path) -> None:
    path.write_text(path.read_text().replace("NOT_FALSIFIED", "VIOLATION"))


def _cut(path: Path) -> None:
    path.write_text(path.read_text()[:40])


def _open_to_all(path: Path) -> None:
    path.chmod(0o666)


def _linked(path: Path) -> None:
    path.rename(path.with_suffix(".kept"))
    path.symlink_to(path.with_suffix(".kept"))


def _renamed(path: Path) -> None:
    document = json.loads(path.read_text())
    document["body"]["made"] = "2001-01-01T00:00:00Z"
    path.write_text(json.dumps(document))


def _foreign(path: Path) -> None:
    """Another user's file: a right seal, by another key."""
    other = CodeAuditCache(path.parent.parent / "theirs")
    other.write(path.stem, json.loads(path.read_text())["body"])
    path.write_bytes((other.folder / path.name).read_bytes())


@pytest.mark.parametrize("spoil", [_edit, _cut, _open_to_all, _linked, _renamed, _foreign])
def test_a_spoiled_or_foreign_file_is_not_believed(cache: CodeAuditCache, runs: list[str], spoil: Any) -> None:
    audit_code(MECHANISM, tier="smoke", cache=cache)
    (path,) = cache.folder.glob("*.json")
    spoil(path)

    assert audit_code(MECHANISM, tier="smoke", cache=cache).cached is False
    assert len(runs) == 2


def test_an_answer_filed_under_another_digest_is_not_believed(cache: CodeAuditCache) -> None:
    cache.write("a" * 64, {"made": "now"})
    (cache.folder / f"{'b' * 64}.json").write_bytes((cache.folder / f"{'a' * 64}.json").read_bytes())

    assert cache.read("a" * 64) == {"made": "now"}
    assert cache.read("b" * 64) is None


def test_a_folder_that_cannot_be_written_costs_time_and_nothing_else(tmp_path: Path, runs: list[str]) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        audit_code(MECHANISM, tier="smoke", cache=CodeAuditCache(tmp_path / "file" / "below"))

    assert len(runs) == 2


def test_the_cache_is_the_users_and_closed_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = CodeAuditCache.of_user()
    cache.write("c" * 64, {})

    assert cache.folder == tmp_path / "dpsynth" / "code-audits"
    assert {oct(path.stat().st_mode & 0o777) for path in cache.folder.iterdir()} == {"0o600"}
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert CodeAuditCache.of_user().folder == Path.home() / ".cache" / "dpsynth" / "code-audits"


def test_answers_about_another_claim_are_refused_by_the_suite() -> None:
    with pytest.raises(audits.AuditError, match="another claim"):
        audits.run(
            synthetic=pd.DataFrame({"a": [1]}),
            claim=replace(MECHANISM.claim, epsilon=2.0),
            known={"record_replay": answer()},
            names=["record_replay"],
        )


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert CodeAuditCache.of_user() is None

    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert CodeAuditCache.of_user() == CodeAuditCache(Path("/var/cache/dpsynth/code-audits"))
