"""From a trained checkpoint to a served answer: ONNX, TensorRT, the model repository, the server and its client."""
