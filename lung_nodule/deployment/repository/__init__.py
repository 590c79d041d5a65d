"""Export a checkpoint to a Triton model repository: ONNX files, precision, engines, TensorRT plans."""
