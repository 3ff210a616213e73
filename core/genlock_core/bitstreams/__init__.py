"""What coded pictures say of themselves before they are decoded.

| owns | does not own | needs |
|---|---|---|
| NAL units, and the headers of H264 and VP8 | RTP payloads (the gateway), decoding (the worker) | nothing |
| how large pictures may be (`picture_size`) | what is told to a publisher (`media.Trouble`) | |

A gateway and a worker both look at what a publisher sends, and both read it by these modules.
"""
