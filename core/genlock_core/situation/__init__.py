"""What is going on in a session, in words: one table for the pages, the command, the API and the cluster's status.

| owns | does not own | needs |
|---|---|---|
| which state a session is in, its words, what is offered there | the facts: each part tells its own | nothing |
| the words of what only a page can know (no camera, no connection) | how a page shows them | |
"""
