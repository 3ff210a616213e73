"""The sessions that this gateway serves: each stream with its publisher, its audience, its output and its worker.

| owns | does not own | needs |
|---|---|---|
| which streams are open here, and for how long | packets, peers, codecs' bitstreams (`rtc`) | Redis |
| the recent pictures that a new worker is fed with | HTTP (`web`) | |
| which frames viewers are shown, by epoch | which worker a session has: `upstream` asks Redis | |
"""
