"""What a device is, and what each piece of a transformer costs on it."""

from hardware_profiles.conditions import Conditions
from hardware_profiles.device import Device, is_remote, local_device, resolve
from hardware_profiles.latency_model import LatencyModel, Prediction
from hardware_profiles.micro_graph import encoder_graph, random_inputs, unit_graph
from hardware_profiles.places import reach
from hardware_profiles.profile import (
    Anchor,
    BreakEven,
    LatencyProfile,
    OptionTrial,
    PrecisionTrial,
    RuntimeRecord,
    UnitTiming,
)
from hardware_profiles.profile_cache import cache_folder, cached_profile, profile_path
from hardware_profiles.profile_request import SKIPPED, SPARSITIES, Effort, ProfileRequest, Whole
from hardware_profiles.profile_table import profile_table
from hardware_profiles.profiler import Progress, run_profile
from hardware_profiles.runtimes import OnnxRuntimeCpu, Runtime, Session, get, runtimes
from hardware_profiles.shape import EncoderShape, LayerWidths
from hardware_profiles.steadiness import profile_instability
from hardware_profiles.stored_device import StoredDevice, is_stored
from hardware_profiles.unit import Unit

__all__ = [
    "SKIPPED",
    "SPARSITIES",
    "Anchor",
    "BreakEven",
    "Conditions",
    "Device",
    "Effort",
    "EncoderShape",
    "LatencyModel",
    "LatencyProfile",
    "LayerWidths",
    "OnnxRuntimeCpu",
    "OptionTrial",
    "PrecisionTrial",
    "Prediction",
    "ProfileRequest",
    "Progress",
    "Runtime",
    "RuntimeRecord",
    "Session",
    "StoredDevice",
    "Unit",
    "UnitTiming",
    "Whole",
    "cache_folder",
    "cached_profile",
    "encoder_graph",
    "get",
    "is_remote",
    "is_stored",
    "local_device",
    "profile_instability",
    "profile_path",
    "profile_table",
    "random_inputs",
    "reach",
    "resolve",
    "run_profile",
    "runtimes",
    "unit_graph",
]
