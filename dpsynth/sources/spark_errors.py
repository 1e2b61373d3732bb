"""Spark's errors in one line: what is wrong with the table or the cluster, and what to do.

Their messages hold stack traces, and may hold cells. Nothing of a message is passed on: only its condition, and those of its parameters
that name a column or a type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dpsynth.errors import InputError

THE_TABLE = "the Spark table"
# Beginnings of conditions, as https://spark.apache.org/docs/latest/sql-error-conditions.html lists them.
_UNKNOWN_NAME = "is not in Spark's catalogue; give its name as SHOW TABLES writes it, or a path that holds a slash"
_SENTENCES = {
    "PATH_NOT_FOUND": "does not exist; check the path, and that every machine of Spark sees it",
    "TABLE_OR_VIEW_NOT_FOUND": _UNKNOWN_NAME,
    "SCHEMA_NOT_FOUND": _UNKNOWN_NAME,
    "REQUIRES_SINGLE_PART_NAMESPACE": _UNKNOWN_NAME,
    "INVALID_IDENTIFIER": _UNKNOWN_NAME,
    "PARSE_SYNTAX_ERROR": _UNKNOWN_NAME,
    "UNABLE_TO_INFER_SCHEMA": "holds no file with data; check the path, and that what wrote it has ended",
    "FAILED_READ_FILE": "cannot be read: one of its files is damaged, gone, or not of the type its name says",
    "CAST_INVALID_INPUT": "has a view that casts a cell which is not of that type; use try_cast in it",
    "UNSUPPORTED_DATA_TYPE": "has a type that does not fit into Arrow; cast it, e.g. to string",
}
_WITHOUT_JAVA = "Spark did not start; install Java 17, and set JAVA_HOME to its folder"
_WITHOUT_DPSYNTH = "Spark's executors do not have dpsynth; install there the version that runs here"
_OTHER_PYTHON = "Spark's executors run another Python; set PYSPARK_PYTHON to the version that runs here"
_TYPES_DIFFER = "FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH"


@contextmanager
def quiet(table: str = THE_TABLE) -> Iterator[None]:
    """Turn errors of Spark and of its bridge to Java into an `InputError` of one line about ``table``."""
    try:
        from pyspark.errors import PySparkException
    except ImportError:
        raise InputError('Spark is not installed; pip install "dpsynth-release[spark]", and Java 17') from None
    from py4j.protocol import Py4JError

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise InputError(told(error, table)) from None


def told(error: Exception, table: str = THE_TABLE) -> str:
    """What ``error`` says of ``table`` that a user can act on, without a cell."""
    condition, parameters = _condition(error)
    if condition == "JAVA_GATEWAY_EXITED":
        return _WITHOUT_JAVA
    if "No module named 'dpsynth'" in str(error):
        return _WITHOUT_DPSYNTH
    if "PYTHON_VERSION_MISMATCH" in str(error):
        return _OTHER_PYTHON
    if condition == _TYPES_DIFFER and "column" in parameters:
        found, wanted = parameters.get("actualType", "another type"), parameters.get("expectedType", "that of the others")
        column = parameters["column"].strip("[]`")
        return f"column {column!r} of {table} is {found} in one of its files and not {wanted}; write all files with one type"
    for beginning, sentence in _SENTENCES.items():
        if condition.startswith(beginning):
            return f"{table} {sentence}"
    kind = condition or type(error).__name__
    return f"Spark could not read {table} ({kind}); read it in pyspark to see why, where the message may quote cells"


def _condition(error: Any) -> tuple[str, Mapping[str, str]]:
    """The first condition on the way to the cause, and its parameters; an empty one where there is none."""
    step, steps = getattr(error, "java_exception", error), 0
    while step is not None and steps < 20:
        name = _asked(step, "getCondition")
        if name is None and not hasattr(type(step), "getCondition"):
            name = _asked(step, "getErrorClass")  # what Spark 3.5 calls it
        if name:
            return str(name), {str(key): str(value) for key, value in dict(_asked(step, "getMessageParameters") or {}).items()}
        step, steps = _asked(step, "getCause"), steps + 1
    return "", {}


def _asked(step: Any, method: str) -> Any:
    """The answer of an exception of Python or Java, None where it has no such method."""
    from py4j.protocol import Py4JError

    try:
        return getattr(step, method)()
    except (AttributeError, TypeError, Py4JError):
        return None
