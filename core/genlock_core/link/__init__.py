"""The connection between a gateway process and a worker: one TCP connection, many sessions.

`frames` puts frames into bytes and back, `messages` holds their JSON payloads, `handshake` proves both sides, `outbox`
bounds what waits to be sent, `protocol` is the state machine without I/O, `connection` and `server` the asyncio shells.

| owns | does not own | needs |
|---|---|---|
| the frames, handshake, heartbeats and bounds of a connection | who may have a session (`claims`) | a TCP port |
| that a frame of another epoch than its channel's is dropped (`reception`) | what is done with a frame | |
"""
