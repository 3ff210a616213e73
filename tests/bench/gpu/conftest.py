from tests.worker.engines.diffusion.conftest import one_thread

__all__ = ["one_thread"]
