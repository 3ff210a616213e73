from dataclasses import replace
from pathlib import Path

import pytest

from genlock_cli.up.certificate import own_certificate
from genlock_cli.up.lan import Lan
from genlock_cli.up.plan import UpOptions, models_of, plan_gateways, plan_workers, pool_shapes
from genlock_core.sizing.profile import ProfileRow
from genlock_core.spec.engines import Coders
from genlock_core.spec.session import Approximation, Resolution, ResolvedSession, SessionKey, StreamSessionSpec, resolve
from genlock_gateway.settings import parse_settings as parse_gateway_settings
from genlock_worker.settings import parse_settings


def options(*, workers: int = 2, gateways: int = 1) -> UpOptions:
    return UpOptions(
        workers=workers,
        gateways=gateways,
        engine="mock",
        host="127.0.0.1",
        port=8080,
        media_hosts=("::",),
        gpu_product="NVIDIA-H100",
        gpus=4,
        media_root=Path("media"),
        drain_timeout_s=20.0,
    )


def session(name: str, model: str = "wan2.1-1.3b") -> ResolvedSession:
    return resolve(SessionKey(name=name), StreamSessionSpec(model=model))


def test_each_model_gets_its_workers_and_its_pool() -> None:
    sessions = [session("a"), session("b"), session("c", "wan2.1-14b")]
    plans = plan_workers(options(), sessions, redis_url="redis://r")
    assert [plan.name for plan in plans] == ["w0", "w1", "w2", "w3"]
    pools = [plan.argv[plan.argv.index("--pool") + 1] for plan in plans]
    assert pools == ["local-wan2.1-1.3b"] * 2 + ["local-wan2.1-14b"] * 2
    assert {shape.name for shape in pool_shapes(options(), sessions)} == set(pools)


def test_a_model_that_may_stand_in_has_its_workers_and_its_pool_too() -> None:
    one = session("a").model_copy(update={"approximation": Approximation(models=("tiny", "wan2.1-14b"))})
    sessions = [one, session("b", "wan2.1-14b")]
    assert models_of(sessions) == ("wan2.1-1.3b", "wan2.1-14b", "tiny")
    plans = plan_workers(options(workers=1), sessions, redis_url="redis://r")
    assert [plan.argv[plan.argv.index("--model") + 1] for plan in plans] == list(models_of(sessions))
    assert [shape.model for shape in pool_shapes(options(), sessions)] == list(models_of(sessions))


def test_a_worker_that_died_gives_way_to_those_that_take_its_streams_over() -> None:
    several = plan_workers(options(workers=2), [session("a")], redis_url="redis://r")
    (alone,) = plan_workers(options(workers=1), [session("a")], redis_url="redis://r")
    (gateway,) = plan_gateways(options(gateways=1), redis_url="redis://r")
    assert min(plan.first_delay_s for plan in several) >= 1 > alone.first_delay_s == gateway.first_delay_s


def test_gateways_take_neighbouring_ports() -> None:
    plans = plan_gateways(options(gateways=2), redis_url="redis://r")
    assert [plan.argv[plan.argv.index("--http") + 1] for plan in plans] == ["127.0.0.1:8080", "127.0.0.1:8081"]
    assert [plan.argv[plan.argv.index("--udp") + 1] for plan in plans] == ["[::]:8080", "[::]:8081"]


def test_a_gateway_listens_for_media_where_it_is_told_to_and_its_settings_can_read_that() -> None:
    (plan,) = plan_gateways(replace(options(), media_hosts=("192.0.2.2", "fd00::2")), redis_url="redis://r")
    settings = parse_gateway_settings(plan.argv[3:], {})
    assert [str(address) for address in settings.udp] == ["192.0.2.2:8080", "[fd00::2]:8080"]
    assert (str(settings.http), settings.advertise_ips) == ("127.0.0.1:8080", ())


