"""The recorded stream batch, driven on the network, its rings and `RowBatch` alone."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from genlock_worker.engines.algorithm import flow as schedule
from genlock_worker.engines.diffusion.network.kv_pool import PagedRing
from genlock_worker.engines.diffusion.network.text_pool import TextKv
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from tests.worker.engines.diffusion import recorded
from tests.worker.engines.diffusion.recorded import FRAME_TOKENS, LAYOUT, worst
from tests.worker.engines.diffusion.rows import RowInput, batch_of, empty_ring, held, text_pool

FIRST_FRAMES = 2
RECORDINGS = ("batch_1step", "batch_2step")


@dataclass
class Replay:
    """What our network makes of a recording's inputs: arrays under the recording's names."""

    name: str
    arrays: dict[str, list[Tensor]] = field(default_factory=dict)
    newest: list[list[int]] = field(default_factory=list)
    """Per call and row, the newest frame in the row's ring."""

    def keep(self, key: str, value: Tensor) -> None:
        self.arrays.setdefault(key, []).append(value)

    def worst(self, key: str) -> float:
        """The largest deviation, in as many chunks as were replayed."""
        ours, theirs = torch.stack(self.arrays[key]), recorded.tensor(self.name, key)
        if key.startswith("calls/"):
            theirs = theirs[: len(ours)]
        return worst(ours.squeeze(), theirs.squeeze())


def cleaned(x: Tensor, flow: Tensor, timestep: float) -> Tensor:
    return (x.double() - schedule.sigma(timestep) * flow.double()).float()


def noised(x0: Tensor, noise: Tensor, timestep: float) -> Tensor:
    level = schedule.sigma(timestep)
    return (1 - level) * x0 + level * noise


def keep_rings(replay: Replay, prefix: str, rings: list[PagedRing]) -> None:
    """(L, B, N * fsl, H, head_dim) each; keys are rotated, as the reference has them."""
    read = [held(ring) for ring in rings]
    replay.keep(f"{prefix}/k", torch.stack([one.keys for one in read], dim=1))
    replay.keep(f"{prefix}/v", torch.stack([one.values for one in read], dim=1))


def prepare(replay: Replay, model: CausalWan, text: TextKv, steps: list[float]) -> list[PagedRing]:
    """The first chunk, all its steps on one ring; returns a copy of the ring per row."""
    ring = empty_ring(recorded.CONFIG, LAYOUT)
    x, noise = recorded.tensor(replay.name, "prepare/noise")[0], recorded.tensor(replay.name, "prepare/randn")
    for step, timestep in enumerate(steps):
        flow = model(batch_of([RowInput(ring, text, x, 0, timestep)], layout=LAYOUT)).flow[0]
        x0 = cleaned(x, flow, timestep)
        replay.keep("prepare/flow", flow)
        replay.keep("prepare/x0", x0)
        if step + 1 < len(steps):
            x = noised(x0, noise[step], steps[step + 1])
    replay.keep("prepare/out", x0)
    rings = [empty_ring(recorded.CONFIG, LAYOUT) for _ in steps]
    for copy in rings:
        copy.copy_from(ring)
    keep_rings(replay, "prepare", rings)
    return rings


def replayed(name: str, model: CausalWan, *, chunks: int | None = None) -> Replay:
    """The recording through `model`; of the chunks after the first one as many as are asked for, all if none says."""
    replay, meta = Replay(name), recorded.json_of(name, "meta_json")
    embedding = recorded.tensor("tiny_model", f"prompt/{meta['prompt']}")[0]
    text = text_pool(recorded.CONFIG).put(*model.text_kv(embedding))
    steps = [float(step) for step in meta["denoising_step_list"]]
    rings = prepare(replay, model, text, steps)

    arrays, kept = recorded.arrays(name), set(recorded.arrays(name)["kv/calls"].tolist())
    hidden = [torch.zeros(1, 16, 8, 8) for _ in steps]
    frames = [FIRST_FRAMES for _ in steps]
    for call in range(meta["n_calls"] if chunks is None else chunks):
        hidden = [torch.from_numpy(arrays["calls/noise"][call, 0]), *hidden[:-1]]
        frames = [int(arrays["calls/current_start"][call]) // FRAME_TOKENS, *frames[:-1]]
        steps[0] = float(arrays["calls/current_step"][call])
        rows = [RowInput(*row) for row in zip(rings, [text] * len(steps), hidden, frames, steps, strict=True)]
        batch = batch_of(rows, layout=LAYOUT)
        flow = model(batch).flow
        x0 = [cleaned(*row) for row in zip(hidden, flow, steps, strict=True)]
        noise = torch.from_numpy(arrays["calls/randn"][call, :, 0])
        hidden = [noised(*row) for row in zip(x0[:-1], noise, steps[1:], strict=True)] + [x0[-1]]
        for key, value in (("flow", flow), ("x0", torch.stack(x0)), ("out", torch.stack(hidden))):
            replay.keep(f"calls/{key}", value)
        replay.keep("calls/local_end", torch.tensor(batch.lengths).mul(FRAME_TOKENS).expand(recorded.CONFIG.layers, -1))
        replay.keep("calls/global_end", (torch.tensor(frames) + 1).mul(FRAME_TOKENS).expand(recorded.CONFIG.layers, -1))
        replay.newest.append(frames)
        if call in kept:
            keep_rings(replay, "kv", rings)
    return replay
