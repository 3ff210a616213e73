"""The contract between Genlock's parts: what a session is, who owns it, how its state and its frames travel.

Everything here is free of frameworks (no torch, FastAPI, aiortc or kopf), so that every part can import it.
"""
