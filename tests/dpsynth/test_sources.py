from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from dpsynth.encode import Encoder
from dpsynth.errors import InputError
from dpsynth.schema import Field, Schema, Unit
from dpsynth.sources import SOURCES, CsvFile, header, open_source
from dpsynth.sources.columns import BATCH_ROWS

CANARY = "CANARY-7731"
TABLE = pa.table({"a": ["1", "2", ""], "b.c": ["x", 'y "z"\n, w', None], "extra": [CANARY] * 3})
COLUMNS = ["b.c", "a"]


def csv_text(separator: str = ",", line_end: str = "\n") -> bytes:
    text = TABLE.to_pandas().to_csv(index=False, sep=separator, lineterminator=line_end)
    assert isinstance(text, str)
    return text.encode()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_zstd(path: Path) -> Path:
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(csv_text())
    return path


def write_ipc(path: Path, maker: Callable[..., Any]) -> Path:
    with maker(str(path), TABLE.schema) as writer:
        writer.write_table(TABLE)
    return path


def write_parquet(path: Path) -> Path:
    pq.write_table(TABLE, path)
    return path


def write_feather(path: Path) -> Path:
    feather.write_feather(TABLE, str(path))
    return path


class OneShot:
    """A stream that can be exported once, as those of other libraries."""

    def __init__(self) -> None:
        self.reader: pa.RecordBatchReader | None = TABLE.to_reader()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        assert self.reader is not None
        reader, self.reader = self.reader, None
        return reader.__arrow_c_stream__(requested_schema)


TABLES: dict[str, Callable[[Path], Any]] = {
    "csv": lambda folder: write(folder / "t.csv", csv_text()),
    "csv as text path": lambda folder: str(write(folder / "t.CSV", csv_text())),
    "csv with a byte order mark": lambda folder: write(folder / "t.csv", b"\xef\xbb\xbf" + csv_text()),
    "csv with carriage returns": lambda folder: write(folder / "t.csv", csv_text(line_end="\r\n")),
    "csv.gz": lambda folder: write(folder / "t.csv.gz", gzip.compress(csv_text())),
    "csv.gz in two members": lambda folder: write(folder / "t.csv.gz", gzip.compress(csv_text()[:20]) + gzip.compress(csv_text()[20:])),
    "csv.bz2": lambda folder: write(folder / "t.csv.bz2", bz2.compress(csv_text())),
    "csv.xz": lambda folder: write(folder / "t.csv.xz", lzma.compress(csv_text())),
    "csv.zst": lambda folder: write_zstd(folder / "t.csv.zst"),
    "tsv": lambda folder: write(folder / "t.tsv", csv_text(separator="\t")),
    "semicolons": lambda folder: CsvFile(write(folder / "t.txt", csv_text(separator=";")), delimiter=";"),
    "parquet": lambda folder: write_parquet(folder / "t.parquet"),
    "arrow file": lambda folder: write_ipc(folder / "t.arrow", pa.ipc.new_file),
    "arrow stream": lambda folder: write_ipc(folder / "t.arrows", pa.ipc.new_stream),
    "feather": lambda folder: write_feather(folder / "t.feather"),
    "pandas": lambda folder: TABLE.to_pandas(),
    "pandas objects": lambda folder: TABLE.to_pandas().astype(object),
    "pandas categories": lambda folder: TABLE.to_pandas().astype("category"),
    "pandas texts": lambda folder: TABLE.to_pandas().astype("string"),
    "pandas on arrow": lambda folder: TABLE.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": lambda folder: pl.from_arrow(TABLE),
    "table": lambda folder: TABLE,
    "batch": lambda folder: TABLE.to_batches()[0],
    "reader": lambda folder: TABLE.to_reader(),
    "any stream": lambda folder: OneShot(),
}


