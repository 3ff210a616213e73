"""kopf: what the API server says, as facts."""
