"""Differentially private synthetic tables, attacked before they leave, released only by policy.

Names load on first use, so that a command-line start imports none of pandas, scipy or OpenDP.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import audits as audits
    import policies as policies
    import reports as reports
    from dpsynth.mixing import mix as mix
    from dpsynth.model import load as load
    from dpsynth.pipeline import release as release
    from dpsynth.privacy import PrivacyBudget as PrivacyBudget
    from dpsynth.privacy import PrivateData as PrivateData
    from dpsynth.schema import Schema as Schema
    from dpsynth.synthesizers import Adaptive as Adaptive
    from dpsynth.synthesizers import Aim as Aim
    from dpsynth.synthesizers import Independent as Independent
    from dpsynth.synthesizers import Mst as Mst

__version__ = "0.1.0"

_HOME = {
    "Adaptive": "dpsynth.synthesizers",
    "Aim": "dpsynth.synthesizers",
    "Independent": "dpsynth.synthesizers",
    "Mst": "dpsynth.synthesizers",
    "PrivacyBudget": "dpsynth.privacy",
    "PrivateData": "dpsynth.privacy",
    "Schema": "dpsynth.schema",
    "load": "dpsynth.model",
    "mix": "dpsynth.mixing",
    "release": "dpsynth.pipeline",
}
_LEAVES = ("audits", "policies", "reports")

__all__ = [
    "Adaptive",
    "Aim",
    "Independent",
    "Mst",
    "PrivacyBudget",
    "PrivateData",
    "Schema",
    "__version__",
    "audits",
    "load",
    "mix",
    "policies",
    "release",
    "reports",
]


def __getattr__(name: str) -> Any:
    if name in _LEAVES:
        value: Any = importlib.import_module(name)
    elif name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'dpsynth' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
