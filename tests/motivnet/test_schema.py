"""Schemas: what is refused and where the message points, and what survives a round trip."""

from __future__ import annotations

import json
import random
from typing import Annotated, Any, Literal

import msgspec
import pytest

from motivnet import schema
from motivnet.schema import Schema, SchemaError


class Inner(Schema, frozen=True, kw_only=True):
    number: int
    share: float = 0.5


class Everything(Schema, frozen=True, kw_only=True):
    text: str
    flag: bool
    inner: Inner
    maybe: Inner | None
    choice: Literal["a", "b"]
    pair: tuple[int, str]
    many: tuple[Inner, ...] = ()
    table: dict[str, float] = msgspec.field(default_factory=dict)
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
    value: dict[str, Any] = json.loads(schema.encode(EVERYTHING))
    return value


NOT_DOCUMENTS = {
    "nothing": (b"", "not JSON: Expecting value"),
    "trailing data": (b"{} {}", "Extra data"),
    "a duplicate key": (b'{"a": 1, "a": 1}', "key 'a' appears twice"),
    "a duplicate key by escape": (b'{"a": 1, "\\u0061": 1}', "key 'a' appears twice"),
    "a duplicate key deep inside": (b'[{"b": {"a": 1, "c": 2, "a": 3}}]', "key 'a' appears twice"),
    "NaN": (b"NaN", "NaN and infinity are not JSON numbers"),
    "infinity": (b"[Infinity]", "NaN and infinity"),
    "minus infinity": (b"-Infinity", "NaN and infinity"),
    "a float out of range": (b"1e999", "NaN and infinity"),
    "a long float out of range": (b"9" * 400 + b".0", "NaN and infinity"),
    "an integer of 20 digits": (b"10000000000000000000", "beyond 64 bits"),
    "the first integer beyond 64 bits": (b"9223372036854775808", "beyond 64 bits"),
    "an integer of 5,000 digits": (b"1" * 5000, "beyond 64 bits"),
    "a leading zero": (b"01", "not JSON"),
    "a bare word": (b"nope", "not JSON"),
    "single quotes": (b"{'a': 1}", "not JSON"),
    "a comment": (b"{} // no", "Extra data"),
    "a control character": (b'"a\nb"', "Invalid control character"),
    "UTF-16 without its mark": ('{"a": 1}'.encode("utf-16-le"), "not JSON"),
    "bytes that are not UTF-8": (b'{"a": "\xff"}', "not JSON: 'utf-8'"),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', "not JSON: 'utf-8'"),
    "half a surrogate pair": (b'{"a": "\\ud800"}', "not JSON"),
    "half a surrogate pair in a key": (b'{"\\udfff": 1}', "invalid utf-16 surrogate pair"),
    "17 lists": (b"[" * 17 + b"]" * 17, "nested deeper than 16"),
    "100,000 lists": (b"[" * 100_000, "nested deeper than 16"),
    "100,000 objects": (b'{"a":' * 100_000, "nested deeper than 16"),
    "17 lists behind an escaped backslash": (b'["\\\\", ' + b"[" * 16 + b"]" * 17, "nested deeper"),
    "17 lists behind an escaped quote": (b'["\\"", ' + b"[" * 16 + b"]" * 17, "nested deeper"),
}


@pytest.mark.parametrize("name", NOT_DOCUMENTS)
def test_is_refused_with_the_reason(name: str) -> None:
    data, reason = NOT_DOCUMENTS[name]
    with pytest.raises(SchemaError) as raised:
        schema.decode(data, Any)
    message = str(raised.value)
    assert reason in message
    assert len(message) <= 200
    assert message.isprintable()


def test_more_than_a_megabyte_is_refused_before_it_is_parsed() -> None:
    assert schema.decode(b"1" + b" " * (schema.MAX_BYTES - 1), int) == 1
    with pytest.raises(SchemaError, match="1000001 bytes are more than the 1000000 allowed"):
        schema.decode(b"{" * (schema.MAX_BYTES + 1), Any)


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
    read = schema.decode(data, Any)
    if value == 16:
        read = json.dumps(read).count("[")
    assert read == value


def test_a_hundred_thousand_keys_with_one_twice_are_refused() -> None:
    keys = [f'"{i:x}":0' for i in range(100_000)]
    with pytest.raises(SchemaError, match="key '1869f' appears twice"):
        schema.decode(f"{{{','.join([*keys, keys[-1]])}}}".encode(), Any, max_bytes=2_000_000)


