"""Measuring a model on this machine: what to measure (`plan`), how fast (`measure`), how good (`quality`), what is
written (`rows`).

Measures through the Engine protocol, so that what is measured is what a worker runs.

| owns | does not own | needs |
|---|---|---|
| what is measured of a model, and the profile | sizing by the profile (`genlock_core.sizing`) | an engine |
"""
