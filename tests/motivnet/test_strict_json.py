"""Strict JSON: what is refused and where the message points, and that what is written is read back the same."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from motivnet import strict_json
from motivnet.strict_json import StrictJSONError


@dataclass(frozen=True, kw_only=True)
class Inner:
    number: int
    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Everything:
    text: str
    flag: bool
    inner: Inner
    maybe: Inner | None
    choice: Literal["a", "b"]
    pair: tuple[int, str]
    many: tuple[Inner, ...] = ()
    table: dict[str, float] = dataclasses.field(default_factory=dict)
    either: int | str = 1


EVERYTHING = Everything(
    text="é \u2028 \x7f 😀",
    flag=True,
    inner=Inner(number=-1),
    maybe=None,
    choice="b",
    pair=(1, "x"),
    many=(Inner(number=1, share=1e-300), Inner(number=2**63 - 1)),
    table={"": 1.5, "a.b": -0.0},
    either="one",
)


def plain() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(strict_json.dumps(EVERYTHING))
    return value


NOT_DOCUMENTS = {
    "nothing": (b"", "not JSON at line 1"),
    "trailing data": (b"{} {}", "Extra data"),
    "a duplicate key": (b'{"a": 1, "a": 1}', "key 'a' appears twice"),
    "a duplicate key by escape": (b'{"a": 1, "\\u0061": 1}', "key 'a' appears twice"),
    "a duplicate key deep inside": (b'[{"b": {"a": 1, "c": 2, "a": 3}}]', "key 'a' appears twice"),
    "NaN": (b"NaN", "NaN is not a JSON number"),
    "infinity": (b"[Infinity]", "Infinity is not a JSON number"),
    "minus infinity": (b"-Infinity", "-Infinity is not a JSON number"),
    "a float out of range": (b"1e999", "1e999 is beyond the range of a float"),
    "a long float out of range": (b"9" * 400 + b".0", "9… is beyond the range of a float"),
    "an integer of 20 digits": (b"10000000000000000000", "is beyond 64 bits"),
    "the first integer beyond 64 bits": (b"9223372036854775808", "is beyond 64 bits"),
    "an integer of 5,000 digits": (b"1" * 5000, "is beyond 64 bits"),
    "a leading zero": (b"01", "Extra data"),
    "a bare word": (b"nope", "not JSON at line 1"),
    "single quotes": (b"{'a': 1}", "not JSON at line 1"),
    "a comment": (b"{} // no", "Extra data"),
    "a control character": (b'"a\nb"', "Invalid control character"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "BOM"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8 at byte 0"),
    "bytes that are not UTF-8": (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', "not UTF-8 at byte 1"),
    "half a surrogate pair": (b'{"a": "\\ud800"}', "half a surrogate pair"),
    "half a surrogate pair in a key": (b'{"\\udfff": 1}', "half a surrogate pair"),
    "17 lists": (b"[" * 17 + b"]" * 17, "nested deeper than 16"),
    "100,000 lists": (b"[" * 100_000, "nested deeper than 16"),
    "100,000 objects": (b'{"a":' * 100_000, "nested deeper than 16"),
    "a bracket behind an escaped backslash": (
        b'["\\\\", ' + b"[" * 16 + b"]" * 17,
        "nested deeper than 16",
    ),
    "a bracket behind an escaped quote": (
        b'["\\"", ' + b"[" * 16 + b"]" * 17,
        "nested deeper than 16",
    ),
}


@pytest.mark.parametrize("name", NOT_DOCUMENTS)
def test_is_refused_with_the_reason(name: str) -> None:
    data, reason = NOT_DOCUMENTS[name]
    with pytest.raises(StrictJSONError) as raised:
        strict_json.loads(data)
    message = str(raised.value)
    assert reason in message
    assert len(message) < 200
    assert message.isprintable()


def test_more_than_a_megabyte_is_refused_before_it_is_parsed() -> None:
    assert strict_json.loads(b"1" + b" " * (strict_json.MAX_BYTES - 1)) == 1
    with pytest.raises(StrictJSONError, match="1000001 bytes are more than the 1000000 allowed"):
        strict_json.loads(b"{" * (strict_json.MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"[" * 16 + b"]" * 16, 16),
        (b'"[[[[[[[[[[[[[[[[[[[["', "[" * 20),
        (b'"\\\\[[[[[[[[[[[[[[[[[["', "\\" + "[" * 18),
        (b'"\\ud83d\\ude00"', "😀"),
        (b"-9223372036854775807", -(2**63) + 1),
        (b"1e-999", 0.0),
        (b' {"a": [true, false, null, 1.5]} ', {"a": [True, False, None, 1.5]}),
    ],
)
def test_what_is_at_a_limit_or_only_looks_wrong_is_read(data: bytes, value: object) -> None:
    read = strict_json.loads(data)
    if value == 16:
        read = json.dumps(read).count("[")
    assert read == value


def test_a_hundred_thousand_keys_with_one_twice_are_refused_quickly() -> None:
    keys = [f'"{i:x}":0' for i in range(100_000)]
    began = time.perf_counter()
    with pytest.raises(StrictJSONError, match="key '1869f' appears twice"):
        strict_json.loads(f"{{{','.join([*keys, keys[-1]])}}}".encode(), max_bytes=2_000_000)
    assert time.perf_counter() - began < 5


def test_every_kind_of_field_survives_a_round_trip() -> None:
    data = strict_json.dumps(EVERYTHING)
    assert strict_json.build(Everything, strict_json.loads(data)) == EVERYTHING
    assert data.endswith(b"}\n")
    assert "😀".encode() in data


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("text",), 1, "text must be a string, not 1"),
        (("text",), None, "text must be a string, not None"),
        (("flag",), 1, "flag must be true or false, not 1"),
        (("flag",), "true", "flag must be true or false, not 'true'"),
        (("inner",), [], "inner must be an object, not a list"),
        (("inner", "number"), 1.0, "inner.number must be an integer, not 1.0"),
        (("inner", "number"), True, "inner.number must be an integer, not True"),
        (("inner", "number"), "1", "inner.number must be an integer, not '1'"),
        (("inner", "share"), False, "inner.share must be a number, not False"),
        (("inner", "share"), "0.5", "inner.share must be a number, not '0.5'"),
        (("inner", "share"), float("nan"), "inner.share must be finite, not nan"),
        (
            ("inner", "share"),
            10**400,
            "inner.share must be a number, not an integer beyond 64 bits",
        ),
        (("inner", "numbr"), 1, "inner has unknown keys: 'numbr'"),
        (("maybe",), {}, "maybe lacks the keys: number"),
        (("maybe",), 3, "maybe must be an object, not 3"),
        (("choice",), "c", "choice must be one of ['a', 'b'], not 'c'"),
        (("choice",), 0, "choice must be one of ['a', 'b'], not 0"),
        (("pair",), [1], "pair must have 2 entries, not 1"),
        (("pair",), [1, "x", 2], "pair must have 2 entries, not 3"),
        (("pair",), "1x", "pair must be a list, not '1x'"),
        (("pair",), [1, 2], "pair[1] must be a string, not 2"),
        (("many",), {}, "many must be a list, not an object"),
        (("many",), [{"number": 1}, {"number": "x"}], "many[1].number must be an integer, not 'x'"),
        (("table",), [], "table must be an object, not a list"),
        (("table", "k"), None, "table.k must be a number, not None"),
        (("table", "a b"), None, "table.'a b' must be a number, not None"),
        (("table", 3), 1.0, "a key of table must be a string, not 3"),
        (
            ("either",),
            1.5,
            "either must be an integer, not 1.5; or either must be a string, not 1.5",
        ),
        (
            ("either",),
            True,
            "either must be an integer, not True; or either must be a string, not True",
        ),
        (("more",), 1, "Everything has unknown keys: 'more'"),
        ((3,), 1, "Everything has unknown keys: 3"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(
    path: tuple[Any, ...], value: Any, reason: str
) -> None:
    document = plain()
    *parents, last = path
    target = document
    for parent in parents:
        target = target[parent]
    target[last] = value
    with pytest.raises(StrictJSONError) as raised:
        strict_json.build(Everything, document)
    assert str(raised.value) == reason


def test_missing_keys_are_named_together() -> None:
    with pytest.raises(
        StrictJSONError,
        match=r"^Everything lacks the keys: text, flag, inner, maybe, choice, pair$",
    ):
        strict_json.build(Everything, {})


@pytest.mark.parametrize("value", [None, 1, 1.5, True, "text", [], ["text"]])
def test_only_an_object_becomes_a_dataclass(value: object) -> None:
    with pytest.raises(StrictJSONError, match="value must be an object"):
        strict_json.build(Inner, value)


def test_true_is_not_the_number_one_of_a_literal() -> None:
    @dataclass(frozen=True)
    class Versioned:
        version: Literal[1]

    assert strict_json.build(Versioned, {"version": 1}).version == 1
    for wrong in (True, 1.0, "1", None):
        with pytest.raises(StrictJSONError, match="version must be one of"):
            strict_json.build(Versioned, {"version": wrong})


def test_an_integer_is_taken_for_a_float() -> None:
    share = strict_json.build(Inner, {"number": 1, "share": 2}).share
    assert share == 2.0
    assert isinstance(share, float)


@pytest.mark.parametrize("key", ["x" * 100_000, "a\nb", "\x1b[31m", "\u202e"])
def test_a_message_is_one_short_printable_line_whatever_the_key(key: str) -> None:
    for document in ({key: 1}, {"number": 1, "share": key}):
        with pytest.raises(StrictJSONError) as raised:
            strict_json.build(Inner, document)
        assert len(str(raised.value)) < 200
        assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), {"a": [float("nan")]}, "\ud800"]
)
def test_what_is_not_json_is_not_written(value: object) -> None:
    with pytest.raises(StrictJSONError):
        strict_json.dumps(value)


def test_text_for_people_may_hold_the_undecodable_byte_of_a_file_name() -> None:
    assert strict_json.dumps("caf\udce9.png", errors="replace") == b'"caf?.png"\n'


def test_an_object_without_a_json_form_is_a_bug_and_not_a_users_mistake() -> None:
    with pytest.raises(TypeError, match="set has no JSON form"):
        strict_json.dumps({"a": {1}})


@dataclass(frozen=True)
class WithList:
    items: list


def test_a_field_of_an_unsupported_type_is_a_bug_and_not_a_users_mistake() -> None:
    with pytest.raises(TypeError, match="has no JSON form"):
        strict_json.build(WithList, {"items": []})


def test_five_thousand_damaged_documents_are_read_or_refused_and_nothing_else_happens() -> None:
    data, draw, refused = strict_json.dumps(EVERYTHING), random.Random(7), 0
    for _ in range(5_000):
        damaged = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(damaged))
            damaged[place : place + draw.randint(0, 2)] = draw.choice(
                [
                    bytes([draw.randrange(256)]),
                    b"",
                    b"{",
                    b"[",
                    b'"',
                    b"1e999",
                    b"\\ud800",
                    b"NaN",
                    b"null",
                    b"1.5",
                ]
            )
        try:
            value = strict_json.build(Everything, strict_json.loads(bytes(damaged)))
        except StrictJSONError:
            refused += 1
        else:
            assert (
                strict_json.build(Everything, strict_json.loads(strict_json.dumps(value))) == value
            )
    assert 4_000 < refused < 5_000
