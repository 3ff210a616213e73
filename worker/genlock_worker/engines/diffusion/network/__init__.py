"""The networks: transformer, VAE, text encoder, and the caches that attention reads; no state of any session."""
