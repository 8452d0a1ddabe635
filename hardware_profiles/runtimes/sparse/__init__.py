"""Linear layers that skip zeros: the operators for onnxruntime, their packed weights, the models that use them."""
