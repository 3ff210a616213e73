"""TCP doors between two processes, whose connections can vanish: both sides stay open, and nothing passes any more.

So it is where a machine, a switch or a NAT goes without a FIN: each side believes in the other one. A connection that
is made afterwards passes. The relay is a process of its own, so that nothing waits for a bench that decodes pictures:

    python -m bench.chaos.relay NAME=HOST:PORT ...

It prints `NAME PORT` for each door, where PORT leads to HOST:PORT, and reads `NAME`, the door whose connections vanish,
from its input. It ends with its input.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from genlock_core.process.address import Address
from genlock_core.process.tasks import end_tasks

HOST = "127.0.0.1"
PIECE = 65_536


@dataclass(slots=True)
class Door:
    """Takes connections on a port of its own, and makes one to `target` for each."""

    name: str
    target: Address
    _passing: set[asyncio.Task[None]] = field(default_factory=set)
    _vanished: list[asyncio.StreamWriter] = field(default_factory=list)
    """Kept, so that they are not closed."""

    async def open(self) -> int:
        """The port that leads to the target."""
        server = await asyncio.start_server(self._carry, HOST, 0)
        return int(server.sockets[0].getsockname()[1])

    async def vanish(self) -> None:
        """Nothing of what is open now passes from here on."""
        await end_tasks(list(self._passing))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward, back = await asyncio.open_connection(self.target.host, self.target.port)
        except OSError:
            writer.transport.abort()
            return

        pumps = [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(onward, writer))]
        self._passing.update(pumps)
        done, _ = await asyncio.wait(pumps)
        self._passing.difference_update(pumps)

        if any(pump.cancelled() for pump in done):
            self._vanished += [writer, back]
            return
        writer.close()
        back.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until one side ends; the other one is told so."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def serve(doors: Sequence[Door]) -> None:
    """Open all, and do as the input says until it ends."""
    for door in doors:
        print(door.name, await door.open(), flush=True)

    by_name = {door.name: door for door in doors}
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        await by_name[line.decode().strip()].vanish()
        print("vanished", flush=True)


# -- the side of the bench ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Relay:
    """The relay's process as its user has it."""

    ports: Mapping[str, int]
    """Of each door."""
    _process: asyncio.subprocess.Process
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """The relay answers one after the other."""

    @classmethod
    @asynccontextmanager
    async def running(cls, targets: Mapping[str, str]) -> AsyncIterator["Relay"]:
        """A door for each name, to its HOST:PORT, until the block ends."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.chaos.relay", *(f"{name}={target}" for name, target in targets.items())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            told = [(await process.stdout.readline()).decode().split() for _ in targets]
            yield cls({name: int(port) for name, port in told}, process)
        finally:
            process.kill()
            await process.wait()

    async def vanish(self, name: str) -> None:
        """All connections that pass this door now are half open from here on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._asking:
            self._process.stdin.write(f"{name}\n".encode())
            await self._process.stdin.drain()
            await self._process.stdout.readline()


def main(words: Sequence[str]) -> None:
    doors = [Door(name, Address.parse(target)) for name, _, target in (word.partition("=") for word in words)]
    asyncio.run(serve(doors))


if __name__ == "__main__":
    main(sys.argv[1:])
