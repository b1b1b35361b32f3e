"""ML Commons: its REST calls, and the steps that register, deploy and prove models."""
