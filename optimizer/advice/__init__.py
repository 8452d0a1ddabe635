"""What would make a model faster on a device, said before any data is read or any weight is trained."""

from optimizer.advice.advisor import TARGETS, advise, advise_across
from optimizer.advice.devices_table import devices_table
from optimizer.advice.record import Advice, AdviceAcross
from optimizer.advice.table import advice_table

__all__ = ["TARGETS", "Advice", "AdviceAcross", "advice_table", "advise", "advise_across", "devices_table"]
