"""What carries packets: the UDP port, ICE, DTLS and SRTP of one peer.

| owns | does not own | needs |
|---|---|---|
| the one UDP socket, and which peer a datagram is for | what offers and answers say (`../sdp`) | a UDP port |
| the only use of private names of aiortc and aioice | what is inside RTP packets (`../ingest`, `../egress`) | |
"""
