"""A draft record for the OpenDP deployments registry, tier 3, from public facts alone.

Schema: https://github.com/opendp/deployments-registry-data, schemas/deployments-schema.yaml.
A release that is to be registered is copied there by its publisher, with the blanks filled in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from dpsynth.bundle import CERTIFICATE
from dpsynth.companions import yaml_text
from dpsynth.companions.about import About
from dpsynth.companions.dictionary import described
from dpsynth.companions.wording import BLANK, adjacency, domain

_VARIANTS: Final = {"zCDP": "Zero-concentrated DP"}


def deployment(schema: Mapping[str, Any], said: Mapping[str, Any], about: About | None = None) -> str:
    """The record as YAML; ``schema`` is ``Schema.to_dict()``."""
    about = about or About()
    release, guarantee, policy = said["release"], said["guarantee"], said["policy"]
    curators = list(about.publisher) or [BLANK]
    issued = said["issued"][:10]
    basic = {
        "name": release["title"],
        "data_curators": curators,
        "intended_use": release["purpose"] or BLANK,
        "data_product_type": "Synthetic data",
        "data_product_region": about.region or BLANK,
        "description": (
            f"A synthetic table of {release['n_rows']} records and {len(schema['fields'])} columns about {release['population']}. "
            f"Drawn from a model fitted by the synthesizer '{release['synthesizer']}'."
        ),
        "publication_date": issued,
        **({} if about.sector is None else {"data_product_sector": about.sector}),
    }
    parameters = {key: guarantee[key] for key in ("epsilon", "rho") if guarantee[key] is not None}
    record: dict[str, Any] = {
        "url_slug": _slug(basic["name"], curators, issued),
        "status": "Draft",
        "tier": 3,
        "deployment": {
            "basic": basic,
            "dp_variant": {
                "variant_name": _VARIANTS.get(guarantee["variant"], "Custom"),
                "data_domain": f"{_columns(schema)} Categories and bounds are {domain(said)}.",
                "unprotected_quantities": "; ".join(said["unprotected_quantities"]) or "None declared.",
            },
            "privacy_loss": {
                "privacy_unit": f"{guarantee['unit']}-level",
                "privacy_unit_details": adjacency(guarantee),
                "privacy_parameters": {**parameters, "delta": float(guarantee["delta"])},
                "privacy_parameters_details": f"Accounting: {guarantee['accountant']}.",
            },
            "deployment_model": {
                "model_name": "Central",
                "actors": (
                    "The curator runs the tool on the records in clear and is trusted. "
                    f"The recipient is {release['recipient'] or 'anybody'} and is not trusted."
                ),
                "release_type": "One release",
                "release_type_details": _ledger(said),
                "data_source_type": "Static",
                "access_type": "Non-interactive",
                "access_type_details": "The table is published as files. Nobody queries the records.",
            },
            "accounting": {
                "post_processing": (
                    "Fitting the model to the noisy answers, drawing rows from it and replacing identifiers by made-up values "
                    "read nothing but what was released with noise."
                ),
                "composition": f"Sequential within the release: {guarantee['accountant']}.",
            },
            "implementation": {
                "preprocessing_and_hyperparameter_tuning": (
                    f"Categories and bounds are {domain(said)}. Rows beyond the cap of a {guarantee['unit']} are dropped by a uniform "
                    "choice before anything is counted. No parameter was tuned on the records outside the budget."
                ),
                "mechanisms": _mechanisms(said),
                "justification": (
                    f"Permitted by the release policy {policy['id']} {policy['version']} ({policy['digest']}). "
                    f"Reasons of the house for these parameters: {BLANK}."
                ),
            },
            "administrative": {
                **({} if about.url is None else {"sources": about.url}),
                "notes": (
                    f"Draft written by {said['tool']['name']} {said['tool']['version']} for release {release['id']}. "
                    f"The signed statement of the same facts is {CERTIFICATE}."
                ),
                "registry_authors": curators,
            },
        },
    }
    return yaml_text.dump(_one_line(record))


def _columns(schema: Mapping[str, Any]) -> str:
    return "Tables of these columns: " + "; ".join(f"{name} ({kind}: {values})" for name, _, kind, values in described(schema)) + "."


def _ledger(said: Mapping[str, Any]) -> str:
    ledger = said["ledger"]
    if ledger["spent"] is None:
        return "No ledger of earlier releases about the same people was kept."
    spent = ledger["spent"]
    return (
        f"A ledger keeps the budget of these people across releases. Spent up to and with this release: "
        f"epsilon {spent['epsilon']:.12g}, delta {spent['delta']}. It never resets."
    )


def _mechanisms(said: Mapping[str, Any]) -> str:
    guarantee, tool = said["guarantee"], said["tool"]
    libraries = ", ".join(f"{name} {version}" for name, version in guarantee["libraries"].items())
    return (
        f"{', '.join(guarantee['mechanisms'])}, from {libraries}, called by {tool['name']} {tool['version']}. Gaussian noise is drawn "
        "on integers. No seed: randomness comes from the operating system. Run time is not hidden."
    )


def _slug(name: str, curators: list[str], issued: str) -> str:
    """As the registry's own script makes it from name, curators and year."""
    parts = (name, "-".join(curators), issued[:4])
    return "_".join(re.sub(r"\W+", "_", part.lower()) for part in parts).replace("_", "-")


def _one_line(value: Any) -> Any:
    """Every text as one printable line."""
    if isinstance(value, Mapping):
        return {key: _one_line(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_one_line(item) for item in value]
    if isinstance(value, str):
        return " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return value
