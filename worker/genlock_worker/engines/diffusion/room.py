"""Where the ledger meets the model: what a session needs of it, and the pools in the sizes that the ledger says."""

from genlock_worker.engines.diffusion import memory
from genlock_worker.engines.diffusion.components import Components
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.memory import MemoryBudget, SessionBytes
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, page_bytes
from genlock_worker.engines.diffusion.network.text_pool import text_bytes


def needed(parts: Components, options: StreamOptions, rows: int, height: int, width: int) -> SessionBytes:
    """What the ledger sets aside for a session of `rows` rows."""
    return memory.session_bytes(
        parts.config.transformer,
        options.ring,
        rows=rows,
        height=height,
        width=width,
        itemsize=parts.dtype.itemsize,
        vae_bytes=parts.vae.stream_bytes(height, width),
    )


def budget(parts: Components, options: StreamOptions, total_bytes: int, *, for_vae: int, fixed: bool) -> MemoryBudget:
    """The ledger; `for_vae`: what its calls have. `fixed`: the total is shared out between the pools and the rest."""
    if not fixed:
        return MemoryBudget(total_bytes, for_vae)
    typical = needed(parts, options, memory.TYPICAL_ROWS, memory.TYPICAL_HEIGHT, memory.TYPICAL_WIDTH)
    return MemoryBudget(total_bytes, for_vae, memory.shared_out(total_bytes, typical))


def pool(parts: Components, ledger: MemoryBudget) -> KvPool:
    """The pool of keys and values; with the prompts' pool it has the ledger's size, if that says one."""
    config, itemsize = parts.config.transformer, parts.dtype.itemsize
    pages = None
    if ledger.parts is not None:
        parts.prompts.texts.reserve(ledger.parts.texts // text_bytes(config, itemsize=itemsize))
        pages = ledger.parts.rings // page_bytes(config, itemsize=itemsize)
    return KvPool(config, device=parts.device, dtype=parts.dtype, pages=pages)
