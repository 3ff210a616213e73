"""Public traces as rates of arrivals and as lengths of sessions. They are read where they lie and copied nowhere.

The folder is that of the option `--traces`, or of the environment variable GENLOCK_TRACES.
"""

import csv
import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

DAY_S: Final = 86_400
SESSION_GAP_S: Final = 600
"""Requests of one group that are further apart belong to two sessions."""
SHORTEST_S: Final = 1.0

TWITTER: Final = Path("twitter") / "workload.txt.gz"
GENTD26: Final = Path("alibaba_gentd26") / "lora_request_trace.csv.gz"
AZURE_CODE: Final = Path("azure") / "AzureLLMInferenceTrace_code.csv"
AZURE_CONVERSATION: Final = Path("azure") / "AzureLLMInferenceTrace_conv.csv"


@dataclass(frozen=True, slots=True)
class Rate:
    """How arrivals are spread over time: a weight for each bucket, of mean 1."""

    bucket_s: float
    weights: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, bucket_s: float) -> "Rate":
        """The rate of these counts."""
        return cls(bucket_s, counts / counts.mean())

    @property
    def span_s(self) -> float:
        return self.bucket_s * len(self.weights)

    def repeated(self, times: int) -> "Rate":
        """The same again and again."""
        return Rate(self.bucket_s, np.tile(self.weights, times))


@dataclass(frozen=True, slots=True)
class TracedSession:
    """A session of GenTD26."""

    begin_s: float
    """Since the first of them."""
    length_s: float


def twitter_day(folder: Path, day: int = 0) -> Rate:
    """One day of the Twitter trace, by the minute."""
    seconds = np.array([int(one) for one in gzip.decompress((folder / TWITTER).read_bytes()).split()])
    return Rate.of(seconds[day * DAY_S : (day + 1) * DAY_S].reshape(-1, 60).sum(axis=1), 60.0)


def azure_hour(folder: Path, name: Path) -> Rate:
    """The hour of an Azure trace, by the second: its bursts are that short."""
    with (folder / name).open(newline="") as file:
        # The last digit of 100 ns is more than a datetime takes.
        moments = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in csv.DictReader(file)]
    seconds = np.array(moments) - moments[0]
    return Rate.of(np.bincount(seconds.astype(int)), 1.0)


def gentd26_sessions(folder: Path) -> list[TracedSession]:
    """Sessions of GenTD26, by beginning: requests of one group, none more than 600 s after the one before it.

    A session lasts from the creation of its first request to the end of its last one, a second at least.
    """
    requests: dict[str, list[tuple[float, float]]] = {}
    with gzip.open(folder / GENTD26, "rt", newline="") as file:
        for row in csv.DictReader(file):
            created_s = datetime.fromisoformat(row["gmt_create"]).timestamp()
            requests.setdefault(row["groupId"], []).append((created_s, float(row["exec_time_seconds"] or 0)))

    found = [session for of_group in requests.values() for session in _sessions_of(sorted(of_group))]
    first_s = min(begin_s for begin_s, _ in found)
    return sorted(
        (TracedSession(begin_s - first_s, max(SHORTEST_S, length_s)) for begin_s, length_s in found),
        key=lambda one: (one.begin_s, one.length_s),
    )


def _sessions_of(requests: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Beginning and length of each session of one group; `requests`: creation and seconds of work, by creation."""
    begin_s, last_s, end_s = requests[0][0], requests[0][0], 0.0
    for created_s, work_s in requests:
        if created_s - last_s > SESSION_GAP_S:
            yield begin_s, end_s - begin_s
            begin_s, end_s = created_s, 0.0
        last_s, end_s = created_s, max(end_s, created_s + work_s)
    yield begin_s, end_s - begin_s


def synthetic_day() -> Rate:
    """A day that nobody recorded, for where no trace is: a wave of 24 h, and three bursts of some minutes."""
    minutes = np.arange(24 * 60)
    wave = 1 - 0.6 * np.cos(2 * math.pi * minutes / len(minutes))
    for middle in (500, 800, 1_100):
        wave = wave + 1.5 * np.exp(-(((minutes - middle) / 6.0) ** 2))
    return Rate.of(wave, 60.0)
