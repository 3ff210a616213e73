"""Live sessions: rows and their rings, chunks in flight, positions, sinks, one micro-step, snapshot and restore."""
