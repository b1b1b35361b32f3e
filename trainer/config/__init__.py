"""The YAML schema of a run, and its inputs."""
