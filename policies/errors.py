"""The one error of this package: a policy, waiver, evidence or case document that cannot be trusted as written."""

from __future__ import annotations


class PolicyError(ValueError):
    """A document is malformed, contradicts itself, or loosens what it extends; the message says where."""
