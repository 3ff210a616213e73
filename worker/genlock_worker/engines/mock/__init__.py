"""An engine without a GPU: paints the real input in the prompt's style, with a real model's state and timing.

| owns | does not own | needs |
|---|---|---|
| painting, state and timing of an engine without weights | which rows share a micro-step (`rows`) | nothing |
"""

from genlock_worker.engines.mock.effort import EffortPolicy
from genlock_worker.engines.mock.engine import MockEngine
from genlock_worker.engines.mock.timing import StepTiming

__all__ = ["EffortPolicy", "MockEngine", "StepTiming"]
