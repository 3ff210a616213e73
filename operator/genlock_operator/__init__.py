"""The operator of Genlock: watches StreamSessions, WorkerPools and ModelProfiles; never sits on the live path."""
