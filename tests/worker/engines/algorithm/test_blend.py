import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.algorithm.blend import BLEND_CHUNKS, PromptBlend


def test_a_new_prompt_takes_over_within_three_chunks() -> None:
    blend = PromptBlend.of("old").towards("new")
    shares = []
    for _ in range(BLEND_CHUNKS):
        shares += [dict(blend.frame_weights(frame, 4)).get("new", 0.0) for frame in range(4)]
        blend = blend.next_chunk()
    assert shares == pytest.approx([n / 12 for n in range(1, 13)])
    assert blend == PromptBlend.of("new")


def test_the_same_prompt_again_changes_nothing() -> None:
    blend = PromptBlend.of("old").towards("new").next_chunk()
    assert blend.towards("new") is blend


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 4)), max_size=12))
def test_weights_always_sum_to_one_and_few_prompts_are_carried(turns: list[tuple[str, int]]) -> None:
    blend = PromptBlend.of("a")
    for prompt, chunks in turns:
        blend = blend.towards(prompt)
        for _ in range(chunks):
            blend = blend.next_chunk()
        for frame in range(4):
            weights = blend.frame_weights(frame, 4)
            assert sum(weight for _, weight in weights) == pytest.approx(1.0)
            assert all(weight > 0 for _, weight in weights)
            assert len(weights) <= 3
            assert {digest for digest, _ in weights} <= blend.digests()
