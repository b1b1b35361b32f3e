"""One cluster over HTTP: client, credentials, REST calls, facts."""