def test_every_kind_of_field_survives_a_round_trip() -> None:
    data = schema.encode(EVERYTHING)
    assert schema.decode(data, Everything) == EVERYTHING
    assert schema.convert(json.loads(data), Everything) == EVERYTHING
    assert data.endswith(b"}\n")
    assert "😀".encode() in data
    assert schema.encode(EVERYTHING, indent=None).count(b"\n") == 1


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("text",), 1, "text: Expected `str`, got `int`"),
        (("text",), None, "text: Expected `str`, got `null`"),
        (("flag",), 1, "flag: Expected `bool`, got `int`"),
        (("flag",), "true", "flag: Expected `bool`, got `str`"),
        (("inner",), [], "inner: Expected `object`, got `array`"),
        (("inner", "number"), 1.0, "inner.number: Expected `int`, got `float`"),
        (("inner", "number"), True, "inner.number: Expected `int`, got `bool`"),
        (("inner", "number"), "1", "inner.number: Expected `int`, got `str`"),
        (("inner", "number"), 2**63, "an integer is beyond 64 bits"),
        (("inner", "share"), False, "inner.share: Expected `float`, got `bool`"),
        (("inner", "share"), "0.5", "inner.share: Expected `float`, got `str`"),
        (("inner", "numbr"), 1, "inner: Object contains unknown field `numbr`"),
        (("maybe",), {}, "maybe: Object missing required field `number`"),
        (("maybe",), 3, "maybe: Expected `object | null`, got `int`"),
        (("choice",), "c", "choice: Invalid enum value 'c'; choose one of a, b"),
        (("choice",), 0, "choice: Expected `str`, got `int`"),
        (("pair",), [1], "pair: Expected `array` of length 2"),
        (("pair",), [1, "x", 2], "pair: Expected `array` of length 2"),
        (("pair",), "1x", "pair: Expected `array`, got `str`"),
        (("pair",), [1, 2], "pair[1]: Expected `str`, got `int`"),
        (("many",), {}, "many: Expected `array`, got `object`"),
        (("many",), [{"number": 1}, {"number": "x"}], "many[1].number: Expected `int`, got `str`"),
        (("table",), [], "table: Expected `object`, got `array`"),
        (("table", "k"), None, "table[...]: Expected `float`, got `null`"),
        (("either",), 1.5, "either: Expected `int | str`, got `float`"),
        (("either",), True, "either: Expected `int | str`, got `bool`"),
        (("more",), 1, "Object contains unknown field `more`"),
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
    with pytest.raises(SchemaError) as raised:
        schema.decode(json.dumps(document).encode(), Everything)
    assert str(raised.value) == reason
    with pytest.raises(SchemaError) as raised:
        schema.convert(document, Everything)
    assert str(raised.value).startswith(reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inner": {"number": 1, "share": float("nan")}}, "NaN and infinity are not JSON numbers"),
        ({"inner": {"number": 1, "share": 10**400}}, "an integer is beyond 64 bits"),
        ({"table": {3: 1.0}}, "table: Expected `str`, got `int`"),
        ({3: 1}, "Expected `str`"),
    ],
)
def test_values_that_json_cannot_hold_are_refused_too(change: dict[Any, Any], reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        schema.convert(plain() | change, Everything)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SchemaError, match=r"^Object missing required field `text`$"):
        schema.decode(b"{}", Everything)


@pytest.mark.parametrize("value", [None, 1, 1.5, True, "text", [], ["text"]])
def test_only_an_object_becomes_a_schema(value: object) -> None:
    with pytest.raises(SchemaError, match="Expected `object`"):
        schema.convert(value, Inner)


class Versioned(Schema, frozen=True):
    version: Literal[1]


def test_true_is_not_the_number_one_of_a_literal() -> None:
    assert schema.convert({"version": 1}, Versioned).version == 1
    for wrong in (True, 1.0, "1", None):
        with pytest.raises(SchemaError, match="version: Expected `int`"):
            schema.convert({"version": wrong}, Versioned)


class Left(Schema, frozen=True, tag=True):
    x: int


class Right(Schema, frozen=True, tag=True):
    y: int


def test_a_union_is_read_by_its_tag() -> None:
    for value in (Left(x=1), Right(y=2)):
        assert schema.decode(schema.encode(value), Left | Right) == value
        assert schema.convert(json.loads(schema.encode(value)), Left | Right) == value
    with pytest.raises(SchemaError, match="type: Invalid value 'Other'"):
        schema.decode(b'{"type": "Other"}', Left | Right)


