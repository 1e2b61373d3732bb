"""Before a release: what it will cost in accuracy, time and rules, from public facts alone."""

from dpsynth.planning.accuracy import Error
from dpsynth.planning.plan import ColumnPlan, Outlook, Plan, plan

__all__ = ["ColumnPlan", "Error", "Outlook", "Plan", "plan"]
