"""Delimited text, plain or compressed. Every cell is read as text: no type is inferred from private cells."""

from __future__ import annotations

import csv
import io
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from dpsynth.errors import InputError
from dpsynth.sources.columns import existing_file, quiet, require_columns, sliced

SUFFIXES = (".csv", ".tsv")
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_BLOCK = 1 << 23
_HEADER_LIMIT = 1 << 20


@dataclass(frozen=True)
class CsvFile:
    """A delimited text file whose delimiter its name does not tell."""

    path: str | Path
    delimiter: str = ","

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n':
            raise InputError(f"delimiter={self.delimiter!r} must be one ASCII character, not a quote or a line end")


def recognises(ref: Any) -> bool:
    """Whether ``ref`` is a path that ends in .csv or .tsv, perhaps compressed, or a ``CsvFile``."""
    return isinstance(ref, CsvFile) or (isinstance(ref, str | Path) and _bare(Path(ref)).suffix.lower() in SUFFIXES)


def header(ref: str | Path | CsvFile) -> list[str]:
    """The column names in the first line."""
    return _first_line(_file(ref))[0]


def open_csv(ref: str | Path | CsvFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns as text. A line with more or fewer cells than the header is left out; that it is there is private."""
    file = _file(ref)
    names, has_rows = _first_line(file)
    _require(file, names, columns)
    return _batches(file, names, columns) if has_rows else iter(())


def _file(ref: str | Path | CsvFile) -> CsvFile:
    if isinstance(ref, CsvFile):
        return ref
    return CsvFile(ref, "\t" if _bare(Path(ref)).suffix.lower() == ".tsv" else ",")


def _bare(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path


def _name(file: CsvFile) -> str:
    return repr(Path(file.path).name)


def _open(file: CsvFile) -> BinaryIO | lzma.LZMAFile:
    path = existing_file(file.path)
    compression = COMPRESSIONS.get(path.suffix.lower())
    if compression == "xz":
        return lzma.open(path)
    stream: BinaryIO = pa.input_stream(str(path), compression=compression)
    return stream


def _first_line(file: CsvFile) -> tuple[list[str], bool]:
    """The header, and whether anything but blank lines follows."""
    with quiet(_name(file)), _open(file) as stream:
        start = stream.read(_HEADER_LIMIT)
    text = start.decode("utf-8-sig", "surrogateescape")
    lines = io.StringIO(text, newline="")
    try:
        names = next((row for row in csv.reader(lines, delimiter=file.delimiter) if row), None)
    except csv.Error:
        names = None
    if names is None:
        raise InputError(f"{_name(file)} is empty; its first line must hold the column names")
    if any("\udc80" <= letter <= "\udcff" for name in names for letter in name):
        raise InputError(f"{_name(file)} is not UTF-8 text; convert it first, e.g. with iconv -t UTF-8")
    rest = lines.read()
    return names, bool(rest if len(names) == 1 else rest.strip("\r\n"))


def _require(file: CsvFile, names: list[str], columns: Sequence[str]) -> None:
    """As ``require_columns``, with a hint when another delimiter would fit. Names that were found are not shown."""
    if not set(columns) & set(names):
        for delimiter, words in _DELIMITERS.items():
            cells = next(csv.reader([file.delimiter.join(names)], delimiter=delimiter))
            if delimiter != file.delimiter and len(columns) > 1 and set(columns) <= set(cells):
                raise InputError(
                    f"{_name(file)} seems to be delimited by {words}, not by {file.delimiter!r}; "
                    f"pass --delimiter, or in Python CsvFile(path, delimiter={delimiter!r})"
                )
    require_columns(names, columns, _name(file))


def _batches(file: CsvFile, names: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.csv as arrow_csv

    with quiet(_name(file)), _open(file) as stream:
        reader = arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(block_size=_BLOCK),
            parse_options=arrow_csv.ParseOptions(
                delimiter=file.delimiter,
                newlines_in_values=True,
                # In a table of one column an empty line is an empty cell.
                ignore_empty_lines=len(names) > 1,
                invalid_row_handler=_skip,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={column: pa.string() for column in columns},
                include_columns=list(columns),
                strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield from sliced(batch, columns)


def _skip(_: Any) -> str:
    return "skip"
