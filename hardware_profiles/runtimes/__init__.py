"""What executes an ONNX file on a device."""

from hardware_profiles.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from hardware_profiles.runtimes.onnxruntime_cuda import OnnxRuntimeCuda, OnnxRuntimeTensorRt
from hardware_profiles.runtimes.onnxruntime_sparse import OnnxRuntimeSparse
from hardware_profiles.runtimes.openvino_ep import OpenVinoEp
from hardware_profiles.runtimes.registry import STOCK, get, refused, runtimes, stock_name
from hardware_profiles.runtimes.runtime import Runtime, Session, loader_of
from hardware_profiles.runtimes.torch_runtime import TorchCuda, TorchTwoOfFour

__all__ = [
    "STOCK",
    "OnnxRuntimeCpu",
    "OnnxRuntimeCuda",
    "OnnxRuntimeSparse",
    "OnnxRuntimeTensorRt",
    "OpenVinoEp",
    "Runtime",
    "Session",
    "TorchCuda",
    "TorchTwoOfFour",
    "get",
    "loader_of",
    "refused",
    "runtimes",
    "stock_name",
]
