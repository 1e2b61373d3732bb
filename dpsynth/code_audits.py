"""Code audits of a mechanism as configured: run on nobody's rows, kept for the next release of the same code and configuration.

What is kept says what it is the answer to: the sources, the libraries, the configuration. If any of it differs, the audits run again.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth import __version__
from dpsynth.code_audit_cache import CodeAuditCache
from dpsynth.toy_mechanism import ToyMechanism
from dpsynth.toy_schema import toy_schema

if TYPE_CHECKING:
    from audits import AuditResult, Verdict
    from dpsynth.privacy import PrivacyBudget
    from dpsynth.schema import Schema
    from dpsynth.synthesizers import Synthesizer

Progress = Callable[[str, int, int], None]
_LIBRARIES = ("numpy", "opendp", "pandas", "pyarrow", "scipy")
# Folders and files whose code can change no answer of a code audit.
_OUTSIDE = ("cli", "certificate", "datasets")


@dataclass(frozen=True)
class CodeAudits:
    """Answers of the code audits: when they ran (``made``, UTC), on what (``configuration``), and its ``digest``."""

    results: Mapping[str, AuditResult]
    configuration: Mapping[str, Any]
    digest: str
    made: str
    cached: bool

    @property
    def verdict(self) -> Verdict:
        """The suite's verdict: a violation if there is one, else inconclusive if anything is."""
        import audits

        return audits.overall(self.results.values())

    def to_dict(self) -> dict[str, Any]:
        """What evidence says of them; the results stand beside those of the release audits."""
        return {
            "results": list(self.results),
            "made": self.made,
            "cached": self.cached,
            "digest": self.digest,
            "configuration": dict(self.configuration),
        }


def toy_for(recipe: Synthesizer, schema: Schema, budget: PrivacyBudget) -> ToyMechanism:
    """``recipe`` on a toy table shaped like ``schema``; columns that the recipe names are among them."""
    named = {name for clique in getattr(recipe, "workload", None) or () for name in clique}
    target = getattr(recipe, "target", None)
    return ToyMechanism(recipe, budget, toy_schema(schema, named if target is None else {*named, target}))


def audit_code(
    mechanism: ToyMechanism,
    *,
    tier: str,
    alpha: float = 0.01,
    seed: int = 0,
    cache: CodeAuditCache | None = None,
    progress: Progress | None = None,
) -> CodeAudits:
    """The code audits of ``tier`` on ``mechanism``, from ``cache`` where it holds them for this very code and configuration.

    ``seed`` makes the toy tables; it is no part of what is kept, and the noise takes none. A violation is kept like any other answer: to
    run again until it goes away would be choosing. INCONCLUSIVE answers are not kept.
    """
    import audits

    configuration = configuration_of(mechanism, tier, alpha)
    digest = digest_of(configuration)
    # A synthesizer of the caller's own has code that the digest does not cover.
    ours = type(mechanism.recipe).__module__.startswith("dpsynth.synthesizers.")
    kept = cache.read(digest) if cache is not None and ours else None
    if kept is not None:
        results = {name: audits.AuditResult.from_dict(kept["results"][name]) for name in audits.AUDITS if name in kept["results"]}
        return CodeAudits(results, configuration, digest, str(kept["made"]), True)
    suite = audits.audit_mechanism(mechanism, tier=tier, seed=seed, alpha=alpha, progress=progress)
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if cache is not None and ours and all(result.verdict is not audits.Verdict.INCONCLUSIVE for result in suite.results.values()):
        cache.write(digest, {"made": made, "results": {name: result.to_dict() for name, result in suite.results.items()}})
    return CodeAudits(suite.results, configuration, digest, made, False)


def configuration_of(mechanism: ToyMechanism, tier: str, alpha: float) -> dict[str, Any]:
    """Everything that the answers depend on but chance, as plain JSON."""
    recipe = mechanism.recipe
    return {
        "synthesizer": {"name": recipe.name, "class": f"{type(recipe).__module__}.{type(recipe).__qualname__}", "settings": repr(recipe)},
        "claim": mechanism.claim.to_dict(),
        "columns": mechanism.schema.to_dict(),
        "tier": tier,
        "alpha": alpha,
        "sources": source_digest(),
        "version": __version__,
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
    }


def digest_of(configuration: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a configuration."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@cache
def source_digest() -> str:
    """SHA-256 of the source files of the kernel, the synthesizers, the model and the audits, by name and content."""
    found = hashlib.sha256()
    for package in ("audits", "dpsynth"):
        spec = find_spec(package)
        root = Path(next(iter(spec.submodule_search_locations or ()))) if spec else Path()
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root)
            if package == "dpsynth" and name.parts[0] in _OUTSIDE:
                continue
            found.update(f"{package}/{name.as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()
