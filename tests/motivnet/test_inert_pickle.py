"""A pickle is read as data: values come back, objects as stand-ins, at a bounded cost."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import random
from pathlib import Path

import pytest

from motivnet.checkpoints.inert_pickle import MAX_TEXT, values_from_pickle
from motivnet.checkpoints.stand_ins import Builder, PickleError, StandIn

KNOWN = {"collections.OrderedDict": Builder(lambda given: collections.OrderedDict())}


def read(data: bytes) -> tuple[object, tuple[str, ...]]:
    value, ignored, _ = values_from_pickle(
        data, known=KNOWN, persistent=lambda identity: ("persistent", identity)
    )
    return value, ignored


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        None,
        [True, False, 0, 1, 255, 256, 65_536, -1, 2**31, -(2**31) - 1, 2**70, -(2**900)],
        [0.0, -0.0, 1e308, float("inf"), 5e-324],
        ["", "é", "\ud800", "x" * 300, "\U0001f600"],
        [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, [[]], {"a": {}}],
        {"a": 1, 2: "b", 1.5: None, True: 3, None: 4},
        collections.OrderedDict(a=1, b=[2]),
        [(shared := ["x"]), shared, list(range(3000)), dict.fromkeys(range(3000))],
    ],
    ids=["none", "integers", "floats", "texts", "containers", "keys", "ordered", "shared-and-long"],
)
def test_plain_values_come_back(value: object, protocol: int) -> None:
    found, ignored = read(pickle.dumps(value, protocol))
    assert (repr(found), ignored) == (repr(value), ())


def test_bytes_come_back() -> None:
    assert read(pickle.dumps([b"", b"\xff" * 9, b"x" * 300], 3))[0] == [
        b"",
        b"\xff" * 9,
        b"x" * 300,
    ]


def test_a_value_may_hold_itself() -> None:
    circle: list[object] = []
    circle.append(circle)
    found, _ = read(pickle.dumps(circle, 2))
    assert isinstance(found, list)
    assert found[0] is found


def test_an_object_is_a_stand_in_that_swallows_what_it_holds() -> None:
    value = [
        1,
        argparse.Namespace(path=Path("/x"), inner=argparse.Namespace(deep=[1, 2])),
        {2, 3},
        "end",
    ]
    found, ignored = read(pickle.dumps(value, 2))
    assert found == [1, StandIn("argparse.Namespace"), StandIn("__builtin__.set"), "end"]
    assert set(ignored) == {"argparse.Namespace", "pathlib.PosixPath", "__builtin__.set"}


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_a_name_stands_for_is_never_looked_up(protocol: int, tmp_path: Path) -> None:
    class Gadget:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "canary"),)

    found, ignored = read(pickle.dumps(Gadget(), protocol))
    assert (found, ignored) == (StandIn("posix.mkdir"), ("posix.mkdir",))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("key", [(1, 2), frozenset([1]), 2**64, argparse.Namespace()], ids=str)
def test_an_entry_whose_key_is_not_plain_is_left_out_and_told(key: object) -> None:
    value: dict[object, int] = {"a": 1}
    data = pickle.dumps([value], 2)[:-2] + pickle.dumps(key, 2)[2:-1] + b"K\x02sa."
    found, ignored = read(data)
    assert found == [{"a": 1}]
    assert any("a key that is a" in name for name in ignored)


def test_a_text_too_long_to_be_of_use_is_not_copied() -> None:
    found, ignored = read(pickle.dumps(["x" * (MAX_TEXT + 1), "end"], 2))
    assert found == [StandIn("builtins.str"), "end"]
    assert ignored == ("builtins.str",)


def test_persistent_identities_are_given_to_the_caller() -> None:
    assert read(b"\x80\x02X\x01\x00\x00\x00aQ.")[0] == ("persistent", "a")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"N",
        b"\x80\x09N.",
        b"R.",
        b"NNR.",
        b")NR.",
        b"Na.",
        b"NNNs.",
        b"](NNNu.",
        b"}(Nu.",
        b"h\x00.",
        b"q\x00.",
        b"e.",
        b"0.",
        b"\x85.",
        b"N\x86.",
        b"b.",
        b"Nb.",
        b"X\xff\xff\xff\xffa.",
        b"X\x01\x00\x00\x00\xff.",
        b"cposix",
        b"c" + b"m" * 300 + b"\nn\n.",
        b"NN\x93.",
        b"\x82\x01.",
        b"I1\n.",
        b"\x97.",
        b"NNN\x92.",
        b"N(\x90.",
        b"ccollections\nOrderedDict\n)}}\x92.",
    ],
)
def test_what_is_malformed_is_an_error_of_its_own(data: bytes) -> None:
    with pytest.raises(PickleError):
        read(data)


def test_a_changed_byte_gives_plain_values_or_an_error_and_nothing_else() -> None:
    """Whatever opcodes come of it: no exception of another kind, no object of another type."""
    value = {
        "a": [1, 2.5, "é", (None, True)],
        "b": collections.OrderedDict(x=argparse.Namespace(y={1: "z"})),
        3: {4},
    }
    draw = random.Random(5)
    plain = (
        int,
        float,
        str,
        bytes,
        bool,
        type(None),
        list,
        tuple,
        dict,
        collections.OrderedDict,
        StandIn,
        Builder,
    )
    for protocol in (2, 4):
        whole = pickle.dumps(value, protocol)
        for _ in range(4_000):
            data = bytearray(whole)
            for _ in range(draw.randint(1, 3)):
                data[draw.randrange(len(data))] = draw.randrange(256)
            try:
                found, _ = read(bytes(data))
            except PickleError:
                continue
            assert type(found) in plain
