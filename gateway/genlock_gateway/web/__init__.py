"""HTTP: the application, the JSON API, WHIP and WHEP, the pages, the probes.

| owns | does not own | needs |
|---|---|---|
| routes, their bodies and their status codes | who is let in (`access`) | nothing |
| the pages' files (`page`) | what a session does (`sessions`) | |
"""
