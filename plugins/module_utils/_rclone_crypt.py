# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rclone's two ciphers: obscured values (AES-256-CTR) and an encrypted configuration file (NaCl's secretbox). Pure.

Targets have no cryptography library for sure, ``rclone obscure`` and ``reveal`` take their value as an argument that
every user can read, and no command of rclone 1.60 encrypts a file. So the primitives stand here, as their standards
write them: AES in FIPS 197, its counter mode in NIST SP 800-38A, XSalsa20 in Bernstein's "Extending the Salsa20 nonce",
Poly1305 in RFC 8439 (2.5). The values are a few hundred bytes: speed is no concern.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import os
import re
import unicodedata

# rclone publishes this key in its source: obscuring hides from a glance, it protects nothing
OBSCURE_KEY = bytes.fromhex("9c935b48730a554d6bfd7c63c886a92bd390198eb8128afbf4de162b8b95f638")
BLOCK = 16
ENCRYPTED_HEAD = "RCLONE_ENCRYPT_V0:"


class CryptError(ValueError):
    """What was read is not what this cipher writes. Holds no secret."""


# --- AES (FIPS 197)
def _times2(value: int) -> int:
    return (value << 1) ^ (0x11B if value & 0x80 else 0)


def _make_sbox() -> bytes:
    """5.1.1: inverses in GF(2^8), then the affine transformation; p and q walk the field, q as p's inverse."""
    box = [0x63] * 256
    p = q = 1
    while True:
        p ^= _times2(p)
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q = (q ^ (0x09 if q & 0x80 else 0)) & 0xFF
        doubled = q * 0x101
        box[p] = (q ^ doubled >> 7 ^ doubled >> 6 ^ doubled >> 5 ^ doubled >> 4) & 0xFF ^ 0x63
        if p == 1:
            return bytes(box)


SBOX = _make_sbox()


@functools.lru_cache(maxsize=4)
def _round_keys(key: bytes) -> tuple[bytes, ...]:
    """5.2: the key expansion, as one key of 16 bytes a round."""
    length = len(key) // 4
    words = [key[4 * i : 4 * i + 4] for i in range(length)]
    constant = 1
    for i in range(length, 4 * (length + 7)):
        word = words[-1]
        if i % length == 0:
            word = bytes(SBOX[byte] for byte in word[1:] + word[:1])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = _times2(constant)
        elif length > 6 and i % length == 4:
            word = bytes(SBOX[byte] for byte in word)
        words.append(bytes(a ^ b for a, b in zip(words[i - length], word, strict=True)))
    return tuple(b"".join(words[i : i + 4]) for i in range(0, len(words), 4))


def _mix(column: bytes) -> bytes:
    """5.1.3, one column."""
    total = column[0] ^ column[1] ^ column[2] ^ column[3]
    return bytes(column[i] ^ total ^ _times2(column[i] ^ column[(i + 1) % 4]) for i in range(4))


def aes_block(key: bytes, block: bytes) -> bytes:
    """5.1: encrypt one block of 16 bytes."""
    first, *middle, last = _round_keys(key)
    state = bytes(a ^ b for a, b in zip(block, first, strict=True))
    for round_key in (*middle, last):
        # SubBytes and ShiftRows in one: row r of column c comes from column c + r
        state = bytes(SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16))
        if round_key is not last:
            state = b"".join(_mix(state[i : i + 4]) for i in range(0, 16, 4))
        state = bytes(a ^ b for a, b in zip(state, round_key, strict=True))
    return state


