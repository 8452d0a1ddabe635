"""Devices behind a connection, as places where models are timed."""

from hardware_profiles.places.inspection import Inspection, inspect
from hardware_profiles.places.reaching import EMULATED_VARIABLE, open_place, reach
from hardware_profiles.places.remote_place import RemotePlace

__all__ = ["EMULATED_VARIABLE", "Inspection", "RemotePlace", "inspect", "open_place", "reach"]
