"""Release policies: JSON documents in, a ``Decision`` out.

A policy can refuse a release and never make one safe; what it permits is what its rules say and nothing more.
"""

from policies.cases import CaseResult, run_cases
from policies.comparison import Difference, diff
from policies.decision import Decision, Finding, WaiverUse
from policies.errors import PolicyError
from policies.evaluator import evaluate
from policies.evidence import load_evidence
from policies.explanation import explain
from policies.linter import Advice, lint
from policies.loader import effective, load, loads, names, restore
from policies.metrics import METRICS
from policies.operators import OPERATORS
from policies.outputs import RENDERERS, render
from policies.policy import Policy, Rule, Source
from policies.waivers import Waiver, load_waivers

__all__ = [
    "METRICS",
    "OPERATORS",
    "RENDERERS",
    "Advice",
    "CaseResult",
    "Decision",
    "Difference",
    "Finding",
    "Policy",
    "PolicyError",
    "Rule",
    "Source",
    "Waiver",
    "WaiverUse",
    "diff",
    "effective",
    "evaluate",
    "explain",
    "lint",
    "load",
    "load_evidence",
    "load_waivers",
    "loads",
    "names",
    "render",
    "restore",
    "run_cases",
]
