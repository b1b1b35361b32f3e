"""Exporting an encoder: TorchScript, ONNX, quantisation, zips."""
