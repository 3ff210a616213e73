"""What probes are told: alive by progress that was seen, ready by what the worker says of itself."""

from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.metrics import WorkerMetrics
from genlock_worker.probes.health import STUCK_S, Serving, WorkerHealth
from genlock_worker.probes.start_up import StartPhase, StartUp

LOOPS = ("heartbeat", "inbox")


class Rig:
    """A worker as its health sees it, at a time that the test sets."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.start_up = StartUp(self.clock, WorkerMetrics(CollectorRegistry()), import_s=0.1)
        self.health = WorkerHealth(self.start_up, self.clock)
        self.progress = 0
        self.leaving = ""
        self.rounds = dict.fromkeys(LOOPS, self.clock.monotonic())

    def serve(self) -> None:
        for phase in (StartPhase.REDIS, StartPhase.ENGINE, StartPhase.REGISTERED):
            self.start_up.reached(phase)
        self.health.serves(self.serving)

    @property
    def serving(self) -> Serving:
        return Serving(lambda: self.progress, self.rounds, lambda: self.leaving)

    def pass_time(
        self, seconds: float, *, engine: bool = True, loops: tuple[str, ...] = ("heartbeat", "inbox")
    ) -> None:
        """A second at a time, in which what is named comes round."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.progress += engine
            self.rounds |= dict.fromkeys(loops, self.clock.monotonic())
            self.health.look()


def test_a_worker_whose_engine_and_loops_come_round_is_well() -> None:
    rig = Rig()
    rig.serve()
    rig.pass_time(10 * STUCK_S)
    assert rig.health.ailment() == ""


def test_an_engine_that_stands_still_is_an_ailment_that_passes() -> None:
    rig = Rig()
    rig.serve()
    rig.pass_time(STUCK_S, engine=False)
    assert rig.health.ailment() == ""
    rig.pass_time(2, engine=False)
    assert rig.health.ailment() == "stuck for more than 15 s: the engine loop"
    rig.pass_time(1)
    assert rig.health.ailment() == ""


def test_a_loop_that_does_not_come_round_is_named() -> None:
    rig = Rig()
    rig.serve()
    rig.pass_time(STUCK_S + 1, loops=("heartbeat",))
    assert rig.health.ailment() == "stuck for more than 15 s: the agent's inbox"


def test_a_stuck_engine_is_known_to_the_first_who_asks() -> None:
    rig = Rig()
    rig.serve()
    rig.pass_time(60)
    rig.pass_time(STUCK_S + 1, engine=False)
    assert "the engine loop" in rig.health.ailment()


def test_a_start_that_takes_its_time_is_no_ailment_and_the_time_after_it_counts_anew() -> None:
    rig = Rig()
    rig.pass_time(600, engine=False)
    assert rig.health.ailment() == ""
    rig.serve()
    assert rig.health.ailment() == ""


def test_it_is_not_ready_before_it_is_registered_and_says_what_it_waits_for() -> None:
    rig = Rig()
    assert rig.health.unready() == "waiting for Redis"
    rig.start_up.reached(StartPhase.REDIS)
    assert rig.health.unready() == "the engine warms up"
    rig.start_up.reached(StartPhase.ENGINE)
    assert rig.health.unready() == "registering"
    rig.start_up.reached(StartPhase.REGISTERED)
    assert rig.health.unready() == "starting"
    rig.health.serves(rig.serving)
    assert rig.health.unready() == ""


def test_a_worker_that_leaves_is_not_ready_but_well() -> None:
    rig = Rig()
    rig.serve()
    rig.leaving = "draining"
    assert (rig.health.unready(), rig.health.ailment()) == ("draining", "")
