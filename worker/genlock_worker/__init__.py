"""The worker: one process, one resident model, many live sessions whose rows run in shared micro-steps."""
