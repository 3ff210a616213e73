"""Who may do what at the gateway's door, and how often: tokens and roles, request limits, the words of a refusal.

| owns | does not own | needs |
|---|---|---|
| who may publish, view and control a session | how tokens are made (`genlock_core.tokens`) | nothing |
| how many requests an address may make | the routes that ask (`web`) | |
| every refusal as one `application/problem+json` (RFC 9457) | | |
"""
