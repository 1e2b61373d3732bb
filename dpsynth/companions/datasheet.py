"""A datasheet for the released table: what the run knows, what people said, and blanks for the rest.

After T. Gebru et al., "Datasheets for Datasets", Communications of the ACM 64(12), 2021. The questions are put in our own words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dpsynth.bundle import CERTIFICATE
from dpsynth.companions.about import About
from dpsynth.companions.dictionary import described
from dpsynth.companions.markdown import plain, table
from dpsynth.companions.questions import QUESTIONS
from dpsynth.companions.wording import adjacency, domain, parameters, row_count


def datasheet(schema: Mapping[str, Any], said: Mapping[str, Any], about: About | None = None, *, relations: Sequence[str] = ()) -> str:
    """The datasheet as Markdown; what people said stands before what the run knows.

    ``schema`` is ``Schema.to_dict()``, ``relations`` are the declared relations between columns in words.
    """
    about = about or About()
    known = _known(schema, said) | _stated(about)
    known["composition.rules"] = (
        f"Declared before a record was read, and checked in the released file: {plain('; '.join(relations))}."
        if relations
        else "Types, categories and bounds, as declared. No relation between columns was declared."
    )
    blanks = sum(1 for name in QUESTIONS if name not in known and name not in about.answers)
    return "\n".join([*_head(said, blanks), *_questions(known, about), *_columns(schema)]) + "\n"


def _head(said: Mapping[str, Any], blanks: int) -> list[str]:
    release = said["release"]
    left = f"{blanks} of {len(QUESTIONS)} questions are left to people and marked `[blank]`." if blanks else "No question is left blank."
    return [
        "# Datasheet: SYNTHETIC DATA",
        "",
        f"## {plain(release['title'])}",
        "",
        f"Release {plain(release['id'])}, issued {said['issued'][:10]}. Questions after Gebru et al., *Datasheets for Datasets* (2021).",
        "Answers were written by the tool that made the table, from public facts alone; answers of people are marked as theirs.",
        left,
        "",
    ]


def _questions(known: Mapping[str, str], about: About) -> Iterator[str]:
    section = ""
    for name, question in QUESTIONS.items():
        if name.split(".")[0] != section:
            section = name.split(".")[0]
            yield from (f"## {section.capitalize()}", "")
        yield from (f"**{question}**", "")
        if name in about.answers:
            yield from (f"The publisher: {plain(about.answers[name])}", "")
        if name in known:
            yield from (known[name], "")
        elif name not in about.answers:
            yield from (f"`[blank]` Answer in the about file: `answers`, `{name}`.", "")


def _columns(schema: Mapping[str, Any]) -> list[str]:
    return ["## Columns as declared", "", *table(("Column", "Title", "Type, role", "Values"), described(schema))]


def _stated(about: About) -> dict[str, str]:
    """Facts of the about file that answer a question by themselves."""
    stated = {
        "motivation.makers": ", ".join(about.publisher),
        "maintenance.contact": about.contact or "",
        "distribution.licence": about.licence or "",
    }
    return {name: f"The publisher: {plain(text)}" for name, text in stated.items() if text}


def _known(schema: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, str]:
    """What the certificate and the public dictionary answer. Texts of the caller pass through ``plain``."""
    release, guarantee, tool = said["release"], said["guarantee"], said["tool"]
    unit = plain(guarantee["unit"])
    roles: dict[str, list[str]] = {}
    for item in schema["fields"]:
        roles.setdefault(item.get("dp:role", "other"), []).append(item["name"])
        if item.get("dp:group"):
            roles.setdefault("group", []).append(item["name"])

    def names(role: str) -> str:
        return plain(", ".join(roles.get(role, ()))) or "none declared"

    known = {
        "composition.instances": (
            "One made-up record. It was drawn from a statistical model; it is nobody's record. "
            f"The model was fitted to records about {plain(release['population'])}."
        ),
        "composition.count": plain(row_count(said, schema)),
        "composition.columns": f"{len(schema['fields'])} columns, listed at the end. Categories and bounds are {plain(domain(said))}.",
        "composition.missing": "Missing is a value of its own in the columns that say so at the end, as likely as the model found it.",
        "composition.relations": (
            f"Rows with the same key belong to one made-up {unit}. Beyond that, rows are drawn independently."
            if schema["dp:unit"].get("weights") == "person"
            else f"Rows are drawn independently. No made-up {unit} spans several rows, even where a real one did."
        ),
        "composition.splits": f"None. Any random split will do; keep the rows of one {unit} together where keys repeat.",
        "composition.errors": (
            "Noise was added on purpose, for privacy. Single columns and the pairs of columns that were measured are kept best; "
            "other relations, rare values and small groups may be weaker, absent or wrong."
        ),
        "composition.external": "No. The files of this folder are all there is.",
        "composition.confidential": (
            f"{parameters(guarantee)} differential privacy bounds what the table can tell about one {unit}. "
            "It does not bound what the table tells about groups."
        ),
        "composition.groups": f"Columns declared as groups: {names('group')}. Columns that others may know: {names('quasi')}.",
        "composition.identification": (
            f"No row is a person's. Identifying columns ({names('identifier')}) hold made-up values; the real ones are not released. "
            f"A row may resemble a person by chance. {plain(adjacency(guarantee))} What can be learned about that {unit} from the table is "
            f"bounded as the certificate says."
        ),
        "composition.sensitive": f"Declared as sensitive: {names('sensitive')}.",
        "preprocessing.steps": (
            f"Values outside the declared categories and bounds were moved inside. Rows beyond {guarantee['max_rows']} per {unit} were "
            "dropped by a uniform choice. Identifying columns were not read, except to find the rows of one unit."
        ),
        "preprocessing.software": (
            f"{plain(tool['name'])} {plain(tool['version'])}, synthesizer {plain(release['synthesizer'])}; noise by "
            + ", ".join(plain(f"{name} {version}") for name, version in guarantee["libraries"].items())
            + "."
        ),
        "uses.suited": "Exploring, teaching, testing software, and estimates that are checked on the real table before they matter.",
        "uses.harm": (
            "Small groups are served worse than large ones, because noise weighs more on small counts. "
            "A finding that is missing here may exist in the real table, and the other way round."
        ),
        "uses.unsuited": "Decisions about single people, counts of rare events, and any claim that cannot be checked on the real table.",
        "distribution.recipients": plain(release["recipient"]) if release["recipient"] else "No recipient was named at release.",
        "distribution.how": f"As a folder of files. `{CERTIFICATE}` binds every one of them; `VERIFY.md` says how to check.",
        "distribution.when": f"{said['issued'][:10]}. To be assessed again by {said['reassess_by'] or 'a date that is not set'}.",
        "maintenance.updates": (
            "Not by itself. A new release about the same people costs privacy budget of its own, and names in its certificate which "
            "release it replaces."
        ),
        "maintenance.versions": (
            f"This release replaces {plain(release['supersedes'])}." if release["supersedes"] else "This release replaces no other."
        ),
    }
    if release["purpose"]:
        known["motivation.purpose"] = plain(release["purpose"])
    return known