def test_an_integer_is_taken_for_a_float() -> None:
    share = schema.convert({"number": 1, "share": 2}, Inner).share
    assert share == 2.0
    assert isinstance(share, float)


@pytest.mark.parametrize("key", ["x" * 100_000, "a\nb", "\x1b[31m", "\u202e"])
def test_a_message_is_one_short_printable_line_whatever_the_key(key: str) -> None:
    for document in ({key: 1}, {"number": 1, "share": key}, {"number": 1, key: 1}):
        with pytest.raises(SchemaError) as raised:
            schema.convert(document, Inner)
        assert len(str(raised.value)) <= 200
        assert str(raised.value).isprintable()
    twice = json.dumps(key)
    with pytest.raises(SchemaError, match="appears twice") as raised:
        schema.decode(f"{{{twice}: 1, {twice}: 1}}".encode(), Any)
    assert len(str(raised.value)) <= 200
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), {"a": [float("nan")]}, "\ud800"]
)
def test_what_is_not_json_is_not_written(value: object) -> None:
    with pytest.raises(SchemaError):
        schema.encode(value)


def test_nan_inside_a_schema_is_not_written() -> None:
    with pytest.raises(SchemaError, match="NaN"):
        schema.encode(Inner(number=1, share=float("nan")))


def test_text_for_people_may_hold_the_undecodable_byte_of_a_file_name() -> None:
    assert schema.encode("caf\udce9.png", errors="replace") == b'"caf?.png"\n'


def test_an_object_without_a_json_form_is_a_bug_and_not_a_users_mistake() -> None:
    with pytest.raises(TypeError):
        schema.encode({"a": object()})


SPLICES = [b"", b"{", b"[", b'"', b"1e999", b"\\ud800", b"NaN", b"null", b"1.5"]


def test_five_thousand_damaged_documents_are_read_or_refused_and_nothing_else_happens() -> None:
    data, draw, refused = schema.encode(EVERYTHING), random.Random(7), 0
    for _ in range(5_000):
        damaged = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(damaged))
            splice = draw.choice([bytes([draw.randrange(256)]), *SPLICES])
            damaged[place : place + draw.randint(0, 2)] = splice
        try:
            value = schema.decode(bytes(damaged), Everything)
        except SchemaError:
            refused += 1
        else:
            assert schema.decode(schema.encode(value), Everything) == value
    assert 4_000 < refused < 5_000


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_says_how_a_document_is_encoded(encoding: str) -> None:
    mark = "" if encoding == "utf-8-sig" else "\ufeff"
    text = mark + schema.encode(EVERYTHING).decode()
    assert schema.decode(text.encode(encoding), Everything) == EVERYTHING


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xfe{", "not JSON: 'utf-16-le' codec"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"number": 1}', "not JSON"),
    ],
)
def test_half_a_character_and_a_second_mark_are_no_document(data: bytes, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        schema.decode(data, Inner)


class Near(Schema, frozen=True, kw_only=True, tag="near"):
    side: Literal[1, 2] = 1


class Far(Schema, frozen=True, kw_only=True, tag="far"):
    many: tuple[Near, ...] = ()
    table: dict[str, Literal["x", "y"]] = msgspec.field(default_factory=dict)
    maybe: Annotated[Literal["u"], msgspec.Meta(description="a name")] | None = None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"type": "near", "side": 3}, "side: Invalid enum value 3; choose one of 1, 2"),
        ({"type": "up"}, "type: Invalid value 'up'; choose one of near, far"),
        (
            {"type": "far", "many": [{"type": "near", "side": 0}]},
            "many[0].side: Invalid enum value 0; choose one of 1, 2",
        ),
        (
            {"type": "far", "table": {"k": "z"}},
            "table[...]: Invalid enum value 'z'; choose one of x, y",
        ),
        (
            {"type": "far", "maybe": "\x1b"},
            "maybe: Invalid enum value '\\x1b'; choose one of u",
        ),
        ({"type": "far", "maybe": 1}, "maybe: Expected `str | null`, got `int`"),
    ],
)
def test_a_value_that_is_no_choice_comes_with_the_choices(
    document: dict[str, Any], message: str
) -> None:
    for read in (
        lambda: schema.decode(json.dumps(document).encode(), Near | Far),
        lambda: schema.convert(document, Near | Far),
    ):
        with pytest.raises(SchemaError) as caught:
            read()
        assert str(caught.value) == message
