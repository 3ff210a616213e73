"""The records that several sessions' plans ask for at the same moment, in one round trip to Redis.

Nothing is kept: each question is answered by what Redis says after it was asked. A new leader looks at thousands of
sessions; this costs it one round trip for as many as are worked on at once.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TypeAlias

from redis.exceptions import RedisError

from genlock_core.claims.claims import Claims
from genlock_core.claims.record import SessionRecord

_Question: TypeAlias = "tuple[str, asyncio.Future[SessionRecord | None]]"


@dataclass(slots=True)
class RecordReader:
    """`record` from any number of tasks; while one reading is under way the next questions gather."""

    claims: Claims
    _asked: list[_Question] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None

    async def record(self, session: str) -> SessionRecord | None:
        """The session's record, None without one. Raises RedisError, or what `from_fields` says of no record."""
        answer: asyncio.Future[SessionRecord | None] = asyncio.get_running_loop().create_future()
        self._asked.append((session, answer))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="records")
        return await answer

    async def _read(self) -> None:
        while self._asked:
            # Tasks that ask in this turn of the loop are answered by the same reading.
            await asyncio.sleep(0)
            questions = self._asked
            self._asked = []
            await self._answer(questions)

    async def _answer(self, questions: list[_Question]) -> None:
        try:
            found = await self.claims.records_of([session for session, _ in questions])
        except RedisError as error:
            _refuse(questions, error)
        except Exception as error:  # noqa: BLE001 - it is raised again where the record was asked for
            if len(questions) == 1:
                _refuse(questions, error)
                return
            # One of them cannot be read: each is asked for alone, so that the others get theirs.
            for question in questions:
                await self._answer([question])
        else:
            for session, answer in questions:
                if not answer.done():
                    answer.set_result(found.get(session))


def _refuse(questions: list[_Question], error: Exception) -> None:
    for _, answer in questions:
        if not answer.done():
            answer.set_exception(error)
