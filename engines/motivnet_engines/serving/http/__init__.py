"""The HTTP service: ``motivnet serve``."""

from motivnet.errors import MissingDependencyError

try:
    import starlette as _  # noqa: F401 - what every module of this package needs
except ModuleNotFoundError as error:
    raise MissingDependencyError("starlette", extra="serve") from error
