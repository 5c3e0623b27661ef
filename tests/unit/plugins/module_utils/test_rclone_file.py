# SPDX-License-Identifier: MIT
"""Reading as rclone reads: every row was asked of rclone 1.60.1 and 1.75.2 (`config dump`)."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_file import (
    Document,
    FormatError,
    cannot_keep,
)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("k = v", {"k": "v"}),
        ("k: v", {"k": "v"}),
        ("  k==b", {"k": "=b"}),
        ("url = https://h:8080/x=1;y#z", {"url": "https://h:8080/x=1;y#z"}),
        ("k = 1 # no comment", {"k": "1 # no comment"}),
        ("k =", {"k": ""}),
        ("k = ` lead `", {"k": " lead "}),
        ("k = `a`b`c`", {"k": "a`b`c"}),
        ("k = `a`b", {"k": "a"}),
        ("k = `", {"k": "`"}),
        ("k = ``", {"k": ""}),
        ('k = """a=b"c`d"""', {"k": 'a=b"c`d'}),
        ('k = """a""" b', {"k": "a"}),
        ('k = """', {"k": '"""'}),
        ('k = "x y"', {"k": '"x y"'}),
        ("k = 'x'", {"k": "'x'"}),
        ("k = a\\", {"k": "a\\"}),
        ("`we:ird=key` = 5", {"we:ird=key": "5"}),
        ('"k" x = 5', {"k": "5"}),
        ("sp  ace = 7", {"sp  ace": "7"}),
        ("- = one\n- = two", {"#1": "one", "#2": "two"}),
        ("[x] = 3", {"[x]": "3"}),
        ("k = 1\nk = 2", {"k": "2"}),
        ("K = 1\nk = 2", {"K": "1", "k": "2"}),
        ("# k = 1\n ; k = 2", {}),
    ],
)
def test_a_line_is_read_as_rclone_reads_it(line, read):
    assert Document.parse(f"[r]\n{line}\n").sections() == {"r": read}


@pytest.mark.parametrize("line", ["k = `abc", 'k = """abc', '"k = 5', "`k = 5", "novalue", "= x", "[x]y"])
def test_what_rclone_refuses_is_refused_without_its_text(line):
    with pytest.raises(FormatError) as caught:
        Document.parse(f"[r]\na = 1\n{line}\n")
    assert str(caught.value) == "line 3 is neither a section nor an option"


def test_sections_come_twice_and_before_the_first_is_default():
    text = "\ufeffa = 1\n[ r ]\nb = 2\n[s]\n[r]\nb = 3\nc = 4"
    assert Document.parse(text).sections() == {"DEFAULT": {"a": "1"}, "r": {"b": "3", "c": "4"}, "s": {}}


TEXT = """\
# about r
[r]
type = local
# why
b : 2

; about s
[s]
type = alias
remote = /x
"""


def edited(change, text=TEXT):
    document = Document.parse(text)
    change(document)
    return document.render()


def test_what_is_not_touched_stays_to_the_letter():
    assert edited(lambda document: None) == TEXT
    assert edited(lambda document: None, TEXT.replace("\n", "\r\n")) == TEXT.replace("\n", "\r\n")


def test_an_option_is_replaced_in_place_added_and_removed():
    assert edited(lambda document: document.set("r", "b", "3")) == TEXT.replace("b : 2", "b = 3")
    assert edited(lambda document: document.set("r", "c", "3")) == TEXT.replace("b : 2", "b : 2\nc = 3")
    assert edited(lambda document: document.unset("s", "remote")) == TEXT.replace("remote = /x\n", "")
    assert edited(lambda document: document.unset("s", "b")) == TEXT


def test_an_option_that_came_twice_comes_once():
    def change(document):
        document.set("r", "b", "9")

    assert edited(change, "[r]\nb = 1\nc = 2\nb = 3\n") == "[r]\nc = 2\nb = 9\n"


def test_a_remote_is_added_at_the_end_and_removed_with_what_is_its_own():
    assert edited(lambda document: document.set("t", "type", "local")) == TEXT + "\n[t]\ntype = local\n"
    assert edited(lambda document: document.set("t", "type", "local"), "") == "[t]\ntype = local\n"
    assert edited(lambda document: document.remove("r")) == TEXT[TEXT.index("; about s") :].join(["# about r\n", ""])
    assert edited(lambda document: document.remove("s")) == TEXT[: TEXT.index("[s]")]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("plain", True),
        ("a=b:c#d;e", True),
        ('"q"', True),
        ("100%", True),
        ("%(x)", True),
        ("two\nlines", False),
        ("tab\tinside", False),
        (" lead", False),
        ("`tick", False),
        ('"""x', False),
        ("a %(user)s b", False),
    ],
)
def test_values_that_rclone_would_not_keep(value, kept):
    assert (cannot_keep(value) is None) == kept
    if kept:
        assert Document.parse(f"[r]\nk = {value}\n").sections() == {"r": {"k": value}}
