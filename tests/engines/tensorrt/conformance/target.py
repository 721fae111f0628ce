"""The version that our source is held against, and the names of its objects in our source."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.catalogue import Catalogue, Member
from conformance.values import (
    PLAIN,
    UNEXPLAINED,
    Bound,
    ClassOf,
    Instance,
    Module,
    Values,
    holder,
    one,
)

PARAMETERS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
    "layer": "ILayer",
    "tensor": "ITensor",
    "logger": "ILogger",
    "serialized": "IHostMemory",
    "runtime_config": "IRuntimeConfig",
    "runtime_cache": "IRuntimeCache",
    "severity": "ILogger.Severity",
    "dtype": "DataType",
}
"""Classes of parameters by name, if annotated ``Any`` and not explained by a call."""


_PYTHON_TYPES = ("None", "Buffer", "CapsuleType")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A version; ``everything`` is what any version offers, and says what a call gives that this
    version lacks.

    ``module_names`` are the imports that give the package, ``module_attributes`` the attributes and
    parameters that hold it, ``backend`` its name in our source.
    """

    catalogue: Catalogue
    everything: Catalogue
    module_names: tuple[str, ...]
    module_attributes: tuple[str, ...]
    backend: str | None = None

    def parameter(self, name: str) -> Values | None:
        """What a parameter of this name is by convention."""
        if name in self.module_attributes:
            return one(Module())
        if name in ("trt", "driver", "cuda"):
            return PLAIN
        known = PARAMETERS.get(name)
        if known is None:
            return None
        return one(Instance(known)) if known in self.everything.classes else PLAIN

    def has(self, owner: str, name: str, *, static: bool) -> bool:
        """Tell whether this version has the member in a class or, without ``owner``, the module."""
        return lookup(self.catalogue, owner, name, static=static) is not None

    def value(self, owner: str, name: str, *, static: bool) -> Values | None:
        """What a member is in any version; None if none has it."""
        found = lookup(self.everything, owner, name, static=static)
        return found if found is None else self._value(owner, name, found)

    def _value(self, owner: str, name: str, found: str | Member) -> Values:
        if isinstance(found, str):
            return one(Instance(found)) if self._is_name_of(owner, name) else one(ClassOf(found))
        if found.kind == "method":
            return one(Bound(owner, name))
        return self.typed(found.type, many=found.many)

    def _is_name_of(self, owner: str, name: str) -> bool:
        offer = self.everything.classes.get(owner)
        return offer is not None and offer.names is not None and name in offer.names

    def typed(self, name: str, *, many: bool = False) -> Values:
        """An object of a documented type, or a list of them."""
        values = self._documented(name)
        return holder(values) if many else values

    def _documented(self, name: str) -> Values:
        """Bindings call a class by its C++ name where they document it before they define it."""
        for known in (name, name.removeprefix("I")):
            if known in self.everything.classes:
                return one(Instance(known))
        is_python = name[:1].islower() or name in _PYTHON_TYPES or "[" in name or "]" in name
        return PLAIN if is_python or self.backend is None else UNEXPLAINED


def lookup(catalogue: Catalogue, owner: str, name: str, *, static: bool) -> str | Member | None:
    """A class's name, an enumeration's name for one of its names, or a member."""
    if not owner:
        return name if name in catalogue.classes else catalogue.functions.get(name)
    if (nested := f"{owner}.{name}") in catalogue.classes:
        return nested
    offer = catalogue.classes.get(owner)
    if offer is None:
        return None
    if offer.names is not None and name in offer.names:
        return owner
    member = offer.members.get(name)
    return None if static and member is not None and member.kind == "property" else member
