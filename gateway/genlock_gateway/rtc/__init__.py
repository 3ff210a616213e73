"""The WebRTC media plane: everything between the UDP socket and encoded access units.

It knows SDP, ICE, DTLS, SRTP and RTP; it knows neither HTTP, nor Redis, nor workers, and never decodes a picture.
`media_plane.MediaPlane` is the way in. Pure modules (sdp, answer, trickle, jitter, packetise, timeline, key_frames,
demultiplexer) carry the rules; udp_port, peer, receive, viewer and fanout are the shells round them.

| owns | does not own | needs |
|---|---|---|
| peers, RTP and RTCP, from the socket to access units and back | sessions, workers, HTTP | a UDP port |
"""
