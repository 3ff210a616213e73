"""SRTP of outgoing video: one writer per transport, and nobody else may send RTP under its keys.

AES-GCM breaks when a nonce is used twice for different packets. The nonce is made of SSRC and packet index (RFC 7714
section 8.1). Three things keep it safe. There is one writer per transport, because aiortc's own RTP path is closed
(aiortc_private). The SSRCs differ. An index is given to one packet only; a plain retransmission repeats the same bytes.
"""

import struct
from dataclasses import dataclass, field
from typing import Protocol

import pylibsrtp
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_OVERHEAD_BYTES = 12 + 16
"""What a payload gains at most: header and tag."""
_HEADER = struct.Struct("!BBHII")
_SESSION_KEY_LABEL, _SESSION_SALT_LABEL = 0x00, 0x02


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Master key and salt of the sending direction. `libsrtp_profile` is pylibsrtp's number of the profile."""

    libsrtp_profile: int
    is_gcm: bool
    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)


def rtp_header(*, payload_type: int, marker: bool, index: int, timestamp: int, ssrc: int) -> bytes:
    """The fixed header without extensions (RFC 3550 section 5.1); `index` is the 48-bit packet index of SRTP."""
    return _HEADER.pack(0x80, payload_type | (0x80 if marker else 0), index & 0xFFFF, timestamp, ssrc)


class SrtpWriter(Protocol):
    """Encrypts packets of one transport."""

    def protect(self, header: bytes, payload: bytes, *, ssrc: int, index: int) -> bytes:
        """The packet for the wire; `index` is the rollover counter and sequence number of RFC 3711 section 3.3.1."""
        ...


def writer_for(keys: SrtpKeys) -> SrtpWriter:
    return GcmWriter(keys) if keys.is_gcm else LibsrtpWriter(keys)


class GcmWriter:
    """AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714): three times cheaper here than through libsrtp."""

    def __init__(self, keys: SrtpKeys) -> None:
        session_key = _derive(keys, _SESSION_KEY_LABEL, len(keys.key))
        self._encrypt = AESGCM(session_key).encrypt
        self._salt = int.from_bytes(_derive(keys, _SESSION_SALT_LABEL, 12), "big")

    def protect(self, header: bytes, payload: bytes, *, ssrc: int, index: int) -> bytes:
        nonce = (self._salt ^ (ssrc << 48 | index)).to_bytes(12, "big")
        return header + self._encrypt(nonce, payload, header)


class LibsrtpWriter:
    """Any profile through libsrtp; for clients without GCM (AES128_CM_SHA1_80)."""

    def __init__(self, keys: SrtpKeys) -> None:
        policy = pylibsrtp.Policy(
            key=keys.key + keys.salt,
            ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=keys.libsrtp_profile,
        )
        policy.allow_repeat_tx = True
        policy.window_size = 1024
        self._session = pylibsrtp.Session(policy)

    def protect(self, header: bytes, payload: bytes, *, ssrc: int, index: int) -> bytes:  # noqa: ARG002 - it counts
        packet: bytes = self._session.protect(header + payload)
        return packet


def _derive(keys: SrtpKeys, label: int, size: int) -> bytes:
    """Session key derivation with a key derivation rate of 0 (RFC 3711 section 4.3, RFC 7714 section 11)."""
    salt = int.from_bytes(keys.salt.ljust(14, b"\x00"), "big")
    counter = (salt ^ (label << 48)) << 16
    # The standard's pseudo-random function is AES in counter mode; it makes keys and encrypts nothing.
    encryptor = Cipher(algorithms.AES(keys.key), modes.CTR(counter.to_bytes(16, "big"))).encryptor()
    return encryptor.update(b"\x00" * size)
