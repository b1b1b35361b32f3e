"""What a deploy needs of a cluster, looked at before anything is sent."""
