"""A bundle is whole or absent, public only by whitelist, and its texts cannot carry markup."""

from __future__ import annotations

import doctest
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import dpsynth
from dpsynth import bundle as module
from dpsynth.bundle import CERTIFICATE, PUBLIC, SUMS, SVR, BundleWriter, commitment, sha256_of
from dpsynth.certificate import predicate
from dpsynth.companions import datapackage, readme
from dpsynth.errors import OutputError
from tests.dpsynth.trust.conftest import CANARIES, SCHEMA, TABLE, Make


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_finished_bundle_has_its_two_folders_and_nothing_lies_beside_it(make: Make, tmp_path: Path) -> None:
    bundle = make(name="out")
    assert sorted(p.name for p in bundle.root.iterdir()) == ["internal", "public"]
    assert bundle.public is not None
    assert {p.name for p in bundle.public.iterdir()} == set(PUBLIC)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (_mode(bundle.root), _mode(bundle.public), _mode(bundle.internal)) == (0o755, 0o755, 0o700)
    assert {_mode(p) for p in bundle.public.iterdir()} == {0o644}
    assert {_mode(p) for p in bundle.internal.iterdir()} == {0o600}


def test_sha256sums_lists_every_file_but_itself_and_the_envelopes_and_coreutils_agrees(make: Make) -> None:
    public = make().public
    assert public is not None
    names = [line.split("  ")[1] for line in (public / SUMS).read_text().splitlines()]
    assert names == sorted({p.name for p in public.iterdir()} - {SUMS, CERTIFICATE, SVR})
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=public, check=True, capture_output=True)


def test_a_refused_release_has_no_public_folder(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "out") as writer:
        writer.write_public("synthetic.csv", "a\n1\n")
        writer.write_internal("decision.json", "{}")
        writer.refuse()
        with pytest.raises(OutputError, match="the release was refused"):
            writer.write_public("README.md", "x")
        with pytest.raises(OutputError, match="the release was refused"):
            writer.seal()
        bundle = writer.finish()
    assert bundle.public is None
    assert [p.name for p in bundle.root.rglob("*")] == ["internal", "decision.json"]


@pytest.mark.parametrize("name", ["evidence.json", "report.HTML", "../x", "/etc/passwd", "", "synthetic.parquet.bak", "."])
def test_only_names_of_the_whitelist_are_public(tmp_path: Path, name: str) -> None:
    with BundleWriter(tmp_path / "out") as writer, pytest.raises(OutputError, match="not on the list of public files"):
        writer.write_public(name, "x")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "", ".hidden", "a/b", "a b", "x" * 101])
def test_internal_names_are_plain(tmp_path: Path, name: str) -> None:
    with BundleWriter(tmp_path / "out") as writer, pytest.raises(OutputError, match="must be plain letters"):
        writer.write_internal(name, "x")


def test_the_certificate_comes_last_and_must_come(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "out") as writer:
        writer.write_public("synthetic.csv", "x")
        with pytest.raises(OutputError, match=r"must be written after seal"):
            writer.write_public(CERTIFICATE, "{}")
        writer.seal()
        with pytest.raises(OutputError, match=r"must be written before seal"):
            writer.write_public("README.md", "x")
        with pytest.raises(OutputError, match=r"must be written before seal"):
            writer.seal()
        writer.write_public(CERTIFICATE, "{}")
        with pytest.raises(OutputError, match=r"has no svr\.dsse\.json"):
            writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_files_can_be_copied_in_or_written_in_place(tmp_path: Path) -> None:
    source = tmp_path / "big.parquet"
    source.write_bytes(TABLE)
    with BundleWriter(tmp_path / "out") as writer:
        writer.write_public("synthetic.parquet", source)
        writer.public_path("synthetic.csv").write_text("a\n")
        digests = writer.seal()
    assert digests["synthetic.parquet"] == hashlib.sha256(TABLE).hexdigest() == sha256_of(source)
    assert set(digests) == {"synthetic.parquet", "synthetic.csv", SUMS}


