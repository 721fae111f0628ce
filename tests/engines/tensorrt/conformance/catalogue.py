"""What one version of a package offers: classes, members, enumerations and signatures."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any, Literal

_OPENING, _CLOSING = "([{<", ")]}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter as documented; ``type`` is the last part of its name, as ``BuilderFlag``."""

    name: str
    type: str
    required: bool
    keyword: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One way to call a function; ``returns`` is a type's last part, ``many`` if in a list."""

    parameters: tuple[Parameter, ...]
    returns: str
    many: bool = False
    open_ended: bool = False

    def refuses(self, positional: int, keywords: tuple[str, ...]) -> str | None:
        """Why these arguments do not fit; None if they do."""
        if self.open_ended:
            return None
        if positional > len(self.parameters):
            return f"takes {len(self.parameters)} arguments, not {positional}"
        allowed = {
            parameter.name for parameter in self.parameters[positional:] if parameter.keyword
        }
        if unknown := sorted(set(keywords) - allowed):
            return f"takes no argument {unknown[0]!r}"
        missing = [
            p.name for p in self.parameters[positional:] if p.required and p.name not in keywords
        ]
        return f"lacks the argument {missing[0]!r}" if missing else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a class or module; ``settable`` for a property that can be assigned."""

    kind: Literal["property", "method", "value"]
    type: str = ""
    many: bool = False
    settable: bool = False
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A class: its members and, if it is an enumeration, its names."""

    members: dict[str, Member]
    names: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All that a version of a package offers; ``label`` names it, as in ``tensorrt 10.3.0``."""

    label: str
    classes: dict[str, Offer] = field(default_factory=dict)
    functions: dict[str, Member] = field(default_factory=dict)

    def is_enumeration(self, name: str) -> bool:
        """Whether this class is one."""
        return name in self.classes and self.classes[name].names is not None


def catalogue_from_offer(label: str, document: dict[str, Any]) -> Catalogue:
    """The catalogue of what ``dump.py`` wrote."""
    classes = {
        name: Offer(
            members={key: _member(value) for key, value in offer["members"].items()},
            names=None if offer["names"] is None else frozenset(offer["names"]),
        )
        for name, offer in document["classes"].items()
    }
    functions = {name: _member(value) for name, value in document["functions"].items()}
    return Catalogue(label=label, classes=classes, functions=functions)


def merged(catalogues: list[Catalogue]) -> Catalogue:
    """What any version offers, so that a call that one of them lacks is still followed there."""
    classes: dict[str, Offer] = {}
    for catalogue in catalogues:
        for name, offer in catalogue.classes.items():
            known = classes.get(name, offer)
            names = None if offer.names is None else offer.names | (known.names or frozenset())
            classes[name] = Offer(members={**offer.members, **known.members}, names=names)
    functions = {
        name: member for each in reversed(catalogues) for name, member in each.functions.items()
    }
    return Catalogue(label="any version", classes=classes, functions=functions)


@functools.cache
def signature_from_text(text: str) -> Signature:
    """Parse a docstring's line, as ``2. f(self: m.C, name: str, flag: m.F = <F.A: 1>) -> m.D``."""
    text = re.sub(r"^\d+\. ", "", text)
    inside, after = _parenthesised(text)
    parts = [part.strip() for part in _split(inside)]
    parts = parts[1:] if parts and (parts[0].startswith("self") or _is_unnamed(parts[0])) else parts
    returns = after.partition("->")[2].strip()
    element = re.match(r"^(?:list|List|Sequence)\[(.*)\]$", returns)
    return Signature(
        parameters=tuple(_parameter(part) for part in parts if not part.startswith("*")),
        returns=_last(element[1] if element else returns),
        many=element is not None,
        open_ended=any(part.startswith("*") for part in parts),
    )


def _member(value: dict[str, Any]) -> Member:
    if value["kind"] == "value":
        return Member(kind="value", type=value["type"])
    ways = tuple(signature_from_text(text) for text in value["signatures"])
    if value["kind"] == "method":
        return Member(kind="method", signatures=ways)
    setters = [signature_from_text(text) for text in value["setter"] or ()]
    return Member(
        kind="property",
        type=ways[0].returns if ways else "",
        many=bool(ways) and ways[0].many,
        settable=value["setter"] is not None,
        signatures=tuple(setters),
    )


def _parenthesised(text: str) -> tuple[str, str]:
    start = text.index("(")
    depth = 0
    for index, letter in enumerate(text[start:], start):
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if depth == 0:
            return text[start + 1 : index], text[index + 1 :]
    return text[start + 1 :], ""


def _split(text: str) -> list[str]:
    """At the commas that are in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def _is_unnamed(part: str) -> bool:
    return re.match(r"^arg0: ", part) is not None


def _parameter(part: str) -> Parameter:
    declaration, _, default = part.partition("=")
    name, _, kind = declaration.partition(":")
    if not kind:  # as Cython writes it: "unsigned int Flags"
        name = declaration.split()[-1]
    keyword = re.match(r"^arg\d+$", name.strip()) is None
    return Parameter(name=name.strip(), type=_last(kind), required=not default, keyword=keyword)


def _last(name: str) -> str:
    """Return ``Name`` of ``nvinfer1::Name`` and of ``tensorrt.tensorrt.Name``."""
    bare = name.strip().rpartition("::")[2]
    parts = bare.split(".")
    kept = [part for part in parts if part[:1].isupper()]
    return ".".join(kept) or parts[-1]
