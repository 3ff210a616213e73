"""Snapshots of live sessions: taken at once, made beside the engine's thread, read back, restored part by part.

| owns | does not own | needs |
|---|---|---|
| what a snapshot holds, and who is being restored | what a session is, and its rings (`../streaming`) | torch |
"""
