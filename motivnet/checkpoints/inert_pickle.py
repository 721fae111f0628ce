"""A pickle read as data: nothing that it names is imported or called.

The standard unpickler is not safe even with a short list of permitted names: ``bytearray`` of a
number takes all memory, and the hash of a deeply nested key ends the process. Here a name that the
caller does not know gives a ``StandIn``, which swallows whatever is done to it. What a pickle can
cost is bounded by its own length: a length in it is compared with the bytes that are there, the
opcodes are counted, and only plain values are hashed.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping

from motivnet.checkpoints.stand_ins import (
    Builder,
    PickleCutOffError,
    PickleError,
    PickleTooLargeError,
    StandIn,
)

MAX_BYTES = 512 << 20
"""Some frameworks store the history of a long training beside the weights."""
MAX_OPCODES = 1_000_000
"""Thirty-five describe a tensor; the largest training that we know of has 100,000."""
MAX_TEXT = 1 << 20
_MAX_NAME = 255
_MAX_KEY = 2**63
_STOP = ord(".")
_PLAIN_KEYS = (str, bytes, bool, float, type(None))
_MALFORMED = (IndexError, KeyError, struct.error, UnicodeDecodeError)


def values_from_pickle(
    data: bytes, *, known: Mapping[str, object], persistent: Callable[[object], object]
) -> tuple[object, tuple[str, ...], int]:
    """Return the value of a pickle, the names of what got a stand-in, and where the pickle ends.

    Containers may hold themselves and be nested to any depth; dictionaries have plain keys only.

    Args:
        data: The pickle; what follows it is not read.
        known: The ``Builder`` or value of a full name such as ``collections.OrderedDict``.
        persistent: Returns the object with a persistent id.

    Raises:
        PickleCutOffError: If it does not end within ``data``.
        PickleError: If it is malformed or beyond the limits; and what builders raise.
    """
    if len(data) > MAX_BYTES:
        raise PickleError(
            f"a pickle of {len(data):,} bytes is longer than the {MAX_BYTES:,} allowed"
        )
    reader = _Reader(data, known, persistent)
    try:
        return reader.run(), tuple(reader.ignored), reader.position
    except _MALFORMED as error:
        raise PickleError("the pickle is malformed") from error


class _Reader:
    """The machine that runs a pickle: a stack, the stacks below its marks, and a memo."""

    def __init__(
        self, data: bytes, known: Mapping[str, object], persistent: Callable[[object], object]
    ) -> None:
        self.data = data
        self.known = known
        self.persistent = persistent
        self.position = 0
        self.stack: list[object] = []
        self.below: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.ignored: dict[str, None] = {}

    def run(self) -> object:
        for _ in range(MAX_OPCODES):
            code = self.take(1)[0]
            if code == _STOP:
                return self.stack.pop()
            step = _STEPS[code]
            if step is None:
                raise PickleError(f"the pickle has the opcode 0x{code:02x}, which is not read")
            step(self)
        raise PickleTooLargeError(f"its pickle has more than {MAX_OPCODES:,} values")

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.data):
            raise PickleCutOffError("the pickle is cut off")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + _MAX_NAME + 1)
        if end < 0 and len(self.data) - self.position <= _MAX_NAME:
            raise PickleCutOffError("the pickle is cut off")
        if end < 0:
            raise PickleError(f"the pickle has a name of more than {_MAX_NAME} bytes")
        text = self.take(end - self.position).decode()
        self.position += 1
        return text

    def push(self, value: object) -> None:
        if type(value) is StandIn:
            self.ignored[value.name] = None
        self.stack.append(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[object]:
        items = self.stack
        self.stack = self.below.pop()
        return items

    def text(self, length: int) -> None:
        if length > MAX_TEXT:
            self.skip(length, "builtins.str")
        else:
            self.push(self.take(length).decode("utf-8", "surrogatepass"))

    def raw(self, length: int) -> None:
        if length > MAX_TEXT:
            self.skip(length, "builtins.bytes")
        else:
            self.push(self.take(length))

    def skip(self, length: int, name: str) -> None:
        """Skip bytes that are too long to be useful, without copying them."""
        if length > len(self.data) - self.position:
            raise PickleCutOffError("the pickle is cut off")
        self.position += length
        self.push(StandIn(name))

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise PickleError("the pickle is malformed")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def global_(self, module: object, name: object) -> None:
        if (
            not isinstance(module, str)
            or not isinstance(name, str)
            or len(module) + len(name) > _MAX_NAME
        ):
            raise PickleError("the pickle has a name that is no short text")
        full = f"{module}.{name}"
        self.push(self.known.get(full, StandIn(full)))

    def stack_global(self) -> None:
        name = self.stack.pop()
        self.global_(self.stack.pop(), name)

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is StandIn:
            self.push(StandIn(function.name))
        elif type(function) is Builder and type(arguments) is tuple:
            self.push(function.build(arguments))
        else:
            raise PickleError("the pickle calls what cannot be called")

    def call_with_keywords(self) -> None:
        keywords, arguments, function = self.stack.pop(), self.stack.pop(), self.stack.pop()
        if (
            type(function) is not StandIn
            or type(arguments) is not tuple
            or type(keywords) is not dict
        ):
            raise PickleError("the pickle calls what cannot be called")
        self.push(StandIn(function.name))

    def build(self) -> None:
        """Set the attributes of an object: of a state dict, or as data of a stand-in."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is StandIn:
            if target.held is None and type(state) is dict:
                target.held = state
            return
        if type(target) is OrderedDict and type(state) is dict and set(state) == {"_metadata"}:
            vars(target).update(state)
        else:
            self.ignored[f"attributes of a {type(target).__name__}"] = None

    def append(self, items: list[object]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is not StandIn:
            raise PickleError(f"the pickle appends to a {type(target).__name__}")

    def set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if type(target) is StandIn:
            target.held = {} if target.held is None else target.held
            target = target.held
        if not isinstance(target, dict) or len(items) % 2:
            raise PickleError(f"the pickle sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if _is_plain_key(key):
                target[key] = value
            else:
                self.ignored[f"a key that is a {type(key).__name__}"] = None

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.to_mark()

    def frozen_set(self) -> None:
        self.to_mark()
        self.push(StandIn("builtins.frozenset"))

    def add_items(self) -> None:
        self.to_mark()
        if type(self.stack[-1]) is not StandIn:
            raise PickleError("the pickle adds items to what is no set")

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def protocol(self) -> None:
        if self.number(1) > 5:
            raise PickleError("the pickle is of an unknown protocol")


def _is_plain_key(key: object) -> bool:
    """Return whether hashing a key is cheap, and a file cannot choose many keys of one hash.

    A tuple fails both, an integer of any size the second.
    """
    return type(key) in _PLAIN_KEYS or (type(key) is int and -_MAX_KEY <= key < _MAX_KEY)


_OPCODES: dict[bytes, Callable[[_Reader], object]] = {
    b"\x80": _Reader.protocol,
    b"\x95": lambda reader: reader.take(8),  # the length of a frame
    b"N": lambda reader: reader.push(None),
    b"\x88": lambda reader: reader.push(True),
    b"\x89": lambda reader: reader.push(False),
    b"J": lambda reader: reader.push(struct.unpack("<i", reader.take(4))[0]),
    b"K": lambda reader: reader.push(reader.number(1)),
    b"M": lambda reader: reader.push(reader.number(2)),
    b"\x8a": lambda reader: reader.push(
        int.from_bytes(reader.take(reader.number(1)), "little", signed=True)
    ),
    b"G": lambda reader: reader.push(struct.unpack(">d", reader.take(8))[0]),
    b"X": lambda reader: reader.text(reader.number(4)),
    b"\x8c": lambda reader: reader.text(reader.number(1)),
    b"\x8d": lambda reader: reader.text(reader.number(8)),
    b"B": lambda reader: reader.raw(reader.number(4)),
    b"C": lambda reader: reader.raw(reader.number(1)),
    b"\x8e": lambda reader: reader.raw(reader.number(8)),
    b"\x96": lambda reader: reader.skip(reader.number(8), "builtins.bytearray"),
    b"(": _Reader.mark,
    b"0": _Reader.pop,
    b"1": _Reader.to_mark,
    b"2": lambda reader: reader.push(reader.stack[-1]),
    b"q": lambda reader: reader.put(reader.number(1)),
    b"r": lambda reader: reader.put(reader.number(4)),
    b"\x94": lambda reader: reader.put(len(reader.memo)),
    b"h": lambda reader: reader.push(reader.memo[reader.number(1)]),
    b"j": lambda reader: reader.push(reader.memo[reader.number(4)]),
    b")": lambda reader: reader.push(()),
    b"\x85": lambda reader: reader.tuple_of(1),
    b"\x86": lambda reader: reader.tuple_of(2),
    b"\x87": lambda reader: reader.tuple_of(3),
    b"t": lambda reader: reader.push(tuple(reader.to_mark())),
    b"]": lambda reader: reader.push([]),
    b"a": lambda reader: reader.append([reader.stack.pop()]),
    b"e": lambda reader: reader.append(reader.to_mark()),
    b"}": lambda reader: reader.push({}),
    b"s": lambda reader: reader.set_items([reader.stack.pop(), reader.stack.pop()][::-1]),
    b"u": lambda reader: reader.set_items(reader.to_mark()),
    b"\x8f": lambda reader: reader.push(StandIn("builtins.set")),
    b"\x90": _Reader.add_items,
    b"\x91": _Reader.frozen_set,
    b"c": lambda reader: reader.global_(reader.line(), reader.line()),
    b"\x93": _Reader.stack_global,
    b"R": _Reader.call,
    b"\x81": _Reader.call,  # NEWOBJ: a class and its arguments
    b"\x92": _Reader.call_with_keywords,
    b"b": _Reader.build,
    b"Q": lambda reader: reader.push(reader.persistent(reader.stack.pop())),
}
_STEPS = [_OPCODES.get(bytes([code])) for code in range(256)]
