"""What a session keeps beside its rings, for snapshots: its prompts' embeddings, and the last of what the VAE coded.

A cache of the causal VAE remembers the last frames, so a restored one does not have to see the whole stream again: its
last chunks bring it close to what it was. Input frames are kept as JPEG, made beside the engine's thread.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlock_worker.engines.contract import Frames
from genlock_worker.engines.diffusion.prompt_book import Embedding
from genlock_worker.engines.diffusion.streaming.transfers import HostCopy, to_host, typed

JPEG_QUALITY = 95
_START_OF_SCAN, _BASELINE = 0xDA, 0xC0
_BASELINE_BYTES = 15
"""Of a frame header for three components, without marker and length."""
_TABLES = frozenset({0xC4, 0xDB, 0xE0})
"""Huffman tables, quantisation tables and JFIF's header: what may come before the scan."""
Block = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class KeptPrompt:
    """One prompt's embedding: the book that encoded it may forget it, a session may not."""

    digest: str
    embedding: Embedding
    dtype: torch.dtype
    """The model's, in which it is stored."""

    @property
    def name(self) -> str:
        """Its name in snapshots, for ever."""
        return f"p.{self.digest[:16]}"

    @property
    def copies(self) -> Sequence[HostCopy]:
        """None: it is on the host."""
        return ()

    @cached_property
    def block(self) -> Block:
        """It as arrays, made once."""
        return {
            "embedding": to_host(self.embedding.rows.to(self.dtype)),
            "digest": np.frombuffer(bytes.fromhex(self.digest), np.uint8),
        }


@dataclass(frozen=True, eq=False)
class KeptInput:
    """One chunk's input frames; `coded` is their JPEGs, which may still be in the making."""

    chunk: int
    coded: Future[tuple[NDArray[np.uint8], ...]]

    @classmethod
    def of(cls, chunk: int, frames: Frames, workers: Executor) -> "KeptInput":
        """Keep `frames` (T, H, W, 3), which must not change any more."""
        return cls(chunk, workers.submit(compress, frames))

    @classmethod
    def known(cls, chunk: int, block: Block, *, shape: tuple[int, ...]) -> tuple["KeptInput", Frames]:
        """From a snapshot, with its frames. Raises ValueError unless they are `shape`, (T, H, W, 3)."""
        if len(block) != shape[0]:
            raise ValueError(f"{len(block)} input frames, not {shape[0]}")
        pictures = tuple(typed(block[f"frame{number}"], np.uint8, ndim=1) for number in range(shape[0]))
        coded: Future[tuple[NDArray[np.uint8], ...]] = Future()
        coded.set_result(pictures)
        return cls(chunk, coded), expand(pictures, shape=shape)

    @property
    def name(self) -> str:
        """Its name in snapshots, for ever."""
        return f"i.c{self.chunk}"

    @property
    def copies(self) -> Sequence[HostCopy]:
        """None: it is on the host."""
        return ()

    @property
    def block(self) -> Block:
        """It as arrays; waits for its JPEGs."""
        return {f"frame{number}": data for number, data in enumerate(self.coded.result())}


@dataclass(frozen=True, eq=False)
class KeptOutput:
    """One chunk's output latents, (F, C, h, w) in the model's dtype, as the decoder was given them."""

    chunk: int
    latents: Tensor

    @property
    def name(self) -> str:
        """Its name in snapshots, for ever."""
        return f"o.c{self.chunk}"

    @cached_property
    def copies(self) -> Sequence[HostCopy]:
        """What of it must come from the device, once."""
        return (HostCopy(self.latents),)

    @cached_property
    def block(self) -> Block:
        """It as arrays, once its copies are there."""
        return {"latents": self.copies[0].array}


def compress(frames: Frames) -> tuple[NDArray[np.uint8], ...]:
    """RGB frames (T, H, W, 3) as JPEGs."""
    coded = []
    for frame in frames:
        ok, data = cv2.imencode(
            ".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        if not ok:
            raise ValueError(f"a frame of shape {frame.shape} could not be compressed")
        coded.append(data.reshape(-1))
    return tuple(coded)


def expand(coded: Sequence[NDArray[np.uint8]], *, shape: tuple[int, ...]) -> Frames:
    """The frames (T, H, W, 3) of their JPEGs. Raises ValueError unless they are `shape`."""
    if any(jpeg_size(data.tobytes()) != shape[1:3] for data in coded):
        raise ValueError(f"input frames are not JPEGs of {shape[2]}x{shape[1]}")
    pictures = [cv2.imdecode(data, cv2.IMREAD_COLOR) for data in coded]
    if [None if picture is None else picture.shape for picture in pictures] != [shape[1:]] * shape[0]:
        raise ValueError(f"input frames are not the JPEGs of {shape[0]} pictures of {shape[2]}x{shape[1]}")
    frames = [cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in pictures if picture is not None]
    return np.stack(frames).astype(np.uint8, copy=False)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a baseline JPEG whose three components come in one scan, as `compress` makes them.

    None for anything else. What a decoder would allocate is known from here on, before it is asked: a picture may claim
    to be huge, and a progressive one may have scans without end (ITU-T T.81, annex B).
    """
    size, at = None, 2
    while data[:2] == b"\xff\xd8" and at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if marker == _START_OF_SCAN:
            return size if segment[:1] == b"\x03" else None
        if marker == _BASELINE and size is None and len(segment) == _BASELINE_BYTES and segment[0] == 8:
            size = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
        elif marker not in _TABLES:
            return None
        at += 2 + length
    return None