def texts(batches: Any) -> list[list[str]]:
    return [["" if cell is None else cell for cell in column.to_pylist()] for column in pa.Table.from_batches(list(batches)).columns]


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_every_source_gives_the_same_cells(make: Callable[[Path], Any], tmp_path: Path) -> None:
    batches = list(open_source(make(tmp_path), COLUMNS))
    assert batches[0].schema.names == COLUMNS
    assert texts(batches) == [["x", 'y "z"\n, w', ""], ["1", "2", ""]]


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_every_source_tells_its_header(make: Callable[[Path], Any], tmp_path: Path) -> None:
    assert header(make(tmp_path)) == ["a", "b.c", "extra"]


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_a_missing_column_is_named_and_nothing_else_is(make: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'age' is in the schema but not in") as caught:
        open_source(make(tmp_path), ["a", "age"])
    assert CANARY not in str(caught.value) and "extra" not in str(caught.value)


SCHEMA = Schema(
    "d",
    "p",
    Unit("person"),
    (
        Field("i", "integer", ordered=True, minimum=0, maximum=9, nullable=True),
        Field("n", "number", ordered=True, minimum=0, maximum=10, nullable=True),
        Field("s", "string", categories=("1", "2", "b"), nullable=True),
        Field("f", "boolean", nullable=True),
    ),
)
ENCODER = Encoder(SCHEMA)


def test_the_same_table_is_encoded_alike_from_every_kind_of_source(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "i": [1, 20, None, 4],
            "n": [0.25, float("inf"), None, -1.0],
            "s": ["1", "b", None, "zz"],
            "f": [True, False, None, True],
        }
    )
    frame["f"] = frame["f"].astype("boolean")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    frame.to_csv(tmp_path / "t.csv", index=False)
    pq.write_table(table, tmp_path / "t.parquet")
    sources = [
        frame, frame.astype(object), frame.astype({"i": "Int64", "n": "Float64", "s": "string"}),
        table, pl.from_arrow(table), tmp_path / "t.csv", tmp_path / "t.parquet",
        pl.from_arrow(table).with_columns(pl.col("s").cast(pl.Categorical)),
    ]  # fmt: skip
    for source in sources:
        codes = ENCODER.encode(open_source(source, ENCODER.columns)).codes
        assert codes["i"].tolist() == [1, 9, 10, 4]
        assert codes["s"].tolist() == [0, 2, 3, 3]
        assert codes["f"].tolist() == [1, 0, 2, 1]
        grid = ENCODER.grid_domain["n"].size
        assert codes["n"].tolist()[1:] == [grid - 2, grid - 1, 0]


def test_a_file_of_a_header_alone_is_a_table_of_no_rows(tmp_path: Path) -> None:
    for name, content in {"a.csv": b"a,b\n", "b.csv": b"a,b", "c.csv": b"a,b\r\n\r\n", "d.csv": b"\n\na,b\n"}.items():
        assert list(open_source(write(tmp_path / name, content), ["a"])) == []


def test_an_empty_line_is_a_cell_in_a_table_of_one_column(tmp_path: Path) -> None:
    assert texts(open_source(write(tmp_path / "a.csv", b"a\n1\n\n2\n"), ["a"])) == [["1", "", "2"]]
    assert texts(open_source(write(tmp_path / "b.csv", b"a\n\n"), ["a"])) == [[""]]


