"""A session's way in: sources, decoding, cropping, and the chunks that the engine takes.

| owns | does not own | needs |
|---|---|---|
| which source frames are used, and at which time | the link that they come by (`ownership.link_server`) | nothing |
| the decoder of a publication | what happens to a chunk (`rows`) | |

Audio would come in here beside pictures, as a track of the publication.
"""
