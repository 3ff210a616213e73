"""From a publisher's RTP packets to access units: reordering, NACK, depacketisation, capture times, rate feedback.

| owns | does not own | needs |
|---|---|---|
| the jitter buffer and what is asked for again | decryption (`../transport`) | nothing |
| the capture time of each access unit | where the units go (`sessions`) | |

Audio would come in here beside video, with a depacketiser of its own.
"""
