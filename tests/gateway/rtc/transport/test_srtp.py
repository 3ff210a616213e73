"""Our SRTP against libsrtp's."""

import pylibsrtp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_gateway.rtc.transport.srtp import MAX_OVERHEAD_BYTES, SrtpKeys, rtp_header, writer_for

PROFILES = {
    "gcm-128": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12, True),
    "gcm-256": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12, True),
    "cm-sha1": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14, False),
}


@pytest.mark.parametrize("profile", PROFILES)
@given(data=st.binary(max_size=1200), key=st.binary(min_size=64, max_size=64), first=st.integers(0, 32767))
@settings(max_examples=20)
def test_libsrtp_reads_what_is_written_also_past_the_rollover(
    profile: str, data: bytes, key: bytes, first: int
) -> None:
    number, key_bytes, salt_bytes, is_gcm = PROFILES[profile]
    keys = SrtpKeys(number, is_gcm, key[:key_bytes], key[key_bytes : key_bytes + salt_bytes])
    policy = pylibsrtp.Policy(
        key=keys.key + keys.salt, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND, srtp_profile=number
    )
    reader, writer = pylibsrtp.Session(policy), writer_for(keys)
    for index in (first, first + 1, *range(33_000, 140_000, 20_000)):
        for ssrc in (6, 7):
            header = rtp_header(payload_type=96, marker=True, index=index, timestamp=5, ssrc=ssrc)
            packet = writer.protect(header, data, ssrc=ssrc, index=index)
            assert len(packet) - len(data) <= MAX_OVERHEAD_BYTES
            assert reader.unprotect(packet) == header + data


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(SrtpKeys(1, is_gcm=True, key=b"secret" * 3, salt=b"secret"))
