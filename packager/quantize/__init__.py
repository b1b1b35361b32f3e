"""Quantising an ONNX encoder: the choices, the rewritten graph, calibration, and what each choice loses and costs."""
