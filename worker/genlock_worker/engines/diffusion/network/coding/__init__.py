"""What turns pictures into latents and back: the VAE's halves, and small networks in their place. It keeps no stream.

| owns | does not own | needs |
|---|---|---|
| encoders and decoders, and how their caches are read and moved on | whose caches they are (`../vae.py`) | torch |
"""
