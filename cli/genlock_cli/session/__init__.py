"""`genlock session ...`: the sessions of a gateway, as a person lists, creates and steers them.

| owns | does not own | needs |
|---|---|---|
| how sessions are shown, how changes and manifests are read | what a session is (`genlock_core.spec`) | a gateway |
"""
