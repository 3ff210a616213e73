"""`genlock`, the command: run everything on this machine, publish, record, steer."""
