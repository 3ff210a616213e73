import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.algorithm.blend import prompt_digest
from genlock_worker.engines.mock.styles import look_for
from genlock_worker.engines.mock.words import MEDIUM_WORDS, Medium, Scene


@pytest.mark.parametrize(
    ("prompt", "medium"),
    [
        ("a watercolour city at dusk", Medium.WATERCOLOUR),
        ("Watercolor, soft", Medium.WATERCOLOUR),
        ("ink drawing of a heron", Medium.INK),
        ("NEON tokyo", Medium.NEON),
        ("in the manner of Van Gogh", Medium.OIL),
        ("charcoal portrait", Medium.CHARCOAL),
        ("pop art", Medium.COMIC),
        ("stained glass", Medium.GLASS),
        ("8bit game", Medium.PIXEL),
        ("a pencil sketch", Medium.PENCIL),
    ],
)
def test_words_choose_the_medium(prompt: str, medium: Medium) -> None:
    assert look_for(prompt).medium is medium


def test_every_medium_has_words_of_its_own() -> None:
    words = [word for names in MEDIUM_WORDS.values() for word in names]
    assert len(words) == len(set(words))
    assert {look_for(medium.value).medium for medium in Medium} == set(Medium)


def test_colour_words_shape_the_palette() -> None:
    plain, winter, gold = (look_for(f"oil {word}") for word in ("bridge", "winter", "gold"))
    assert winter.middle[2] > winter.middle[0]
    assert gold.middle[0] > gold.middle[2]
    assert winter.tint > plain.tint


def test_unknown_prompts_get_looks_of_their_own() -> None:
    looks = {look_for(f"thing number {n} of mine") for n in range(40)}
    assert len(looks) == 40
    assert len({look.medium for look in looks}) >= 5


def test_the_scene_follows_the_words() -> None:
    assert look_for("a city of light").scene is Scene.CITY
    assert look_for("waves").scene is Scene.SEA


@given(st.text(max_size=60))
def test_any_text_gives_a_look_and_always_the_same(prompt: str) -> None:
    look = look_for(prompt)
    assert look == look_for(prompt)
    assert 0 <= look.tint <= 1
    assert all(0 <= part <= 255 for colour in (look.shadows, look.middle, look.lights) for part in colour)
    assert len(prompt_digest(prompt)) == 64
