"""The error tree: drawn as it is, documented, and able to cross from a worker process."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from motivnet import errors
from motivnet.errors import (
    BrokenDependencyError,
    MissingDependencyError,
    MotivNetError,
    TrainingStoppedError,
)

CLASSES = [
    cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, Exception)
]


ARGUMENTS: dict[type[Exception], dict[str, object]] = {
    BrokenDependencyError: {"reason": "libGL.so.1 is missing", "repair": "pip install x"},
    MissingDependencyError: {"extra": "export"},
    TrainingStoppedError: {"signal": 15},
}


def an_error(cls: type[Exception]) -> Exception:
    return cls("what is wrong; what to do", **ARGUMENTS.get(cls, {}))  # type: ignore[call-arg]


def test_the_tree_in_the_docstring_has_every_error_and_no_other() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert drawn == [cls.__name__ for cls in CLASSES if cls is not MotivNetError]
    assert "    MotivNetError\n" in (errors.__doc__ or "")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_a_documented_motivnet_error(cls: type[Exception]) -> None:
    assert issubclass(cls, MotivNetError)
    assert cls.__doc__
    assert cls.__doc__.split("\n")[0].endswith(".")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_the_way_out_of_a_worker_process(cls: type[Exception]) -> None:
    error = an_error(cls)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_a_missing_package_comes_with_the_command_that_installs_it() -> None:
    error = MissingDependencyError("onnxruntime", extra="cpu")
    assert (
        str(error) == "onnxruntime is not installed; install it with: pip install 'motivnet[cpu]'"
    )
    assert (error.package, error.extra) == ("onnxruntime", "cpu")
