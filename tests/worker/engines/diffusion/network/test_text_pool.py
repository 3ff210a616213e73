import gc

import pytest
import torch
from torch import Tensor

from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.pages import PoolFull
from genlock_worker.engines.diffusion.network.text_pool import TextKv, TextPool, text_bytes

CONFIG = TransformerConfig(layers=2, heads=2, dim=8, ffn_dim=8, text_length=5)


def pool() -> TextPool:
    return TextPool(CONFIG, device=torch.device("cpu"), dtype=torch.float32)


def numbers(of: float) -> Tensor:
    return torch.full((CONFIG.layers, CONFIG.text_length, CONFIG.heads, CONFIG.head_dim), of)


def put(texts: TextPool, of: float) -> TextKv:
    return texts.put(numbers(of), -numbers(of))


def test_each_prompt_keeps_its_numbers_while_the_pool_grows() -> None:
    texts = pool()
    kept = [put(texts, float(number)) for number in range(1, 5)]
    assert sorted(one.slot for one in kept) == [1, 2, 3, 4]
    for number, one in enumerate(kept, start=1):
        assert torch.equal(one.keys, numbers(float(number)))
        assert torch.equal(one.values, -numbers(float(number)))
        assert one.bytes == one.keys.nbytes + one.values.nbytes == text_bytes(CONFIG, itemsize=4)
    assert texts.bytes == 5 * kept[0].bytes


def test_a_slot_is_free_once_nobody_refers_to_its_prompt() -> None:
    texts = pool()
    texts.reserve(2)
    one, also = (put(texts, 1.0),) * 2
    other = put(texts, 2.0)
    with pytest.raises(PoolFull):
        put(texts, 3.0)
    del one
    gc.collect()
    assert texts.free == 0
    del also
    gc.collect()
    third = put(texts, 3.0)
    assert torch.equal(other.keys, numbers(2.0))
    assert torch.equal(third.keys, numbers(3.0))


def test_a_reserved_pool_keeps_what_it_has_and_its_addresses() -> None:
    texts = pool()
    early = put(texts, 1.0)
    texts.reserve(3)
    keys, values = texts.keys, texts.values
    rest = [put(texts, 2.0), put(texts, 3.0)]
    assert torch.equal(early.keys, numbers(1.0))
    assert len(rest) == 2
    assert texts.keys is keys
    assert texts.values is values
    assert texts.free == 0