# --- whole or absent


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), SystemExit(3)])
def test_any_way_out_of_an_unfinished_bundle_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), BundleWriter(tmp_path / "out") as writer:
        writer.write_internal("evidence.json", "real figures")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_process_leaves_nothing_at_the_destination(tmp_path: Path) -> None:
    # A process in the background of a shell, and its children with it, ignores SIGINT unless it says otherwise.
    code = f"""
import signal, time
from dpsynth.bundle import BundleWriter
signal.signal(signal.SIGINT, signal.default_int_handler)
with BundleWriter({str(tmp_path / "out")!r}) as writer:
    writer.write_internal("evidence.json", "x")
    print("ready", flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(dpsynth.__file__).parents[1])}
    for how, left in ((signal.SIGINT, 0), (signal.SIGKILL, 1)):
        pipe = subprocess.PIPE
        child = subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True, env=environment)
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(how)
        child.communicate(timeout=30)
        assert not (tmp_path / "out").exists()
        # After SIGKILL the hidden draft stays; only its owner can open it.
        drafts = list(tmp_path.glob(".out.*.partial"))
        assert len(drafts) == left
        assert all(_mode(draft) == 0o700 for draft in drafts)


def test_an_existing_destination_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for make_it in (out.mkdir, out.touch, lambda: out.symlink_to("nowhere")):
        make_it()
        before = sorted(tmp_path.iterdir())
        with pytest.raises(OutputError, match="exists; choose another, or --force"):
            BundleWriter(out)
        assert sorted(tmp_path.iterdir()) == before
        out.rmdir() if out.is_dir() else out.unlink()


def test_force_replaces_an_earlier_bundle_only_when_the_new_one_is_ready(make: Make, tmp_path: Path) -> None:
    first = make(name="out")
    (first.internal / "note").write_text("first")
    with BundleWriter(first.root, force=True) as writer:
        writer.write_internal("x.json", "{}")
        assert (first.internal / "note").exists()
    assert (first.internal / "note").exists()  # abandoned: the earlier one stays
    make(name="out", force=True)
    assert not (first.internal / "note").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_force_never_replaces_what_is_not_a_bundle(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "public").mkdir(parents=True)
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="not an earlier bundle"):
        BundleWriter(home, force=True)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(OutputError, match="not an earlier bundle"):
            BundleWriter(tmp_path / name, force=True)
    assert (home / "thesis.tex").exists()


def test_of_two_runs_to_one_destination_one_wins_and_the_other_leaves_nothing(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "out") as first, BundleWriter(tmp_path / "out") as second:
        for writer in (first, second):
            writer.write_internal("x.json", "{}")
            writer.refuse()
        second.finish()
        with pytest.raises(OutputError, match="exists"):
            first.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failed_swap_puts_the_earlier_bundle_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make(name="out")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="No space left"):
        make(name="out", force=True)
    assert (bundle.root / "public" / CERTIFICATE).exists()


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        BundleWriter(tmp_path / "file" / "out")

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", read_only)
        with pytest.raises(OutputError, match="Read-only file system"):
            BundleWriter(tmp_path / "out")
    with BundleWriter(tmp_path / "out") as writer, monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        with pytest.raises(OutputError, match="Read-only file system"):
            writer.write_internal("x.json", "{}")
    assert not (tmp_path / "out").exists()


def test_a_large_file_is_digested_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"0123456789abcdef" * 2**18)
    started = time.process_time()
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert time.process_time() - started < 5


def test_the_internal_commitment_is_salted_and_covers_names_and_content(make: Make) -> None:
    records = [json.loads((make(name=n).internal / "commitment.json").read_text()) for n in ("a", "b")]
    assert records[0]["files"] == records[1]["files"]
    values = [commitment(bytes.fromhex(record["key"]), record["files"]) for record in records]
    assert values[0] != values[1]
    key = b"k" * 32
    assert len({commitment(key, f) for f in ({"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"})}) == 4
    assert commitment(key, {"a": "1", "b": "2"}) == commitment(key, {"b": "2", "a": "1"})


# --- texts


def test_the_readme_starts_by_saying_synthetic_and_lists_the_files(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
    text = readme(predicate(evidence, decision), ["synthetic.parquet"])
    assert text.splitlines()[0] == "# SYNTHETIC DATA"
    assert "(3, 1e-06) differential privacy" in text
    assert "`synthetic.parquet`" in text
    assert "`synthetic.csv`" not in text
    assert "the verdict of each release attempt" in text
    for word in ("anonymous", "compliant", "guaranteed safe"):
        assert word not in text.lower()
    assert [canary for canary in CANARIES if canary in text] == []


def test_hostile_texts_stay_text_in_the_readme(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
    evidence["release"]["title"] = "x\n# not a heading <script>alert(1)</script> [a](http://b) | cell"
    evidence["release"]["purpose"] = "`code` **bold** &lt; \\"
    text = readme(predicate(evidence, decision), [])
    assert "\n# not" not in text
    assert "\\<script\\>" in text
    assert "\\[a\\](http://b) \\| cell" in text
    assert "\\`code\\` \\*\\*bold\\*\\* \\&lt; \\\\" in text


def test_the_data_package_is_valid_and_takes_known_keys_only(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
    said = predicate(evidence, decision)
    package = datapackage(SCHEMA, said, {"synthetic.parquet": (28, "a" * 64), "synthetic.csv": (9, "b" * 64)})
    profile = json.loads((Path(__file__).parent / "datapackage-2.0.json").read_text())
    jsonschema.Draft7Validator(profile).validate(package)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(profile).validate({**package, "resources": [{"name": "x"}]})
    table = package["resources"][0]["schema"]
    assert [f["name"] for f in table["fields"]] == ["pid", "age", "sex", "day"]
    assert table["fields"][1]["dp:bins"] == 10
    assert table["primaryKey"] == "pid"
    assert [canary for canary in CANARIES if canary in json.dumps(package)] == []
    assert [r["hash"] for r in package["resources"]] == ["sha256:" + "a" * 64, "sha256:" + "b" * 64]


def test_the_docstring_example_runs() -> None:
    assert doctest.testmod(module).failed == 0


def test_every_public_name_is_described_and_flat() -> None:
    assert all(text and "/" not in name for name, text in PUBLIC.items())
    assert set(module.ENVELOPES) < set(PUBLIC)
