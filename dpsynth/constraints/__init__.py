"""Relations between columns that must hold in every synthetic row: declared in the schema, kept by the model, checked in the file."""

from dpsynth.constraints.condition import Column, Columns, Condition
from dpsynth.constraints.relations import Determines, Forbidden, Order, Relation, Relations, Sum

__all__ = ["Column", "Columns", "Condition", "Determines", "Forbidden", "Order", "Relation", "Relations", "Sum"]
