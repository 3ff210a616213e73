"""Sizing: measured profiles of models, and the cheapest placement of a session that meets its service levels."""
