# SPDX-License-Identifier: MIT
"""The ciphers against their standards' own vectors. That rclone reads the same is shown in tests/integration."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _rclone_crypt as crypt

KEY256 = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")


@pytest.mark.parametrize(
    ("key", "cipher"),
    [
        ("000102030405060708090a0b0c0d0e0f", "69c4e0d86a7b0430d8cdb78070b4c55a"),
        ("000102030405060708090a0b0c0d0e0f1011121314151617", "dda97ca4864cdfe06eaf70a0ec0d7191"),
        ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "8ea2b7ca516745bfeafc49904b496089"),
    ],
)
def test_aes_by_appendix_c_of_fips_197(key, cipher):
    block = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert crypt.aes_block(bytes.fromhex(key), block).hex() == cipher


def test_counter_mode_by_f_5_5_of_sp_800_38a():
    plain = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = (
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    assert crypt.aes_ctr(KEY256, counter, plain).hex() == cipher
    assert crypt.aes_ctr(KEY256, counter, plain[:21]).hex() == cipher[:42]


def test_the_counter_runs_over_its_end():
    end = b"\xff" * 16
    blocks = crypt.aes_ctr(KEY256, end, bytes(32))
    assert blocks == crypt.aes_block(KEY256, end) + crypt.aes_block(KEY256, bytes(16))


def test_poly1305_by_2_5_2_of_rfc_8439():
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    assert crypt.poly1305(key, b"Cryptographic Forum Research Group").hex() == "a8061dc1305136c6c22b8baf0c0127a9"


NACL_KEY = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
NACL_NONCE = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
NACL_PLAIN = bytes.fromhex(
    "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129"
    "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde"
    "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
)
NACL_BOX = (
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a"
    "c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae"
    "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5"
)


def test_secretbox_by_the_vector_of_nacl():
    assert crypt.seal(NACL_KEY, NACL_NONCE, NACL_PLAIN).hex() == NACL_BOX
    assert crypt.unseal(NACL_KEY, NACL_NONCE, bytes.fromhex(NACL_BOX)) == NACL_PLAIN


def test_a_damaged_box_is_not_opened():
    box = bytearray.fromhex(NACL_BOX)
    box[40] ^= 1
    with pytest.raises(crypt.CryptError):
        crypt.unseal(NACL_KEY, NACL_NONCE, bytes(box))


@pytest.mark.parametrize("plain", ["", "a", "0123456789abcdefABCDEF", "correct horse", "ü" * 50, "x" * 333])
def test_obscured_values_reveal_and_are_stable(plain):
    first = crypt.obscure(plain, "nas/pass")
    assert crypt.reveal(first) == plain
    assert crypt.obscure(plain, "nas/pass") == first
    assert crypt.obscure(plain, "other/pass") != first


def test_a_value_obscured_by_rclone_1_60_1():
    assert crypt.reveal("2ofkxR1hmtw0WB9HyGITMNNxEUA-AU-PERbrdX3CAmKj") == "planted secret 22"


@pytest.mark.parametrize("text", ["short", "not base64!", "a" * 25, "häß" * 9])
def test_what_is_not_obscured_is_told(text):
    with pytest.raises(crypt.CryptError):
        crypt.reveal(text)


def test_an_encrypted_file_comes_back():
    text = "[a]\ntype = alias\nremote = /tmp/ü\n"
    secret = crypt.encrypt_file(text, "pä①ss")
    assert secret.startswith("# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\n")
    assert crypt.is_encrypted(secret)
    assert not crypt.is_encrypted(text)
    assert crypt.decrypt_file(secret, "pä1ss") == text, "rclone normalises by NFKC"


@pytest.mark.parametrize(
    ("change", "password", "message"),
    [
        (lambda text: text, "wrong", "another password"),
        (lambda text: text, None, "no password"),
        (lambda text: text, " right", "begins or ends with a space"),
        (lambda text: text, "", "empty"),
        (lambda text: text[:-9] + "!", "right", "damaged"),
        (lambda text: text[:74], "right", "too short"),
        (lambda text: text.replace("_V0", "_V1"), "right", "not known"),
    ],
)
def test_a_file_that_cannot_be_opened_says_why(change, password, message):
    with pytest.raises(crypt.CryptError, match=message):
        crypt.decrypt_file(change(crypt.encrypt_file("[a]\n", "right")), password)
