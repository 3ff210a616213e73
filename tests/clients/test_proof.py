"""What counts as a picture that moves, and what is missing from a client that does not work."""

import dataclasses

import numpy as np
import pytest

from tests.clients.card import card
from tests.clients.proof import FRAMES_WANTED, KEPT, Picture, Proof, moves, shortcomings, spread

PROOF = Proof(FRAMES_WANTED, 640, 360, moved=True, first_frame_ms=100, codec="H264", version="1", picture=card(0))


def grainy(picture: Picture, seed: int) -> Picture:
    noise = np.random.default_rng(seed).normal(0, 12, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_the_card_moves() -> None:
    assert moves([card(index) for index in range(0, 32, 4)])


def test_grain_is_no_movement() -> None:
    assert not moves([grainy(card(7), seed) for seed in range(8)])


def test_a_still_source_does_not_move_though_its_first_picture_was_another() -> None:
    assert not moves([card(40), *(grainy(card(7), seed) for seed in range(7))])


@pytest.mark.parametrize("pictures", [[], [card(0)]])
def test_too_few_pictures_show_no_movement(pictures: list[Picture]) -> None:
    assert not moves(pictures)


def test_a_client_that_works_has_no_shortcomings() -> None:
    assert shortcomings(PROOF, size=(640, 360)) == []


@pytest.mark.parametrize(
    "worse",
    [
        dataclasses.replace(PROOF, frames=FRAMES_WANTED - 1),
        dataclasses.replace(PROOF, width=320, height=180),
        dataclasses.replace(PROOF, moved=False),
    ],
)
def test_each_shortcoming_is_told(worse: Proof) -> None:
    assert len(shortcomings(worse, size=(640, 360))) == 1


def test_kept_pictures_are_spread_from_the_first_to_the_last() -> None:
    pictures = [np.full((1, 1, 3), number, np.uint8) for number in range(100)]
    kept = [int(picture[0, 0, 0]) for picture in spread(pictures)]
    assert len(kept) == KEPT
    assert (kept[0], kept[-1]) == (0, 99)
