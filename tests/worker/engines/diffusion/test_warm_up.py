"""What a session that no user has makes the diffusion engine do before its first user comes."""

from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.rows.warm_up import live_a_little
from tests.worker.engines.diffusion.streams import BlockVae, components, diffusion_engine, settings


def test_the_diffusion_engine_has_run_all_that_it_can_run_for_the_first_time() -> None:

    seen = set[tuple[int, int]]()

    def watched(batch: RowBatch) -> Denoised:
        seen.add((batch.hidden.shape[0], batch.hidden.shape[1]))
        answer: Denoised = components().transformer(batch)
        return answer

    engine = diffusion_engine(vae=BlockVae(), forward=watched)
    before = dict(components().prompts._computed)
    try:
        live_a_little(engine, settings("of this test alone"))
    finally:
        engine.stop()
    blends = [mix for mix in components().prompts._computed if mix not in before and len(mix) > 1]
    assert seen >= {(1, 2), (1, 1), (2, 1)}, "the opening's two frames, one row, two rows together"
    assert blends, "prompts were blended"
    assert engine.budget.taken == {}
