"""Options that several commands share, so that one name means one thing everywhere.

A privacy parameter has no default.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dpsynth.sources.csv_file import CsvFile


class Tier(StrEnum):
    """How much time the audits may take."""

    SMOKE = "smoke"
    STANDARD = "standard"
    DEEP = "deep"


class Disclosure(StrEnum):
    """Whether measured values are printed. They are computed from real records."""

    VERDICTS = "verdicts"
    REVIEWER = "reviewer"


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="Real records: CSV (also compressed), Parquet or Arrow file, a database (URL#TABLE), or spark:PATH."
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="CHAR", help="Of a text file. Default: comma; tab for .tsv."),
]
SchemaPath = Annotated[Path, typer.Option("--schema", metavar="FILE", help="The public data dictionary of the table.")]
Epsilon = Annotated[float, typer.Option("--epsilon", metavar="NUMBER", help="Privacy loss this run may cost. No default.")]
Delta = Annotated[float, typer.Option("--delta", metavar="NUMBER", help="Below 1/population, e.g. 1e-6. No default.")]
PolicyName = Annotated[
    str,
    typer.Option("--policy", metavar="POLICY", help="A shipped policy (see: dpsynth policy list) or a policy file."),
]
Synthesizer = Annotated[str, typer.Option("--synthesizer", metavar="NAME", help="auto, or a synthesizer by name.")]
Rows = Annotated[
    int | None,
    typer.Option(
        "--rows",
        min=1,
        metavar="N",
        help="Synthetic rows. Default: the schema's dp:rows, else a noisy count; of a release at most a million.",
    ),
]
LedgerPath = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar="DPSYNTH_LEDGER",
        metavar="FILE|URL",
        help="The budget of the population across releases: a file, or postgresql://. Charged before the data is read.",
    ),
]
SigningKeyPath = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="Private key that signs the certificate. See: dpsynth keygen.")
]
AuditTier = Annotated[Tier, typer.Option("--tier", help="How much time the audits may take.")]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Run the audits of the code again, even if this very code and configuration was audited before.")
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, metavar="N", help="Of the sampling and the audits. Privacy noise takes no seed.")
]
WaiversPath = Annotated[Path | None, typer.Option("--waivers", metavar="FILE", help="Waivers in force, as JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is at the output path.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; everything else goes to stderr.")]
Disclose = Annotated[
    Disclosure,
    typer.Option("--disclosure", help="verdicts: no measured values. reviewer: values too, for readers cleared for them."),
]


def source(data: str, delimiter: str | None) -> str | CsvFile:
    """What the pipeline reads: the file, with its delimiter where one was given."""
    if delimiter is None:
        return data
    from dpsynth.sources.csv_file import CsvFile

    return CsvFile(data, delimiter)
