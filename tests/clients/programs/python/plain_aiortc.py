"""aiortc as its documentation shows it: `publish URL`, or `watch URL FOLDER`."""

import asyncio
import sys
from pathlib import Path

import aiortc
import av
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from genlock_core.process.tasks import end_tasks
from tests.clients.card import card
from tests.clients.programs.python.telling import Album, post_offer, say_goodbye, tell, told_to_leave
from tests.clients.proof import rgb


class CardTrack(VideoStreamTrack):
    """The card, at aiortc's own pace of 30 frames a second."""

    def __init__(self) -> None:
        super().__init__()
        self._index = 0

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame.from_ndarray(card(self._index), format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        self._index += 1
        return frame


async def look(track: MediaStreamTrack, album: Album) -> None:
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        assert isinstance(frame, av.VideoFrame)
        album.take(rgb(frame))


async def main(way: str, url: str, folder: Path | None) -> None:
    tell("version", version=f"aiortc {aiortc.__version__}")
    connection = RTCPeerConnection()
    tasks: list[asyncio.Task[None]] = []
    if folder is None:
        connection.addTransceiver(CardTrack(), direction="sendonly")
    else:
        album = Album(folder)
        connection.addTransceiver("video", direction="recvonly")
        connection.on("track", lambda track: tasks.append(asyncio.create_task(look(track, album))))

    await connection.setLocalDescription(await connection.createOffer())
    answer, resource = await post_offer(url, connection.localDescription.sdp)
    await connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    await told_to_leave()

    await say_goodbye(resource)
    await connection.close()
    await end_tasks(tasks)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if sys.argv[1] == "watch" else None))
