"""Deploy, undeploy and rollback."""
