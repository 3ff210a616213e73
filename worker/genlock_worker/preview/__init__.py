"""The preview of sessions: small JPEG pictures for whoever subscribed to them, beside the way of the frames.

| owns | does not own | needs |
|---|---|---|
| one tap for each session that somebody looks at | which picture is the latest: the session says it | OpenCV |
| the thread on which pictures are encoded | what a subscription may ask for (`genlock_core.subscriptions`) | |
| when a tap ends | the frames of viewers (`output`) | |

A frame on its way knows nothing of a preview: a tap looks at the last picture that went out, which the output keeps
anyway. So a preview costs the live path nothing but the processor time of one thread.
"""
