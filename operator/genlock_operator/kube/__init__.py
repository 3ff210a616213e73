"""The edge to Kubernetes: a small port, its adapter, events and the lease."""
