"""What Spark's errors become: one line that says what to do, and none of their message."""

from __future__ import annotations

from typing import Any

import pytest

from dpsynth.errors import InputError
from dpsynth.sources.spark_errors import quiet, told

protocol = pytest.importorskip("py4j.protocol", reason="the spark extra is not installed")
SECRET = "SECRET"


class _OfSpark(Exception):
    """Stands in for an exception of Spark, in Python or in Java."""

    def __init__(self, condition: str | None, cause: Any = None, message: str = SECRET, **parameters: str) -> None:
        super().__init__(f"{message}\n\tat org.apache.spark.Some.where(Some.scala:1)")
        self._condition, self._parameters, self._cause = condition, {**parameters, "expression": SECRET}, cause

    def getCondition(self) -> str | None:
        return self._condition

    def getMessageParameters(self) -> dict[str, str]:
        return self._parameters

    def getCause(self) -> Any:
        return self._cause


class _OfJava:
    """A cause that is no exception of Spark: asked for a condition, the bridge raises."""

    def __init__(self, cause: Any = None) -> None:
        self._cause = cause

    def getCause(self) -> Any:
        return self._cause

    def __getattr__(self, name: str) -> Any:
        def missing() -> None:
            raise protocol.Py4JError(f"Method {name}([]) does not exist")

        return missing


class _OverTheBridge(Exception):
    """Stands in for Py4JJavaError, which holds the exception of Java."""

    def __init__(self, java_exception: Any) -> None:
        super().__init__(SECRET)
        self.java_exception = java_exception


class _OfSpark35(Exception):
    """The same with the name of Spark 3.5."""

    def getErrorClass(self) -> str:
        return "PATH_NOT_FOUND"


MIXED = _OfSpark("FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH", column="[age]", expectedType="bigint", actualType="BINARY")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (_OfSpark("PATH_NOT_FOUND"), "spark:t does not exist; check the path"),
        (_OfSpark35(SECRET), "spark:t does not exist"),
        (_OfSpark("TABLE_OR_VIEW_NOT_FOUND"), "spark:t is not in Spark's catalogue; give its name"),
        (_OfSpark("UNABLE_TO_INFER_SCHEMA"), "spark:t holds no file with data"),
        (_OfSpark("CAST_INVALID_INPUT"), "use try_cast"),
        (_OfSpark("UNSUPPORTED_DATA_TYPE_FOR_ARROW_CONVERSION"), "does not fit into Arrow; cast it"),
        (_OfSpark("JAVA_GATEWAY_EXITED"), "install Java 17, and set JAVA_HOME"),
        (_OfSpark(None, message="ModuleNotFoundError: No module named 'dpsynth'"), "executors do not have dpsynth; install"),
        (_OfSpark(None, message="[PYTHON_VERSION_MISMATCH] SECRET"), "set PYSPARK_PYTHON"),
        (_OfSpark("FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER"), "damaged, gone, or not of the type its name says"),
        (_OverTheBridge(MIXED), "column 'age' of spark:t is BINARY in one of its files and not bigint; write all files with one type"),
        (_OverTheBridge(_OfSpark(None, _OfJava(_OfSpark(None, MIXED)))), "column 'age' of spark:t is BINARY"),
        (_OverTheBridge(_OfJava()), "Spark could not read spark:t (_OverTheBridge)"),
        (_OfSpark("USER_RAISED_EXCEPTION"), "Spark could not read spark:t (USER_RAISED_EXCEPTION)"),
    ],
)
def test_an_error_becomes_one_line_without_a_cell_or_a_stack_trace(error: Exception, said: str) -> None:
    line = told(error, "spark:t")
    assert said in line
    assert not any(word in line for word in (SECRET, "\n", "scala", "\tat "))


def test_causes_that_go_round_in_a_circle_end() -> None:
    first = _OfJava()
    first._cause = _OfJava(first)
    assert "could not read" in told(_OverTheBridge(first))


def test_the_error_of_spark_is_not_shown_behind_ours() -> None:
    errors = pytest.importorskip("pyspark.errors")
    for error in (errors.AnalysisException(SECRET), protocol.Py4JError(SECRET)):
        with pytest.raises(InputError, match="the Spark table") as caught, quiet():
            raise error
        assert caught.value.__suppress_context__ and SECRET not in str(caught.value)
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError  # a mistake of ours stays one
