"""What the gateway knows of H264."""

import base64

from genlock_core.media import Codec
from genlock_gateway.rtc.egress.packetise import packetise_h264
from genlock_gateway.rtc.h264 import ParameterSets, join_annex_b, nal_type, split_annex_b, starts_picture
from tests.gateway.rtc.clips import encode


def test_parameter_sets_and_the_first_fragment_of_a_picture_are_known_as_its_beginning() -> None:
    for unit in encode(Codec.H264, 3):
        begins = [starts_picture(payload) for payload in packetise_h264(unit.data)]
        first = 2 if unit.key_frame else 1
        assert begins == [True] * first + [False] * (len(begins) - first)
    assert not starts_picture(b"")


def test_an_idr_gets_the_parameter_sets_that_were_sent_before_it() -> None:
    nals = split_annex_b(encode(Codec.H264, 1)[0].data)
    sets = [nal for nal in nals if nal_type(nal) in (7, 8)]
    idr = [nal for nal in nals if nal_type(nal) == 5]
    seen = ParameterSets()
    assert seen.complete(idr) is None
    assert seen.complete(sets) == sets
    assert seen.complete(idr) == sets + idr


def test_parameter_sets_may_stand_in_the_offer_only() -> None:
    nals = split_annex_b(encode(Codec.H264, 1)[0].data)
    sets = [nal for nal in nals if nal_type(nal) in (7, 8)]
    idr = [nal for nal in nals if nal_type(nal) == 5]
    offered = ParameterSets(",".join(base64.b64encode(nal).decode() for nal in sets) + ",=broken=")
    assert join_annex_b(offered.complete(idr) or []) == join_annex_b(sets + idr)
