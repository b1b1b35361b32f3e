"""What a run writes: its log, curves, and the model directory."""
