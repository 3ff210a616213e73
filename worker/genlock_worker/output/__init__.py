"""A session's way out: pacing, and one encoder for each codec that somebody watches.

| owns | does not own | needs |
|---|---|---|
| when a generated frame is due, and whether it is late | how it was made (`rows`) | a codec library |
| encoders and their key frames | who gets the frames: the sinks that `session` attaches | |

Audio would go out here beside pictures, paced by the same due times.
"""
