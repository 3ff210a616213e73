"""The pictures that this gateway shows of sessions on its pages, whoever publishes and watches them, and where.

| owns | does not own | needs |
|---|---|---|
| one subscription for each session that somebody looks at | who may look (`access`) | a link |
| the latest picture of each, for as long as somebody asks | how a picture is made (the worker) | |
| how many sessions this gateway previews at a time | claims: a preview makes none, and keeps no session live | |

Nothing here is shared with the live path but the link, on which pictures wait for everything else.
"""
