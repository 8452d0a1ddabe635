"""Sparse operators inside onnxruntime against other engines; see `python -m benchmarks.suites.sparse_engines`."""
