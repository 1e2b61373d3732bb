"""What people know about a release and no run can: publisher, licence, region, answers to the datasheet. All of it is public."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from dpsynth.companions.questions import QUESTIONS
from dpsynth.errors import ConfigError

ABOUT_SCHEMA: Final = "dpsynth.about/1"


@dataclass(frozen=True)
class About:
    """Public statements of the publisher; whatever is not said is left as a blank in the documents.

    ``answers`` maps questions of the datasheet (``dpsynth.companions.QUESTIONS``) to their answer.
    """

    publisher: tuple[str, ...] = ()
    contact: str | None = None
    region: str | None = None
    sector: str | None = None
    licence: str | None = None
    url: str | None = None
    citation: str | None = None
    answers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def read(cls, path: str | Path) -> About:
        """The statements in a JSON file; raises ``ConfigError`` that names the place of the first mistake."""
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ConfigError(f"about file {str(path)!r} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"about file {str(path)!r} is not UTF-8 text") from None
        try:
            return cls.from_dict(json.loads(text, object_pairs_hook=_once))
        except (json.JSONDecodeError, RecursionError):
            raise ConfigError(f"about file {str(path)!r} is not JSON") from None

    @classmethod
    def from_dict(cls, document: Any) -> About:
        """The statements in parsed JSON, after ``dpsynth/schemas/about-1.json``."""
        import jsonschema

        shape = json.loads(resources.files("dpsynth").joinpath("schemas", "about-1.json").read_text(encoding="utf-8"))
        error = next(iter(sorted(jsonschema.Draft202012Validator(shape).iter_errors(document), key=lambda e: e.json_path)), None)
        if error is not None:
            raise ConfigError(f"about file at {error.json_path}: {error.message[:200]}")
        for name in document.get("answers", {}):
            if name not in QUESTIONS:
                raise ConfigError(
                    f"about file at $.answers: {name!r} is not a question of the datasheet; ask one of {', '.join(QUESTIONS)}"
                )
        known = {key: value for key, value in document.items() if key != "$schema"}
        if "publisher" in known:
            known["publisher"] = tuple(known["publisher"])
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """What was said, as the file it could be read from."""
        said = {key: value for key, value in vars(self).items() if value}
        said |= {"publisher": list(self.publisher)} if self.publisher else {}
        return {"$schema": "dpsynth.about/1", **said, **({"answers": dict(self.answers)} if self.answers else {})}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ConfigError("about file has a key twice")
    return out
