"""The encoder of a bundle as an HTTP service, for the connector of ML Commons and for any other client."""
