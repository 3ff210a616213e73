"""Harm done to a running Genlock, and what it cost whoever watched: `make chaos`."""
