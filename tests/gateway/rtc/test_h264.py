"""What the gateway knows of H264."""

from genlock_core.media import Codec
from genlock_gateway.rtc.egress.packetise import packetise_h264
from genlock_gateway.rtc.h264 import starts_picture
from tests.bitstreams.bits import picture_set, sequence_set, slice_start, user_data
from tests.gateway.rtc.clips import encode


def test_parameter_sets_and_the_first_fragment_of_a_picture_are_known_as_its_beginning() -> None:
    for unit in encode(Codec.H264, 3):
        begins = [starts_picture(payload) for payload in packetise_h264(unit.data)]
        first = 2 if unit.key_frame else 1
        assert begins == [True] * first + [False] * (len(begins) - first)
    assert not starts_picture(b"")


def test_a_sei_stands_in_front_of_its_picture_alone_or_with_others() -> None:
    sps = sequence_set()
    together = b"\x18" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in (user_data(), sps))
    assert starts_picture(user_data())
    assert starts_picture(together)
    assert not starts_picture(picture_set()), "its SPS may be what was lost"
    assert not starts_picture(slice_start(1, first_macroblock=40))
