"""Measuring a model on this machine: what to measure (`plan`), the measuring (`measure`), what is written (`rows`).

Measures through the Engine protocol, so that what is measured is what a worker runs.
"""
