"""The connection between a gateway process and a worker: one TCP connection, many sessions.

`frames` puts frames into bytes and back, `messages` holds their JSON payloads, `handshake` proves both sides, `outbox`
bounds what waits to be sent, `protocol` is the state machine without I/O, `connection` and `server` the asyncio shells.
"""
