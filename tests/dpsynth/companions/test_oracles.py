"""The companion documents of a real release, read by other people's validators and readers."""

from __future__ import annotations

import csv
import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dpsynth.bundle import sha256_of
from tests.dpsynth.companions.conftest import ABOUT, Released

HERE = Path(__file__).parent
BOTH = pytest.mark.parametrize("which", ["silent", "spoken"])


@pytest.fixture
def released(which: str, request: pytest.FixtureRequest) -> Released:
    return request.getfixturevalue(which)  # type: ignore[no-any-return]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# --- Frictionless


def _frictionless(folder: Path) -> list[str]:
    """Errors that frictionless finds in package, dictionary and every row of the CSV."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frictionless = pytest.importorskip("frictionless", reason="an oracle only; pip install frictionless")
        descriptor = _json(folder / "datapackage.json")
        # It reads Parquet only with a library of its own; that file holds the same rows, which another test compares.
        descriptor["resources"] = [r for r in descriptor["resources"] if r["format"] == "csv"]
        package = frictionless.Package.from_descriptor(descriptor, basepath=str(folder))
        report = package.validate()
    return [f"{error.type}: {error.message}" for task in report.tasks for error in task.errors] + [e.message for e in report.errors]


@BOTH
def test_frictionless_accepts_package_dictionary_and_rows(released: Released) -> None:
    assert _frictionless(released.public) == []


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("age", "91", "constraint-error"),
        ("age", "old", "type-error"),
        ("smoker", "perhaps", "type-error"),
        ("admitted", "05.03.2021", "type-error"),
    ],
)
def test_frictionless_would_see_a_wrong_cell(silent: Released, tmp_path: Path, column: str, value: str, error: str) -> None:
    shutil.copytree(silent.public, tmp_path / "public")
    with (tmp_path / "public" / "synthetic.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[3][rows[0].index(column)] = value
    with (tmp_path / "public" / "synthetic.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    found = _frictionless(tmp_path / "public")
    assert any(text.startswith(error) for text in found)
    assert any(text.startswith("hash-count") or "hash" in text for text in found)


def test_the_parquet_file_has_the_columns_and_rows_of_the_csv(silent: Released) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(silent.public / "synthetic.parquet")
    with (silent.public / "synthetic.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    names = [field["name"] for field in silent.schema["fields"]]
    assert table.column_names == rows[0] == names
    assert table.num_rows == len(rows) - 1 == silent.said["release"]["n_rows"]
    for name in ("full name", "ward", "smoker", "age"):
        cells = ["" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for v in table[name].to_pylist()]
        assert [row[names.index(name)].lower() for row in rows[1:]] == [cell.lower() for cell in cells]


# --- Croissant


@BOTH
def test_mlcroissant_accepts_the_metadata_and_reads_the_rows(released: Released) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlcroissant = pytest.importorskip("mlcroissant", reason="an oracle only; pip install mlcroissant")
        dataset = mlcroissant.Dataset(str(released.public / "croissant.json"))
        assert not dataset.metadata.ctx.issues.errors
        records = list(dataset.records("records"))
    with (released.public / "synthetic.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(records) == len(rows)
    fields = [field["name"] for field in released.schema["fields"]]
    for record, row in zip(records[:50], rows[:50], strict=True):
        found = {fields[int(key.split("/")[1]) - 1]: value for key, value in record.items()}
        assert set(found) == set(fields)
        assert found["ward"].decode() == row["ward"]
        assert found['höhe, "quoted"'].decode() == row['höhe, "quoted"']
        assert int(found["age"]) == int(row["age"])
        assert str(found["admitted"])[:10] == row["admitted"]


@BOTH
def test_croissant_names_each_file_with_its_digest_and_each_column(released: Released) -> None:
    document = _json(released.public / "croissant.json")
    files = {item["contentUrl"]: item for item in document["distribution"]}
    assert set(files) == {"synthetic.parquet", "synthetic.csv"}
    for name, item in files.items():
        path = released.public / name
        assert (item["sha256"], item["contentSize"]) == (sha256_of(path), f"{path.stat().st_size} B")
    (records,) = document["recordSet"]
    assert [field["name"] for field in records["field"]] == [field["name"] for field in released.schema["fields"]]
    assert document["isLiveDataset"] is False


def test_croissant_says_what_the_publisher_says(silent: Released, spoken: Released) -> None:
    said = _json(spoken.public / "croissant.json")
    assert (said["license"], said["url"], said["citeAs"]) == (ABOUT.licence, ABOUT.url, ABOUT.citation)
    assert [creator["name"] for creator in said["creator"]] == list(ABOUT.publisher)
    assert not {"license", "url", "citeAs", "creator"} & set(_json(silent.public / "croissant.json"))


# --- OpenDP deployments registry


def _record(released: Released) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="an oracle only; pip install pyyaml")
    return yaml.safe_load((released.public / "deployment.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@BOTH
def test_the_registry_record_follows_the_registrys_schema(released: Released) -> None:
    yaml = pytest.importorskip("yaml", reason="an oracle only; pip install pyyaml")
    schema = yaml.safe_load((HERE / "schemas" / "opendp-deployments.yaml").read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)
    record = _record(released)
    assert [error.message for error in validator.iter_errors(record)] == []
    # Every field that the registry suggests for the tier we claim, and that a run can know, is there.
    deployment = record["deployment"]
    for section, suggested in schema["properties"]["deployment"]["properties"].items():
        for name, field in suggested["properties"].items():
            if field.get("tier", 9) <= record["tier"] and name not in ("data_product_sector", "data_source_type_details", "sources"):
                assert deployment[section][name], name
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**record, "tier": 4})


@BOTH
def test_the_registry_record_has_the_registrys_style(released: Released) -> None:
    """Its own checks: quoting without folding, no doubled backslash, a slug from name, curators and year."""
    yaml = pytest.importorskip("yaml", reason="an oracle only; pip install pyyaml")
    text = (released.public / "deployment.yaml").read_text(encoding="utf-8")
    styles = {token.style for token in yaml.scan(text) if hasattr(token, "style")}
    assert styles <= {None, "|", '"', "'"}
    record = _record(released)
    basic = record["deployment"]["basic"]
    words = (basic["name"], "-".join(basic["data_curators"]), basic["publication_date"].split("-")[0])
    assert record["url_slug"] == "_".join(re.sub(r"\W+", "_", word.lower()) for word in words).replace("_", "-")
    assert not re.search(r"\\\\[^()]", json.dumps(record, ensure_ascii=False).replace("\\\\", "\\"))
    assert re.fullmatch(r"[a-z0-9_]+\.yaml", "deployment.yaml")


def test_the_registry_record_repeats_the_certificate(silent: Released) -> None:
    deployment, said = _record(silent)["deployment"], silent.said
    assert deployment["privacy_loss"]["privacy_parameters"] == {
        "epsilon": said["guarantee"]["epsilon"],
        "rho": said["guarantee"]["rho"],
        "delta": float(said["guarantee"]["delta"]),
    }
    assert deployment["privacy_loss"]["privacy_unit"] == "patient-level"
    assert "at most 2 rows" in deployment["privacy_loss"]["privacy_unit_details"]
    assert deployment["dp_variant"]["variant_name"] == "Zero-concentrated DP"
    assert deployment["dp_variant"]["unprotected_quantities"] == "; ".join(said["unprotected_quantities"])
    assert "epsilon 2, delta" in deployment["deployment_model"]["release_type_details"]


def test_blanks_of_the_registry_record_are_filled_by_the_publisher(silent: Released, spoken: Released) -> None:
    blank = "(to be filled in by the publisher)"
    assert _record(silent)["deployment"]["basic"]["data_curators"] == [blank]
    basic = _record(spoken)["deployment"]["basic"]
    assert (basic["data_curators"], basic["data_product_region"], basic["data_product_sector"]) == (
        list(ABOUT.publisher),
        ABOUT.region,
        ABOUT.sector,
    )
    assert _record(spoken)["deployment"]["administrative"]["sources"] == ABOUT.url
