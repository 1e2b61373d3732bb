"""The first page of a public bundle, and the page that says how to check it. Both from the certificate's predicate alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dpsynth.bundle import CERTIFICATE, ENVELOPES, PUBLIC, SUMS, SVR
from dpsynth.companions.markdown import plain
from dpsynth.companions.wording import parameters


def readme(said: Mapping[str, Any], names: Sequence[str]) -> str:
    """The README of a public bundle, from the certificate's predicate alone. ``names`` are the files it will hold."""
    release, guarantee, policy = said["release"], said["guarantee"], said["policy"]
    rows = [
        ("Release", release["id"]),
        ("Dataset", release["dataset"]),
        ("Population", release["population"]),
        ("Purpose", release["purpose"] or "not stated"),
        ("Records", f"{release['n_rows']} synthetic records by {release['synthesizer']}"),
        (
            "Guarantee",
            f"{parameters(guarantee)} differential privacy, {guarantee['adjacency']}, "
            f"one {guarantee['unit']}, " + ("one row" if guarantee["max_rows"] == 1 else f"with at most {guarantee['max_rows']} rows"),
        ),
        ("Policy", f"{policy['id']} {policy['version']}: {said['verdict']}"),
        *(("Waived", f"{use['rule']} by {use['id']}, until {use['expires']}") for use in said["waivers"]),
        ("Issued", said["issued"]),
        ("Reassess by", said["reassess_by"] or "not set"),
    ]
    files = [name for name in PUBLIC if name in {*names, "README.md", "VERIFY.md", SUMS, *ENVELOPES}]
    lines = [
        "# SYNTHETIC DATA",
        "",
        f"## {plain(release['title'])}",
        "",
        "Every row was drawn from a model with noise in it, not taken from a person. A row may resemble one by chance.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {plain(str(value))} |" for name, value in rows),
        "",
        "## Files",
        "",
        *(f"- `{name}`: {PUBLIC[name]}" for name in files),
        "",
        "## Limits",
        "",
        *(f"- {plain(limit)}" for limit in said["limits"]),
        *(f"- Not covered by the guarantee: {plain(text)}." for text in said["unprotected_quantities"]),
        "",
        "`VERIFY.md` says how to check this folder.",
        "",
    ]
    return "\n".join(lines)


VERIFY_TEXT: Final = f"""# How to check this folder

With the tool that made it, offline:

```
pip install dpsynth-release
dpsynth verify . --key SIGNER.pub
```

Get `SIGNER.pub` from the publisher by another way than this folder.
Exit code 0: every file is the certified one and the key has signed.
Exit code 5: something differs, and the message names the first file.
Without `--key` the same checks run, but nothing says who made the certificate.
If the publisher keeps a list of releases that were taken back, add `--revocations FILE`.

Without the tool:

1. `sha256sum --check {SUMS}` compares the files with the list.
2. Read the certificate:
   `python3 -c "import base64, json; print(base64.b64decode(json.load(open('{CERTIFICATE}'))['payload']).decode())"`.
   Its `subject` lists every file of this folder but `{CERTIFICATE}` and `{SVR}`, with its SHA-256.
   No other file belongs here.
3. Any DSSE library checks the signatures, which are Ed25519 over the pre-authentication encoding of the payload.

A certificate whose `signature_status` is `unsigned` shows damage, not authorship.
"""
