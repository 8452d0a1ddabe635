"""PyTorch as a runtime of ONNX files: a reference beside onnxruntime, and what is measured where that has no CUDA.

The only folder of this room that imports torch.
"""
