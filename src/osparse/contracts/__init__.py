"""What the stages exchange: dataset, model and bundle directories, and the deployment in a cluster."""
