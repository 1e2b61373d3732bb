"""Anything tabular -> a stream of Arrow record batches."""

from dpsynth.sources.csv_file import CsvFile
from dpsynth.sources.registry import SOURCES, Source, header, open_source

__all__ = ["SOURCES", "CsvFile", "Source", "header", "open_source"]
