"""The contestants' names, as they stand in the result."""

from __future__ import annotations

__all__ = ["BLOCK_INT8", "DEEPSPARSE", "DENSE_FP32", "DENSE_INT8", "MNN", "SPARSE_FP32", "UNFUSED_FP32"]

DENSE_FP32 = "onnxruntime-fp32"
UNFUSED_FP32 = "onnxruntime-fp32-SkipLayerNormFusion-off"
DENSE_INT8 = "onnxruntime-int8"
SPARSE_FP32 = "trimfit-sparse-fp32"
BLOCK_INT8 = "trimfit-block-int8"
MNN = "mnn-fp32"
DEEPSPARSE = "deepsparse-fp32"
