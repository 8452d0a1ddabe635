"""What executes an ONNX file on a device."""

from hardware_profiles.runtimes.forms import form_of
from hardware_profiles.runtimes.mnn_cpu import MnnCpu
from hardware_profiles.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from hardware_profiles.runtimes.onnxruntime_cuda import OnnxRuntimeCuda, OnnxRuntimeTensorRt
from hardware_profiles.runtimes.onnxruntime_sparse import OnnxRuntimeSparse
from hardware_profiles.runtimes.openvino_ep import OpenVinoEp
from hardware_profiles.runtimes.registry import STOCK, get, refused, runtimes, stock_name
from hardware_profiles.runtimes.runtime import Runtime, Session
from hardware_profiles.runtimes.torch_runtime import TorchCuda, TorchTwoOfFour

__all__ = [
    "STOCK",
    "MnnCpu",
    "OnnxRuntimeCpu",
    "OnnxRuntimeCuda",
    "OnnxRuntimeSparse",
    "OnnxRuntimeTensorRt",
    "OpenVinoEp",
    "Runtime",
    "Session",
    "TorchCuda",
    "TorchTwoOfFour",
    "form_of",
    "get",
    "refused",
    "runtimes",
    "stock_name",
]
