"""What all sessions of an engine share."""

from concurrent.futures import Executor
from dataclasses import dataclass

from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.network.kv_pool import KvPool
from genlock_worker.engines.diffusion.streaming.device_queue import DeviceQueue
from genlock_worker.engines.diffusion.streaming.inputs import InputEncoder
from genlock_worker.engines.diffusion.streaming.micro_step import Forward
from genlock_worker.engines.diffusion.streaming.pictures import PictureDecoder
from genlock_worker.engines.diffusion.streaming.sinks import SinkRule


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts of an engine that its sessions use; none of it changes."""

    components: Components
    options: StreamOptions
    forward: Forward
    """Runs rows beside each other; counts itself in `queue`."""
    sink_rule: SinkRule
    jpeg: Executor
    """Where input frames are compressed."""
    queue: DeviceQueue
    inputs: InputEncoder
    pictures: PictureDecoder
    pool: KvPool
    """Where the rings of all sessions lie."""
