"""The questions of a datasheet for a synthetic table (after Gebru et al. 2021): answered by the run, by people, or left as a blank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# id -> question. The part before the point is the section. An answer of people goes under the id in About.answers.
QUESTIONS: Final[Mapping[str, str]] = {
    "motivation.purpose": "For what purpose was the table made?",
    "motivation.makers": "Who made it, and for whom?",
    "motivation.funding": "Who paid for it?",
    "composition.instances": "What does a row stand for?",
    "composition.count": "How many rows are there?",
    "composition.sample": "Do the rows cover everybody, or a sample, and how was it drawn?",
    "composition.columns": "What does a row consist of?",
    "composition.missing": "Is anything missing from rows?",
    "composition.relations": "Are rows related to each other?",
    "composition.rules": "What holds in every row?",
    "composition.splits": "Are there recommended splits?",
    "composition.errors": "What errors and noise does the table have?",
    "composition.external": "Does it depend on anything outside?",
    "composition.confidential": "Can something confidential be read from it?",
    "composition.offensive": "Can something in it offend or hurt?",
    "composition.groups": "Which groups of people can be told apart?",
    "composition.identification": "Can a person be found in it, directly or with other data?",
    "composition.sensitive": "Which columns are sensitive?",
    "collection.acquisition": "How were the records behind it obtained?",
    "collection.collectors": "Who obtained them, and how were they paid?",
    "collection.time": "Over what time were they obtained?",
    "collection.ethics": "Was there an ethical review?",
    "collection.consent": "Did the people know and agree, and can they withdraw?",
    "collection.impact": "Was the effect on these people assessed?",
    "preprocessing.steps": "What was done to the records before the table was made?",
    "preprocessing.raw": "Are the original records kept?",
    "preprocessing.software": "What software did it?",
    "uses.done": "What has it been used for?",
    "uses.suited": "What else is it fit for?",
    "uses.harm": "What about the way it was made matters for its use?",
    "uses.unsuited": "What should it not be used for?",
    "distribution.recipients": "Who gets it?",
    "distribution.how": "How is it distributed, and how does one check a copy?",
    "distribution.when": "When was it issued?",
    "distribution.licence": "Under which licence?",
    "distribution.restrictions": "Do third parties or laws restrict it?",
    "maintenance.contact": "Who keeps it, and how are they reached?",
    "maintenance.errata": "Are there errata?",
    "maintenance.updates": "Will it be updated?",
    "maintenance.retention": "How long may the records behind it be kept?",
    "maintenance.versions": "What becomes of older versions?",
    "maintenance.contributions": "Can others add to it?",
}
