"""The WebRTC media plane: everything between the UDP socket and encoded access units.

It knows SDP, ICE, DTLS, SRTP and RTP; it knows neither HTTP, nor Redis, nor workers, and never decodes a picture.
`media_plane.MediaPlane` is the way in. The rules are pure (sdp, jitter, depacketise, packetise, key_frames, and the
demultiplexer of udp_port); udp_port, peer, receive, viewer and fanout are the shells round them.

| owns | does not own | needs |
|---|---|---|
| peers, RTP and RTCP, from the socket to access units and back | sessions, workers, HTTP | a UDP port |
"""
