"""What would make a model faster on a device, said before any data is read or any weight is trained."""

from optimizer.advice.advisor import TARGETS, advise
from optimizer.advice.record import Advice
from optimizer.advice.table import advice_table

__all__ = ["TARGETS", "Advice", "advice_table", "advise"]
