"""What the engine tells of a session goes to the viewers, the snapshots and the figures, each by its own rule."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from genlock_core.spec.session import SessionKey, SnapshotPolicy, StreamSessionSpec, resolve
from genlock_worker.output.output import Output
from genlock_worker.rows.listener import GeneratedChunk
from genlock_worker.session.control_stream import ControlFollower
from genlock_worker.session.engine_output import EngineOutput
from genlock_worker.session.figures import SessionFigures
from genlock_worker.snapshots.writer import SnapshotWriter


@dataclass
class Told:
    """Stands for every part that is told something, and writes it down with the part's name."""

    said: list[tuple[object, ...]] = field(default_factory=list)

    def part(self, name: str, **attributes: object) -> Any:
        said = self.said

        class Part(SimpleNamespace):
            def __getattr__(self, word: str) -> Any:
                return lambda *values, **named: said.append((name, word, *values, *named.values()))

        return Part(**attributes)

    def to(self, name: str) -> list[tuple[object, ...]]:
        return [words[1:] for words in self.said if words[0] == name]


class Room:
    """An `EngineOutput` among parts that write down what they hear."""

    def __init__(self, policy: SnapshotPolicy = SnapshotPolicy.EVERY_CHUNK) -> None:
        self.told = Told()
        self.given_up: list[str] = []
        self.paces: list[int] = []
        self.control = self.told.part("control", awaited_reset=None, requested=SimpleNamespace(control_id="7-0"))
        spec = resolve(SessionKey(name="demo"), StreamSessionSpec.model_validate({"recovery": {"snapshot": policy}}))
        self.output = EngineOutput(
            spec,
            figures=cast("SessionFigures", self.told.part("figures")),
            output=cast("Output", self.told.part("output")),
            control=cast("ControlFollower", self.control),
            on_paced=self.paces.append,
            on_given_up=self.given_up.append,
        )
        self.output.keep_snapshots(cast("SnapshotWriter", self.told.part("snapshots")))


def chunk(index: int) -> GeneratedChunk:
    """One that is finished, as far as this module looks into it."""
    state = SimpleNamespace(sink_digests=("d",))
    # Of four frames, the last of which stands for two, as one was left out before it.
    source = SimpleNamespace(frames=[SimpleNamespace(spans=spans) for spans in (1, 1, 1, 2)])
    parts = SimpleNamespace(
        chunk=SimpleNamespace(index=index, source=source), checkpoint=SimpleNamespace(state=state), frames=[None] * 4
    )
    return cast("GeneratedChunk", parts)


def test_a_chunk_is_counted_kept_and_shown() -> None:
    room, made = Room(), chunk(4)
    room.output.generated(made)
    assert room.told.said == [
        ("figures", "generated", 4, 5 / 16, ("d",)),
        ("snapshots", "offer", made.checkpoint, "7-0"),
        ("output", "add", made),
    ]


def test_how_many_frames_are_wanted_is_told_until_it_is_closed() -> None:
    room = Room()
    room.output.paced(2)
    room.output.close()
    room.output.paced(1)
    assert room.paces == [2]


@pytest.mark.parametrize("why", ["never kept", "a reset is awaited", "another worker owns it"])
def test_what_must_not_be_gone_back_to_is_shown_and_not_kept(why: str) -> None:
    room = Room(SnapshotPolicy.NEVER if why == "never kept" else SnapshotPolicy.EVERY_CHUNK)
    if why == "a reset is awaited":
        room.control.awaited_reset = "6-0"
    if why == "another worker owns it":
        room.output.stop_snapshots()
    made = chunk(4)
    room.output.generated(made)
    assert room.told.to("snapshots") == []
    assert room.told.to("output") == [("add", made)]


def test_nothing_goes_on_from_a_session_that_is_closed() -> None:
    room = Room()
    room.output.close()
    room.output.generated(chunk(4))
    room.output.memory(1_000)
    room.output.micro_step(seconds=0.1, rows=1, steps=1)
    assert room.told.said == []


def test_its_memory_and_time_are_figures() -> None:
    room = Room()
    room.output.memory(1_000)
    room.output.micro_step(seconds=0.5, rows=3, steps=2)
    assert room.told.said == [("figures", "memory", 1_000), ("figures", "micro_step", 0.5, 3, 2)]


def test_only_an_engine_that_lost_all_starts_the_snapshots_over() -> None:
    room = Room()
    room.output.was_reset("NaN in row 0", restored=True)
    assert room.told.said == []
    room.output.was_reset("NaN in row 0", restored=False)
    assert room.told.said == [("snapshots", "start_over")]


def test_a_fresh_start_that_a_user_asked_for_is_told_to_the_controls_and_starts_the_snapshots_over() -> None:
    room = Room()
    room.output.began_anew("6-0")
    assert room.told.said == [("control", "reset_done", "6-0"), ("snapshots", "start_over")]


def test_a_session_of_another_owner_has_no_snapshots_to_start_over() -> None:
    room = Room()
    room.output.stop_snapshots()
    room.output.was_reset("NaN in row 0", restored=False)
    room.output.began_anew("6-0")
    assert room.told.said == [("control", "reset_done", "6-0")]


def test_an_engine_that_gives_a_session_up_says_why() -> None:
    room = Room()
    room.output.gave_up("the device is lost")
    assert room.given_up == ["the device is lost"]
