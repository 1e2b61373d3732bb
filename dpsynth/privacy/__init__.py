"""The kernel: everything that can break the guarantee, and nothing else. The only importer of OpenDP."""

from dpsynth.privacy.budget import PrivacyBudget
from dpsynth.privacy.cohort import AuditTables, Cohort
from dpsynth.privacy.private_data import PrivateData
from dpsynth.privacy.unit import PrivacyUnit

__all__ = ["AuditTables", "Cohort", "PrivacyBudget", "PrivacyUnit", "PrivateData"]
