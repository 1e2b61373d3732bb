"""What ran: one event per look at the records, written before the look. What it cost can be recomputed from this alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA = "dpsynth.transcript/1"


class Transcript:
    """Append-only list of events with the facts needed to recompute their cost."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self._header = dict(header)
        self._events: list[dict[str, Any]] = []

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """In the order in which they were paid."""
        return tuple(self._events)

    def append(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Record an event and return the stored copy, to which a selection adds its public outcome."""
        stored = dict(event)
        self._events.append(stored)
        return stored

    def to_dict(self, domain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Plain JSON; ``domain`` is the domain as it stands now, with the provenance of each column."""
        return {"$schema": SCHEMA, **self._header, "domain": list(domain), "events": [dict(event) for event in self._events]}


def digest(transcript: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a transcript."""
    return hashlib.sha256(json.dumps(transcript, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
