"""libwebrtc under Python, the package reactor-webrtc: `publish URL`, or `watch URL FOLDER`. It knows VP8, not H264."""

import asyncio
import importlib.metadata
import sys
from pathlib import Path

import cv2
import numpy as np
import reactor_webrtc as rw

from genlock_core.process.tasks import end_tasks
from tests.clients.card import HEIGHT, RATE, WIDTH, card
from tests.clients.programs.python.telling import Album, post_offer, say_goodbye, tell, told_to_leave
from tests.clients.proof import Picture


def picture_of(bgra: bytes, width: int, height: int) -> Picture:
    pixels = np.frombuffer(bgra, np.uint8).reshape(height, width, 4)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB), np.uint8)


async def play(track: rw.Track) -> None:
    """The card, at its own rate."""
    index = 0
    while True:
        track.push_video_frame(cv2.cvtColor(card(index), cv2.COLOR_RGB2BGRA).tobytes(), WIDTH, HEIGHT)
        index += 1
        await asyncio.sleep(1 / RATE)


async def main(way: str, url: str, folder: Path | None) -> None:
    tell("version", version=f"reactor-webrtc {importlib.metadata.version('reactor-webrtc')}")
    factory = rw.PeerConnectionFactory()
    observer = rw.PeerConnectionObserver()
    gathered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def gathering(state: rw.IceGatheringState) -> None:
        if state == rw.IceGatheringState.Complete:
            loop.call_soon_threadsafe(gathered.set)

    observer.on_ice_gathering_change = gathering
    candidates: list[rw.IceCandidate] = []
    observer.on_ice_candidate = candidates.append
    # A track that nobody holds shows nothing.
    held: list[rw.Track] = []
    if folder is not None:
        album = Album(folder)

        def on_track(_kind: rw.MediaKind, shown: rw.Track) -> None:
            held.append(shown)
            shown.on_video_frame(lambda bgra, width, height: album.take(picture_of(bgra, width, height)))

        observer.on_track = on_track
    connection = factory.create_peer_connection(rw.RtcConfiguration(), observer)

    tasks: list[asyncio.Task[None]] = []
    if folder is None:
        transceiver = connection.add_transceiver(rw.MediaKind.Video, rw.TransceiverDirection.SendOnly)
        track = factory.create_video_track("card")
        await transceiver.set_track(track)
        tasks.append(asyncio.create_task(play(track)))
    else:
        connection.add_transceiver(rw.MediaKind.Video, rw.TransceiverDirection.RecvOnly)

    offer = await connection.create_offer()
    await connection.set_local_description(offer)
    await asyncio.wait_for(gathered.wait(), 15)
    answer, resource = await post_offer(url, with_candidates(offer.sdp, candidates))
    await connection.set_remote_description(rw.SessionDescription("answer", answer))
    await told_to_leave()

    await say_goodbye(resource)
    await end_tasks(tasks)


def with_candidates(sdp: str, candidates: list[rw.IceCandidate]) -> str:
    """The offer with what was gathered since, as its one media section has it."""
    return sdp + "".join(f"a={one.candidate}\r\n" for one in candidates)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if sys.argv[1] == "watch" else None))
