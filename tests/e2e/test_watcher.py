import asyncio

import pytest

from e2e.watcher import Picture, Watcher, _Screen
from tests.cli.whep_gateway import WhepGateway, whep_gateway


async def test_a_watcher_that_ends_while_it_changes_over_leaves_both_connections() -> None:
    async with whep_gateway() as gateway:
        async with Watcher.watching(gateway.url, numbered=1024) as watcher:
            (screen,) = watcher._open
            screen.viewer.asked_to_leave.set()
            async with asyncio.timeout(20):
                while len(watcher._open) < 2:
                    await asyncio.sleep(0.01)
        assert sorted(gateway.deleted) == ["0", "1"]
    assert watcher.total.reconnects == 0


async def test_a_watcher_whose_next_connection_shows_nothing_makes_another() -> None:
    async with whep_gateway() as gateway, Watcher.watching(gateway.url, numbered=1024) as watcher:
        (screen,) = watcher._open
        screen.viewer.asked_to_leave.set()
        for connection in (1, 2, 3):  # each is lost, or asked to leave, before its first picture
            following = await another(watcher, screen, number=connection, gateway=gateway)
            (following.viewer.lost if connection % 2 else following.viewer.asked_to_leave).set()
            await gone(watcher, following)
        await another(watcher, screen, number=4, gateway=gateway)
        assert gateway.deleted == ["1", "2", "3"]


async def test_a_watcher_that_sees_nothing_says_how_its_connections_are() -> None:
    async with whep_gateway() as gateway, Watcher.watching(gateway.url, numbered=1024) as watcher:
        with pytest.raises(TimeoutError, match=r"0 of 3 pictures within 0.1 s; shown: connected, 0 frames came"):
            await watcher.frames(3, within_s=0.1)


async def test_what_ends_a_watcher_is_told_to_whoever_waits_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    async with whep_gateway() as gateway, Watcher.watching(gateway.url, numbered=1024) as watcher:
        (screen,) = watcher._open
        monkeypatch.setattr(watcher, "_connect", broken)
        screen.viewer.lost.set()
        with pytest.raises(RuntimeError, match="nobody thought of this"):
            await watcher.frames(1, within_s=20)


async def test_a_connection_that_is_behind_steps_back_only_once_it_has_caught_up() -> None:
    async with whep_gateway() as gateway, Watcher.watching(gateway.url, numbered=1024) as watcher:
        (screen,) = watcher._open
        screen.pictures.put_nowait(picture(7))
        await watcher.frames(1, within_s=20)

        screen.viewer.asked_to_leave.set()
        following = await another(watcher, screen, number=1, gateway=gateway)
        for counter in (5, 6, 7, 8):
            following.pictures.put_nowait(picture(counter))
        await watcher.frames(2, within_s=20)
        assert (watcher.total.frames, watcher.total.steps_back) == (3, 0), "7 and 8 are no step back from 7"

        for counter in (6, 9):
            following.pictures.put_nowait(picture(counter))
        await watcher.frames(2, within_s=20)
        assert watcher.total.steps_back == 1


async def test_a_number_that_no_picture_can_have_by_now_is_misread() -> None:
    async with whep_gateway() as gateway, Watcher.watching(gateway.url, numbered=4096) as watcher:
        (screen,) = watcher._open
        for counter in (217, 2813, 2812, 218, 210, 211):
            screen.pictures.put_nowait(picture(counter))
        await watcher.frames(6, within_s=20)
        assert watcher.total.steps_back == 1, "210 is one, 218 is none"


async def test_a_number_may_be_as_far_ahead_as_pictures_came_that_nobody_could_read() -> None:
    async with whep_gateway() as gateway, Watcher.watching(gateway.url, numbered=4096) as watcher:
        (screen,) = watcher._open
        for counter in (217, *([None] * 200), 800, 790):
            screen.pictures.put_nowait(picture(counter))
        await watcher.frames(203, within_s=20)
        assert watcher.total.steps_back == 1, "790 comes after 800"


def picture(counter: int | None) -> Picture:
    return Picture(0.0, counter, (0.0, 0.0, 0.0))


async def broken() -> None:
    raise RuntimeError("nobody thought of this")


async def another(watcher: Watcher, screen: _Screen, *, number: int, gateway: WhepGateway) -> _Screen:
    """The one that is open beside `screen`, the gateway's connection of that number."""
    async with asyncio.timeout(20):
        while str(number) not in gateway.peers or len(watcher._open) < 2:
            await asyncio.sleep(0.01)
    (found,) = watcher._open - {screen}
    return found


async def gone(watcher: Watcher, screen: _Screen) -> None:
    async with asyncio.timeout(20):
        while screen in watcher._open:
            await asyncio.sleep(0.01)
