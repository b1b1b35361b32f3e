"""A bundle's encoder as an endpoint of Amazon SageMaker: the archive that its container serves, and IAM policies."""