def test_a_malformed_line_is_left_out_like_any_one_person(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", f"a,b\n1,2\n{CANARY}\n3,4\n5,6,{CANARY}\n".encode())
    assert texts(open_source(file, ["a", "b"])) == [["1", "3"], ["2", "4"]]


def test_cells_are_never_guessed_to_be_of_a_type(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", b"a,b\n01,NULL\n1e3,2020-01-01\n")
    assert texts(open_source(file, ["a", "b"])) == [["01", "1e3"], ["NULL", "2020-01-01"]]


BAD_FILES: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("t.csv", None, "does not exist"),
    "empty csv": ("t.csv", b"", "'t.csv' is empty; its first line must hold the column names"),
    "blank csv": ("t.csv", b"\n\n", "'t.csv' is empty"),
    "no header": (
        "t.csv",
        f"{CANARY},7\n8,9\n".encode(),
        "has none of the columns of the schema .*first line hold the column names",
    ),
    "semicolons": ("t.csv", b"a;b\n1;2\n", "seems to be delimited by a semicolon, not by ','; pass --delimiter, or in Python CsvFile"),
    "tabs": ("t.csv", b"a\tb\n1\t2\n", "seems to be delimited by a tab"),
    "capitals": (
        "t.csv",
        b"A,b\n1,2\n",
        "column 'a' is in 't.csv' with other capital letters or with spaces around; spell the names alike",
    ),
    "spaces in the header": ("t.csv", b" a , b \n1,2\n", "columns 'a', 'b' are in 't.csv' with other capital letters"),
    "duplicate": ("t.csv", b"a,b,a\n1,2,3\n", "column 'a' is more than once"),
    "latin-1": ("t.csv", f"a,b\n{CANARY}\xe9,2\n".encode("latin-1"), "'t.csv' is not UTF-8 text"),
    "latin-1 header": ("t.csv", "a,b,é\n1,2,3\n".encode("latin-1"), "is not UTF-8 text"),
    "utf-16": ("t.csv", f"a,b\n{CANARY},2\n".encode("utf-16"), "is not UTF-8 text"),
    "not gzip": ("t.csv.gz", f"a,b\n{CANARY},2\n".encode(), "'t.csv.gz' cannot be read: it is damaged"),
    "cut gzip": ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9999)[:-20], "cannot be read"),
    "cut xz": ("t.csv.xz", lzma.compress(b"a,b\n" + b"1,2\n" * 9999)[:-40], "cannot be read"),
    "not parquet": ("t.parquet", f"a,b\n{CANARY},2\n".encode(), "'t.parquet' cannot be read: it is damaged"),
    "not arrow": ("t.arrow", f"a,b\n{CANARY},2\n".encode(), "'t.arrow' cannot be read"),
    "empty arrow": ("t.arrow", b"", "'t.arrow' cannot be read"),
    "unknown kind": ("t.xlsx", b"a,b\n", "ends in none of .csv, .tsv, .parquet"),
    "unknown compressed kind": ("t.json.gz", b"a,b\n", "ends in none of .csv"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_named_and_not_quoted(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        list(open_source(file, ["a", "b"]))
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.exit_code == 2


def test_a_folder_is_not_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        open_source(tmp_path / "t.parquet", ["a"])


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (7, "a int is not a table"),
        ([1], "a list is not a table"),
        (pl.LazyFrame({"a": [1]}), r"call \.collect\(\) first"),
    ],
)
def test_what_is_no_table_is_refused(ref: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(ref, ["a"])


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "é"])
def test_a_delimiter_is_one_plain_character(delimiter: str) -> None:
    with pytest.raises(InputError, match="must be one ASCII character"):
        CsvFile("t.csv", delimiter)


@pytest.mark.parametrize("frame", [pd.DataFrame([[1, 2]], columns=["a", "a"]), pa.table([[1], [2]], names=["a", "a"])])
def test_a_column_that_is_there_twice_is_refused(frame: Any) -> None:
    with pytest.raises(InputError, match="column 'a' is more than once in the table"):
        open_source(frame, ["a"])


def test_batches_are_small_whatever_the_source() -> None:
    cells = np.arange(BATCH_ROWS * 2 + 1)
    for table in (pd.DataFrame({"a": cells}), pa.table({"a": cells}), pl.DataFrame({"a": cells})):
        sizes = [batch.num_rows for batch in open_source(table, ["a"])]
        assert max(sizes) <= BATCH_ROWS and sum(sizes) == len(cells)


def test_a_lone_surrogate_in_a_frame_changes_no_other_cell() -> None:
    frame = pd.DataFrame({"a": pd.Series(["x", "\ud800", None, "é"], dtype=object)})
    assert texts(open_source(frame, ["a"])) == [["x", "?", "", "é"]]


def test_the_index_and_the_names_of_a_frame_may_be_anything() -> None:
    frame = pd.DataFrame({1: ["x", "y"], "b": [1, 2]}, index=pd.Index(["b", "b"]))
    assert texts(open_source(frame, ["1"])) == [["x", "y"]]


def test_every_source_is_registered() -> None:
    assert set(SOURCES) == {"csv", "parquet", "arrow", "pandas", "stream", "spark", "sql"}


def test_a_sparse_column_of_a_frame_is_read() -> None:
    frame = pd.DataFrame({"i": pd.arrays.SparseArray([0, 0, 7]), "n": 1.0, "s": "b", "f": True})
    assert ENCODER.encode(open_source(frame, ENCODER.columns)).codes["i"].tolist() == [0, 0, 7]
