"""From a trained checkpoint to a served answer: ONNX, engines, the model repository, the server and its client."""
