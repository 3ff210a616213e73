"""What the benchmark of rows compares is the same work: rows with full rings, alone or together."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import engine_rows
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.streaming.row_work import RowWork, assemble
from tests.worker.engines.diffusion.rows import held

SIZE = 64
CPU = torch.device("cpu")


def rows_of(model: CausalWan, count: int) -> list[RowWork]:
    pools = engine_rows.Pools.of(model)
    return [engine_rows.session_row(model, pools, number, width=SIZE, height=SIZE) for number in range(count)]


def test_its_rows_attend_to_full_rings_of_their_own() -> None:
    model = engine_rows.network("tiny", device=CPU, dtype=torch.float32)
    works = rows_of(model, 3)
    batch = assemble(works)
    assert batch.lengths == (model.layout.slots,) * 3
    assert len({slot for work in works for slot in work.ring.slots}) == 3 * model.layout.slots
    assert not torch.equal(held(works[0].ring).keys, held(works[1].ring).keys)
    assert held(works[0].ring).keys.std() > 0.5
    assert not torch.equal(works[0].text.keys, works[1].text.keys)


def test_rows_together_give_what_they_give_alone() -> None:
    model = engine_rows.network("tiny", device=CPU, dtype=torch.float32)
    alone = torch.cat([model(assemble([work])).flow for work in rows_of(model, 4)])
    together = model(assemble(rows_of(model, 4))).flow
    assert alone.std() > 0.1
    assert torch.allclose(alone, together, atol=1e-5)


def test_every_size_and_number_of_rows_has_a_row_of_the_table() -> None:
    model = engine_rows.network("tiny", device=CPU, dtype=torch.float32)
    found = [row[:3] for row in engine_rows.measured(model, [(64, 64), (80, 64)])]
    assert found == [
        (size, tokens, str(rows)) for size, tokens in (("64x64", "16"), ("80x64", "20")) for rows in engine_rows.ROWS
    ]


@given(once_ms=st.integers(0, 5000), row_ms=st.integers(1, 5000))
def test_what_a_forward_does_once_is_found_in_figures_that_are_made_of_it(once_ms: int, row_ms: int) -> None:
    rows = [
        ("64x64", "16", str(count), "", f"{once_ms / count + row_ms:.6f}", "", "", "", "") for count in engine_rows.ROWS
    ]
    assert engine_rows.done_once(rows) == f"{once_ms} ms at 64x64"
