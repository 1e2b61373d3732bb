"""The transcript: append-only, plain JSON, and a digest that any change moves."""

from __future__ import annotations

import json

import pytest

from dpsynth.privacy.transcript import SCHEMA, Transcript, digest

DOMAIN = [{"name": "a", "size": 2, "ordered": False, "provenance": "declared"}]


def test_events_come_back_in_order_under_the_header() -> None:
    transcript = Transcript({"unit": {"name": "person"}})
    transcript.append({"kind": "gaussian", "stage": "one", "rho": 0.1})
    transcript.append({"kind": "gaussian", "stage": "two", "rho": 0.2})
    plain = transcript.to_dict(DOMAIN)
    assert plain["$schema"] == SCHEMA
    assert plain["unit"] == {"name": "person"}
    assert [event["stage"] for event in plain["events"]] == ["one", "two"]
    assert json.loads(json.dumps(plain)) == plain


def test_what_was_written_down_cannot_be_changed_from_outside() -> None:
    header = {"noise": "x"}
    event = {"kind": "gaussian", "stage": "one", "rho": 0.1}
    transcript = Transcript(header)
    transcript.append(event)
    event["rho"] = 0.0
    header["noise"] = "y"
    copy = transcript.to_dict(DOMAIN)
    copy["events"][0]["rho"] = 0.0
    again = transcript.to_dict(DOMAIN)
    assert again["events"][0]["rho"] == 0.1
    assert again["noise"] == "x"


def test_a_selection_adds_its_outcome_to_its_own_event() -> None:
    transcript = Transcript({})
    stored = transcript.append({"kind": "exponential", "stage": "pick", "rho": 0.1})
    stored["selected"] = 3
    assert transcript.to_dict(DOMAIN)["events"][0]["selected"] == 3


@pytest.mark.parametrize("change", [{"rho": 0.1000000001}, {"stage": "two"}, {"extra": None}])
def test_the_digest_moves_with_every_change(change: dict[str, object]) -> None:
    event = {"kind": "gaussian", "stage": "one", "rho": 0.1}
    one, other = Transcript({}), Transcript({})
    one.append(event)
    other.append({**event, **change})
    assert digest(one.to_dict(DOMAIN)) != digest(other.to_dict(DOMAIN))


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    one, other = Transcript({"a": 1, "b": 2}), Transcript({"b": 2, "a": 1})
    assert digest(one.to_dict(DOMAIN)) == digest(other.to_dict(DOMAIN))
    assert len(digest(one.to_dict(DOMAIN))) == 64
