"""One tiny picture of each codec, decoded before the first fork: what libraries make at their first use is there then.

A decoder's process can open no file, so nothing of it may be imported or read late.
"""

from typing import Final

from genlock_core.media import AccessUnit, Codec
from genlock_worker.intake.decode import Decoder

WARM_UP_UNITS: Final = (
    AccessUnit(
        Codec.H264,
        bytes.fromhex(
            "000000016742c00ad9842684000003000400000300803c4899a00000000168c960f2c8000000"
            "016588840bf26280019befbebaebaebaebaebaebaf"
        ),
        key_frame=True,
        capture_us=0,
    ),
    AccessUnit(
        Codec.VP8,
        bytes.fromhex("f002009d012a40004000004708858588858488020200067049d96f5416a425e200fe6800"),
        key_frame=True,
        capture_us=0,
    ),
)
"""Key frames of 64x64 pixels."""


def warm_up() -> None:
    """Raises RuntimeError if a codec gives no picture here."""
    for unit in WARM_UP_UNITS:
        frames = Decoder(unit.codec).decode(unit)
        if len(frames) != 1:
            raise RuntimeError(f"{unit.codec.name} cannot be decoded here")
        frames[0].fitted(width=48, height=80)