def aes_ctr(key: bytes, counter: bytes, data: bytes) -> bytes:
    """SP 800-38A, 6.5: encrypts and decrypts."""
    start, out = int.from_bytes(counter, "big"), bytearray()
    for index in range(0, len(data), BLOCK):
        number = (start + index // BLOCK) % (1 << 128)
        stream = aes_block(key, number.to_bytes(BLOCK, "big"))
        out += bytes(a ^ b for a, b in zip(data[index : index + BLOCK], stream, strict=False))
    return bytes(out)


# --- obscured values
def obscure(plain: str, place: str) -> str:
    """``rclone obscure``, but the same text at the same place always gives the same result."""
    data = plain.encode()
    counter = hmac.new(OBSCURE_KEY, place.encode() + b"\0" + data, hashlib.sha256).digest()[:BLOCK]
    return base64.urlsafe_b64encode(counter + aes_ctr(OBSCURE_KEY, counter, data)).decode().rstrip("=")


def reveal(text: str) -> str:
    """``rclone reveal``. Any 22 and more letters and digits "reveal" to something: what comes out may be garbage."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise CryptError("not an obscured value")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(data) < BLOCK:
        raise CryptError("too short for an obscured value")
    return aes_ctr(OBSCURE_KEY, data[:BLOCK], data[BLOCK:]).decode("utf-8", "surrogateescape")


# --- secretbox: XSalsa20 and Poly1305
def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]


def _bytes(words: list[int]) -> bytes:
    return b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words)


SIGMA = _words(b"expand 32-byte k")
QUARTERS = ((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11))
ROWS = ((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14))


def _salsa_matrix(key: bytes, nonce: bytes) -> list[int]:
    k, n = _words(key), _words(nonce)
    return [SIGMA[0], *k[:4], SIGMA[1], *n, SIGMA[2], *k[4:], SIGMA[3]]


def _salsa_rounds(matrix: list[int]) -> list[int]:
    x = list(matrix)
    for _round in range(10):
        for a, b, c, d in (*QUARTERS, *ROWS):
            for target, left, right, turn in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
                total = (x[left] + x[right]) & 0xFFFFFFFF
                x[target] ^= (total << turn | total >> (32 - turn)) & 0xFFFFFFFF
    return x


def xsalsa20(key: bytes, nonce: bytes, length: int) -> bytes:
    """The key stream for a nonce of 24 bytes: HSalsa20 makes the key for its last 8."""
    inner = _salsa_rounds(_salsa_matrix(key, nonce[:16]))
    subkey = _bytes([inner[i] for i in (0, 5, 10, 15, 6, 7, 8, 9)])
    out = bytearray()
    for block in range(-(-length // 64)):
        matrix = _salsa_matrix(subkey, nonce[16:] + block.to_bytes(8, "little"))
        out += _bytes([a + b for a, b in zip(matrix, _salsa_rounds(matrix), strict=True)])
    return bytes(out[:length])


def poly1305(key: bytes, data: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for index in range(0, len(data), 16):
        total = (total + int.from_bytes(data[index : index + 16] + b"\x01", "little")) * r % ((1 << 130) - 5)
    return ((total + int.from_bytes(key[16:], "little")) % (1 << 128)).to_bytes(16, "little")


def seal(key: bytes, nonce: bytes, data: bytes) -> bytes:
    stream = xsalsa20(key, nonce, 32 + len(data))
    box = bytes(a ^ b for a, b in zip(data, stream[32:], strict=True))
    return poly1305(stream[:32], box) + box


def unseal(key: bytes, nonce: bytes, box: bytes) -> bytes:
    stream = xsalsa20(key, nonce, 32 + len(box) - 16)
    if not hmac.compare_digest(poly1305(stream[:32], box[16:]), box[:16]):
        raise CryptError("it is encrypted with another password, or damaged")
    return bytes(a ^ b for a, b in zip(box[16:], stream[32:], strict=True))


# --- the encrypted configuration file
def file_key(password: str) -> bytes:
    """Spaces at the ends are refused: versions of rclone differ in whether they count."""
    if not password or password != password.strip():
        raise CryptError("the password is empty, or begins or ends with a space")
    return hashlib.sha256(f"[{unicodedata.normalize('NFKC', password)}][rclone-config]".encode()).digest()


def first_line(text: str) -> str:
    """The first line that says something."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and line[0] not in ";#"), "")


def encrypt_file(text: str, password: str) -> str:
    nonce = os.urandom(24)
    box = base64.b64encode(nonce + seal(file_key(password), nonce, text.encode("utf-8", "surrogateescape"))).decode()
    return f"# Encrypted rclone configuration File\n\n{ENCRYPTED_HEAD}\n{box}"


def is_encrypted(text: str) -> bool:
    return first_line(text).startswith("RCLONE_ENCRYPT_V")


def decrypt_file(text: str, password: str | None) -> str:
    if first_line(text) != ENCRYPTED_HEAD:
        raise CryptError("it is encrypted in a way that is not known here")
    if password is None:
        raise CryptError("it is encrypted, and no password for it is given")
    try:
        box = base64.b64decode("".join(text.partition(ENCRYPTED_HEAD)[2].split()), validate=True)
    except binascii.Error:
        raise CryptError("what is encrypted in it is damaged") from None
    if len(box) < 40:
        raise CryptError("what is encrypted in it is too short")
    return unseal(file_key(password), box[:24], box[24:]).decode("utf-8", "surrogateescape")
