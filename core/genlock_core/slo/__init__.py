"""The service levels of a stream: what is measured, between which moments, and what counts as a miss or a freeze."""
