"""An encoder beside the cluster that ML Commons calls: connector, remote model, trusted endpoint."""
