"""From access units to every viewer's RTP packets: packetised once, encrypted for each viewer, sent again when asked.

| owns | does not own | needs |
|---|---|---|
| RTP sequence numbers and timestamps that outlive a worker | which frames are shown (`sessions`) | nothing |
| retransmission, probing of nothing: one rate for all viewers of a stream | encryption keys (`../transport`) | |

Audio would go out here beside video, on an SSRC of its own.
"""
