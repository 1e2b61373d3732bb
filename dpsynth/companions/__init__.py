"""Documents that go beside a release, one file each. Public ones are built from the certificate's predicate, the declared schema
and what the publisher says; internal ones from the evidence.
"""

from dpsynth.companions.about import About
from dpsynth.companions.anonymization_report import anonymization_report
from dpsynth.companions.croissant import croissant
from dpsynth.companions.datapackage import datapackage
from dpsynth.companions.datasheet import datasheet
from dpsynth.companions.deployment import deployment
from dpsynth.companions.expert_determination import expert_determination
from dpsynth.companions.questions import QUESTIONS
from dpsynth.companions.readme import VERIFY_TEXT, readme

__all__ = [
    "QUESTIONS",
    "VERIFY_TEXT",
    "About",
    "anonymization_report",
    "croissant",
    "datapackage",
    "datasheet",
    "deployment",
    "expert_determination",
    "readme",
]
