"""The companion documents say what is known, leave the rest blank, and cannot be written in by what they quote."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import policies
from dpsynth import certificate, companions
from dpsynth.bundle import PUBLIC, SUMS
from dpsynth.companions import QUESTIONS, About, yaml_text
from dpsynth.companions.markdown import plain
from dpsynth.errors import ConfigError, VerificationError
from tests.dpsynth.companions.conftest import ABOUT, CANARIES, ROWS, Released

FORBIDDEN = ("anonymous", "compliant", "guaranteed safe")
NEW = ("croissant.json", "datapackage.json", "DATASHEET.md", "deployment.yaml")
INTERNAL = ("anonymization-report.md", "expert-determination.md")
EVIL = "x\n# not a heading <script>alert(1)</script> [a](http://b) | cell \u202e \x1b[2J \\ 'q' \"q\" : {b} - c \U0001f600"


# --- one folder, one certificate


def test_every_document_is_public_by_name_and_bound_by_sums_and_certificate(silent: Released) -> None:
    names = {path.name for path in silent.public.iterdir()}
    assert names == set(PUBLIC)
    sums = (silent.public / SUMS).read_text(encoding="utf-8")
    subjects = {item["name"] for item in certificate.read(silent.root)["subject"]}
    for name in NEW:
        assert f"  {name}\n" in sums and name in subjects
    assert "`croissant.json`" in (silent.public / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*(f"public/{n}" for n in NEW), *(f"internal/{n}" for n in INTERNAL)])
def test_a_changed_or_missing_document_is_found_by_verify(silent: Released, tmp_path: Path, name: str) -> None:
    import shutil

    root = Path(shutil.copytree(silent.root, tmp_path / "bundle"))
    assert certificate.verify(root).internal == "rederived"
    content = (root / name).read_bytes()
    (root / name).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    with pytest.raises(VerificationError, match=re.escape(Path(name).name)):
        certificate.verify(root)
    (root / name).unlink()
    with pytest.raises(VerificationError, match=re.escape(Path(name).name)):
        certificate.verify(root)


# --- nothing of the real table is public


def _public_text(released: Released) -> dict[str, str]:
    """Every public file as text; a Parquet file as its bytes, its metadata and its cells."""
    texts = {}
    for path in released.public.iterdir():
        texts[path.name] = path.read_bytes().decode("utf-8", errors="replace")
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            texts[path.name] += f"{table.schema} {table.schema.metadata} {table.to_pydict()}"
        if path.name.endswith(".dsse.json"):
            import base64

            texts[path.name] += base64.b64decode(json.loads(path.read_text())["payload"]).decode()
    return texts


def test_no_word_or_number_of_the_real_rows_is_public(silent: Released, spoken: Released) -> None:
    for released in (silent, spoken):
        for name, text in _public_text(released).items():
            assert [canary for canary in CANARIES if canary in text] == [], name
            assert "Real Person" not in text
    # Nor do the gate's outputs repeat them, which may leave the house too.
    decision = policies.evaluate(silent.evidence, policies.load("core"), now=_now())
    for output in policies.RENDERERS:
        assert not [canary for canary in CANARIES if canary in policies.render(decision, output, disclosure="reviewer")]


def test_no_figure_of_the_evidence_that_is_not_in_the_certificate_is_in_a_document(silent: Released) -> None:
    """A number or word planted at every leaf of the evidence that the certificate does not repeat reaches no public document."""
    said = json.dumps(silent.said)
    planted: dict[str, str] = {}

    def plant(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: plant(item, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [plant(item, path) for item in value]
        if isinstance(value, bool) or value is None or json.dumps(value) in said or path.startswith((".release", ".dp", ".budget")):
            return value
        mark = 7_000_001 + 2 * len(planted)
        planted[str(mark)] = path
        return f"canary{mark}" if isinstance(value, str) else mark

    evidence = plant(silent.evidence, "")
    assert len(planted) > 200
    predicate = certificate.predicate(evidence, silent.decision, internal_commitment="0" * 64)
    # Seven digits stand in a digest by chance.
    text = re.sub(r"[0-9a-f]{32,}", "", "\n".join(_documents(silent.schema, predicate).values()))
    assert {path for mark, path in planted.items() if mark in text} == set()
    inside = companions.anonymization_report(evidence, silent.decision, silent.schema)
    assert any(mark in inside.replace("e+06", "") or "7e+06" in inside for mark in planted)  # the test can see


@pytest.mark.parametrize("fact", [str(ROWS), "seconds", "attempt", "localhost", "/tmp"])
def test_the_documents_say_nothing_about_the_run(silent: Released, fact: str) -> None:
    for name, text in _documents(silent.schema, silent.said).items():
        words = text.replace("whether each attempt at this release was permitted", "")
        assert fact not in re.sub(r"[0-9a-f]{32,}", "", words), name


# --- blanks and answers


def test_the_datasheet_asks_every_question_once_and_counts_its_blanks(silent: Released, spoken: Released) -> None:
    for released, said_by_people in ((silent, 0), (spoken, len(ABOUT.answers))):
        text = (released.public / "DATASHEET.md").read_text(encoding="utf-8")
        asked = re.findall(r"^\*\*(.*)\*\*$", text, re.M)
        assert asked == list(QUESTIONS.values())
        blanks = text.count("`[blank]` ")
        assert f"{blanks} of {len(QUESTIONS)} questions are left to people" in text
        assert text.count("The publisher: ") >= said_by_people
    assert "The publisher: Nobody \\<paid\\>." in text
    # What people say stands before what the run knows, and does not replace it.
    assert text.index("The publisher: A visit.") < text.index("One made-up record.")


def test_the_datasheet_names_the_relations_and_says_whether_rows_belong_together(silent: Released) -> None:
    text = (silent.public / "DATASHEET.md").read_text(encoding="utf-8")
    (relation,) = silent.evidence["schema"]["relations"]
    assert plain(relation) in text and "checked in the released file" in text
    assert "No relation between columns was declared." in companions.datasheet(silent.schema, silent.said)
    assert "No made-up patient spans several rows" in text
    by_person = {**silent.schema, "dp:unit": {**silent.schema["dp:unit"], "weights": "person"}}
    assert "Rows with the same key belong to one made-up patient." in companions.datasheet(by_person, silent.said)


@pytest.mark.parametrize(
    ("source", "of_rows", "of_persons"),
    [
        ("schema", "fixed by the public schema", "about the number in the public schema"),
        ("caller", "fixed by the person who asked", "about the number asked for by the person who asked"),
        ("dp", "measured with noise, inside the budget", "about a number measured with noise, inside the budget"),
    ],
)
def test_a_number_of_rows_is_called_fixed_only_where_it_was(silent: Released, source: str, of_rows: str, of_persons: str) -> None:
    said = {**silent.said, "release": {**silent.said["release"], "rows_source": source}}
    by_person = {**silent.schema, "dp:unit": {**silent.schema["dp:unit"], "weights": "person"}}
    assert f"rows; the number was {of_rows}" in companions.datasheet(silent.schema, said)
    text = companions.datasheet(by_person, said)
    assert of_persons in text and "each made-up patient was drawn whole" in text and "fixed by" not in text


def test_a_datasheet_with_every_answer_has_no_blank(silent: Released) -> None:
    text = companions.datasheet(silent.schema, silent.said, About(answers={name: "yes" for name in QUESTIONS}))
    assert "[blank]" not in text.replace("marked `[blank]`", "") and "No question is left blank." in text


def test_the_internal_reports_hold_the_measured_figures_and_leave_judgement_to_people(silent: Released) -> None:
    evidence = copy.deepcopy(silent.evidence)
    report = companions.anonymization_report(evidence, silent.decision, silent.schema)
    assert report == (silent.internal / "anonymization-report.md").read_text(encoding="utf-8")
    evidence["audits"]["results"]["membership"] |= {"value": 0.51234, "interval": [0.4, 0.56789], "n": 848, "verdict": "NOT_FALSIFIED"}
    report = companions.anonymization_report(evidence, silent.decision, silent.schema)
    opinion = companions.expert_determination(evidence, silent.decision, silent.schema)
    for text in (report, opinion):
        assert "| 0.512 | 0.568 | 0.99 | 848 | not falsified |" in text
        assert "**Internal." in text and "(to be completed)" in text
        assert f"| {silent.evidence['fidelity']['tv1']['mean']:.3g} | {silent.evidence['fidelity']['tv1']['floor']:.3g} |" in text
    assert "| The risk is very small (yes or no), and why | (to be completed) |" in opinion
    assert "| Highest age, from columns named as ages | 90 |" in opinion
    assert "| full name | direct identifier |" in report and "| age | indirect identifier |" in report
    assert "Initial risk, before treatment: (to be completed)" in report


def test_missing_evidence_reads_not_measured_in_the_internal_reports(silent: Released) -> None:
    evidence = copy.deepcopy(silent.evidence)
    evidence["audits"]["results"] = {"membership": {"verdict": "INCONCLUSIVE", "value": None, "interval": None, "n": 0}}
    evidence["fidelity"] = {}
    for write in (companions.anonymization_report, companions.expert_determination):
        text = write(evidence, silent.decision, silent.schema)
        assert "| Singling out | not measured |" in text
        assert re.search(r"\| Membership in the table .* \| not measured \| not measured \| 0\.99 \|  \| inconclusive \|", text)
        assert "| Single columns, mean total variation | not measured | not measured |" in text


def test_a_refused_release_has_no_document_for_signature(silent: Released, tmp_path: Path) -> None:
    from tests.dpsynth.companions import conftest

    policy = copy.deepcopy(conftest.POLICY)
    policy["rules"][0] |= {"metric": "dp.epsilon", "value": 0.1, "severity": "blocker"}
    (tmp_path / "policy.json").write_text(json.dumps(policy))

    outcome = conftest.run_release(tmp_path, conftest.write_csv(tmp_path / "real.csv", conftest.real_rows()))
    assert not outcome.decision.permitted
    assert not {path.name for path in outcome.bundle.internal.iterdir()} & set(INTERNAL)


# --- words and markup


def _documents(schema: dict[str, Any], said: dict[str, Any], about: About | None = None) -> dict[str, str]:
    resources = {"synthetic.parquet": (28, "a" * 64), "synthetic.csv": (9, "b" * 64)}
    return {
        "croissant.json": json.dumps(companions.croissant(schema, said, resources, about)),
        "datapackage.json": json.dumps(companions.datapackage(schema, said, resources, about)),
        "DATASHEET.md": companions.datasheet(schema, said, about),
        "deployment.yaml": companions.deployment(schema, said, about),
        "README.md": companions.readme(said, list(resources)),
    }


def test_our_own_words_promise_nothing(silent: Released, spoken: Released) -> None:
    for released in (silent, spoken):
        texts = [p.read_text(encoding="utf-8") for p in released.public.iterdir() if p.suffix in (".md", ".yaml", ".json")]
        texts += [(released.internal / name).read_text(encoding="utf-8") for name in INTERNAL]
        for text in texts:
            assert [word for word in FORBIDDEN if word in text.lower()] == []


def _poisoned(value: Any, key: str = "") -> Any:
    keep = {
        "type",
        "dp:role",
        "rows_source",
        "variant",
        "adjacency",
        "delta",
        "issued",
        "reassess_by",
        "verdict",
        "created",
        "metric",
        "kind",
    }
    if isinstance(value, dict):
        return {k: _poisoned(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_poisoned(item, key) for item in value]
    return f"{value}{EVIL}" if isinstance(value, str) and key not in keep else value


def test_hostile_texts_stay_text_in_every_markdown_document(silent: Released) -> None:
    about = About(publisher=(EVIL,), contact=EVIL, region=EVIL, citation=EVIL, answers={name: EVIL for name in QUESTIONS})
    schema, said = _poisoned(silent.schema), _poisoned(silent.said)
    evidence, decision = _poisoned(silent.evidence), _poisoned(silent.decision)
    written: dict[str, Callable[[], str]] = {
        "datasheet": lambda: companions.datasheet(schema, said, about),
        "readme": lambda: companions.readme(said, []),
        "report": lambda: companions.anonymization_report(evidence, decision, schema),
        "opinion": lambda: companions.expert_determination(evidence, decision, schema),
    }
    for name, write in written.items():
        text = write()
        assert "<script>" not in text.replace("\\<script\\>", ""), name
        assert "\n# not" not in text and "\u202e" not in text and "\x1b" not in text, name
        assert re.search(r"(?<!\\)\[a\]\(", text) is None, name
        for block in text.split("\n\n"):
            if block.startswith("|"):  # a table: no text makes a cell of its own
                assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().splitlines()}) == 1, (name, block)


def test_hostile_texts_stay_text_in_the_registry_record(silent: Released) -> None:
    yaml = pytest.importorskip("yaml", reason="an oracle only; pip install pyyaml")
    about = About(publisher=(EVIL, "- b: c"), region=EVIL, url="https://example.org/a")
    record = yaml.safe_load(companions.deployment(_poisoned(silent.schema), _poisoned(silent.said), about))
    basic = record["deployment"]["basic"]
    assert set(record) == {"url_slug", "status", "tier", "deployment"} and basic["data_curators"][1] == "- b: c"
    assert "\n" not in basic["name"] and "\x1b" not in basic["name"] and basic["name"].endswith("\U0001f600")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yes",
        "null",
        "1e-06",
        "a: b",
        "- x",
        "#",
        "é\u2028ü",
        "\U0001f600 and \ud7ff",
        'a "quoted" \\ word',
        "tab\t",
        "~",
        "0o17",
        "2026-01-01",
        "*a",
        "&a",
    ],
)
def test_yaml_text_reads_back_to_the_same_text(value: str) -> None:
    yaml = pytest.importorskip("yaml", reason="an oracle only; pip install pyyaml")
    document = {"a": value, "b": [value, {"c": value}], "d": {"e": {"f": [value]}}}
    assert yaml.safe_load(yaml_text.dump(document)) == document


@pytest.mark.parametrize("value", [0, -3, True, False, 0.5, 1e-6, 2.5e-10, 3.0, 1e22, 5e-324, 0.1234567890123])
def test_yaml_text_reads_back_to_the_same_number(value: float) -> None:
    yaml = pytest.importorskip("yaml", reason="an oracle only; pip install pyyaml")
    found = yaml.safe_load(yaml_text.dump({"a": value}))["a"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("document", [{"a": {}}, {"a": []}, {"a b": "c"}, {"": "c"}, {"a": {"x:": 1}}])
def test_yaml_text_refuses_what_it_has_no_form_for(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        yaml_text.dump(document)


@pytest.mark.parametrize("text", ["a|b", "*x*", "<b>", "[a](b)", "`c`", "a\nb", "&amp;", "$x$", "a\u202eb"])
def test_plain_text_is_one_line_without_markup(text: str) -> None:
    shown = plain(text)
    assert "\n" not in shown and "\u202e" not in shown
    assert re.search(r"(?<!\\)[`*_{}\[\]<>#|~&$]", shown) is None


# --- what the publisher says


def _about(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "about.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_about_file_is_read_whole(tmp_path: Path) -> None:
    document = {
        "$schema": "dpsynth.about/1",
        "publisher": list(ABOUT.publisher),
        "contact": ABOUT.contact,
        "region": ABOUT.region,
        "sector": ABOUT.sector,
        "licence": ABOUT.licence,
        "url": ABOUT.url,
        "citation": ABOUT.citation,
        "answers": dict(ABOUT.answers),
    }
    assert About.read(_about(tmp_path, json.dumps(document))) == ABOUT
    assert About.from_dict({"$schema": "dpsynth.about/1"}) == About()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", r"at \$"),
        ("{}", r"at \$: '\$schema' is a required property"),
        ('{"$schema": "dpsynth.about/2"}', r"at \$\['?\$schema'?\]|at \$\.\$schema"),
        ('{"$schema": "dpsynth.about/1", "$schema": "dpsynth.about/1"}', "a key twice"),
        ('{"$schema": "dpsynth.about/1", "sector": "Magic"}', r"at \$\.sector"),
        ('{"$schema": "dpsynth.about/1", "url": "javascript:alert(1)"}', r"at \$\.url"),
        ('{"$schema": "dpsynth.about/1", "licence": "CC BY"}', r"at \$\.licence"),
        ('{"$schema": "dpsynth.about/1", "publisher": []}', r"at \$\.publisher"),
        ('{"$schema": "dpsynth.about/1", "true_rows": 20190}', r"at \$"),
        (
            '{"$schema": "dpsynth.about/1", "answers": {"who": "me"}}',
            "'who' is not a question of the datasheet; ask one of motivation.purpose",
        ),
    ],
)
def test_a_bad_about_file_is_refused_by_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        About.read(_about(tmp_path, text))


def test_an_about_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        About.read(tmp_path / "absent.json")
    (tmp_path / "latin.json").write_bytes(b'{"\xe9": 1}')
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        About.read(tmp_path / "latin.json")


def test_sha256sum_accepts_the_folder(silent: Released) -> None:
    import shutil

    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum on this machine")
    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=silent.public, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 11, 22, tzinfo=UTC)


def test_the_page_about_documents_is_the_truth(silent: Released) -> None:
    page = (Path(__file__).parents[3] / "docs" / "documents.md").read_text(encoding="utf-8")
    public, internal = page.split("## internal/")
    named = set(re.findall(r"`([A-Za-z0-9.-]+)`", "".join(re.findall(r"^\| (`.*?) \|", public, re.M))))
    assert named == set(PUBLIC)
    named = set(re.findall(r"`([A-Za-z0-9.-]+)`", "".join(re.findall(r"^\| (`.*?) \|", internal, re.M))))
    assert {path.name for path in silent.internal.iterdir()} | {"waivers.json"} == named
    (document,) = re.findall(r"^```json\n(.*?)^```", page, re.M | re.S)
    assert About.from_dict(json.loads(document)).region == "Israel"
