"""Document encoders: the torch module with its sparse head, and the ONNX encoder of the deploy side."""