def test_with_a_network_each_gateway_serves_https_there_and_http_where_it_did(tmp_path: Path) -> None:
    lan = Lan(("192.0.2.7", "2001:db8::7"), 8443, own_certificate(tmp_path, ["192.0.2.7"]))
    _, plan = plan_gateways(replace(options(gateways=2), lan=lan), redis_url="redis://r")
    settings = parse_gateway_settings(plan.argv[3:], {})
    assert [str(address) for address in settings.tls.listen] == ["192.0.2.7:8444", "[2001:db8::7]:8444"]
    assert (settings.tls.certificate, settings.tls.key) == (lan.files.certificate, lan.files.key)
    assert str(settings.http) == "127.0.0.1:8081"
    assert str(settings.health) == "127.0.0.1:0", "figures are not for the network"


def test_no_secret_is_on_a_command_line() -> None:
    plans = (
        *plan_workers(options(), [session("a")], redis_url="redis://r"),
        *plan_gateways(options(), redis_url="redis://r"),
    )
    assert not [word for plan in plans for word in plan.argv if "secret" in word.lower()]


def test_gateways_size_with_the_users_own_profiles_too() -> None:
    (plan,) = plan_gateways(replace(options(), profiles=(Path("/a.yaml"), Path("/b.yaml"))), redis_url="redis://r")
    assert " ".join(plan.argv).endswith("--profile /a.yaml --profile /b.yaml")


def test_workers_are_told_what_the_users_own_profiles_say_of_their_model_on_this_hardware() -> None:
    size = Resolution(width=512, height=512)
    row = ProfileRow(
        model="mine", resolution=size, steps=2, gpu_product="NVIDIA-H100", gpus=4, fps_per_session=7, source="me"
    )
    elsewhere = row.model_copy(update={"gpus": 1, "steps": 1})
    sessions = [session("a", "mine"), session("b")]
    mine, seeded = plan_workers(replace(options(workers=1), own_rows=(row, elsewhere)), sessions, redis_url="redis://r")
    assert parse_settings(mine.argv[3:], {}).measured_fps == {size: {2: 7}}
    assert "--measured-fps" not in seeded.argv


def test_workers_are_told_what_forwards_take_where_the_profiles_say_so() -> None:
    size = Resolution(width=512, height=512)
    rows = tuple(
        ProfileRow(
            model="mine",
            resolution=size,
            steps=steps,
            gpu_product="NVIDIA-H100",
            gpus=4,
            fps_per_session=7,
            micro_step_ms=40 + 10 * steps,
            source="me",
        )
        for steps in (1, 2, 3)
    )
    mine, seeded = plan_workers(
        replace(options(workers=1), own_rows=rows), [session("a", "mine"), session("b")], redis_url="redis://r"
    )
    (told,) = parse_settings(mine.argv[3:], {}).measured_step_time.items()
    assert told[0] == size
    assert told[1].seconds(2) == pytest.approx(0.060)
    assert "--measured-step-time" not in seeded.argv


def test_only_rows_with_the_workers_own_coders_count_for_them_and_their_pool() -> None:
    size, tiny = Resolution(width=512, height=512), Coders("tiny", "tiny")
    rows = tuple(
        ProfileRow(
            model="mine",
            resolution=size,
            steps=steps,
            gpu_product="NVIDIA-H100",
            gpus=4,
            fps_per_session=fps,
            micro_step_ms=100 * steps / fps,
            encoder=coders.encoder,
            decoder=coders.decoder,
            source="me",
        )
        for coders, fps in ((Coders(), 10), (tiny, 20))
        for steps in (1, 2)
    )
    sessions = [session("a", "mine")]
    for coders, fps in ((Coders(), 10), (tiny, 20)):
        told = replace(options(workers=1), own_rows=rows, coders=coders)
        (plan,) = plan_workers(told, sessions, redis_url="redis://r")
        settings = parse_settings(plan.argv[3:], {})
        assert settings.measured_fps == {size: {1: fps, 2: fps}}
        assert settings.measured_step_time[size].seconds(2) == pytest.approx(0.2 / fps)
        (pool,) = pool_shapes(told, sessions)
        assert pool.coders == coders
