"""What a caller did wrong, as types. Each error says name=value, the rule, and what to do; none quotes a cell of the private table."""

from __future__ import annotations


class DpsynthError(Exception):
    """Base of every error a caller can cause. ``exit_code`` is what the command line returns for it."""

    exit_code = 2


class SchemaError(DpsynthError, ValueError):
    """The public schema is malformed, incomplete or contradicts itself."""


class InputError(DpsynthError, ValueError):
    """A table or file cannot be read, or its public header does not fit the schema."""


class ConfigError(DpsynthError, ValueError):
    """A parameter of the run is out of its range."""


class OutputError(DpsynthError, OSError):
    """A file cannot be written, or would overwrite one that exists."""


class BudgetError(DpsynthError, ValueError):
    """A spend would exceed the budget that is left. Nothing was read for it."""

    exit_code = 4


class LedgerError(DpsynthError, RuntimeError):
    """The ledger is locked, corrupt, or refuses the request."""

    exit_code = 4


class VerificationError(DpsynthError, ValueError):
    """A signature, digest or certificate does not verify."""

    exit_code = 5
