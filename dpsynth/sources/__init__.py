"""Anything tabular -> a stream of Arrow record batches."""

from dpsynth.sources.csv_file import CsvFile
from dpsynth.sources.registry import SOURCES, Source, header, open_source
from dpsynth.sources.spark_frame import SparkSource
from dpsynth.sources.sql_query import SqlQuery

__all__ = ["SOURCES", "CsvFile", "Source", "SparkSource", "SqlQuery", "header", "open_source"]
