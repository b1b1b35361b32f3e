"""Products of an encoder in other forms than torch's and ONNX Runtime's own choice: which is faster, by processor."""
