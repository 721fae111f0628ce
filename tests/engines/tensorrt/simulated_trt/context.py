"""The simulated execution context, and the kernel that it enqueues."""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from .names import DTYPES, ExecutionContextAllocationStrategy, Severity, nptype

SCRATCH_BYTES = 4096


class Context:
    """An execution context; ``generation`` counts the changes of its shape."""

    def __init__(self, engine: Any, how: Any) -> None:
        self.engine = engine
        plain = isinstance(how, ExecutionContextAllocationStrategy)
        self.strategy = how if plain else how.strategy
        self.cache = None if plain else getattr(how, "cache", None)
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scratch: tuple[int, int] | None = None
        self.generation = 0
        self.flushed = -1
        self._entered = threading.Lock()
        me = weakref.proxy(
            self
        )  # compiled bindings have no frame that an error's traceback would hold, with the context
        self.infer_shapes = lambda: _infer_shapes(me)
        engine.simulation.born(self, "context", before=())

    def set_device_memory(self, address: int, size: int) -> None:
        with self._alone():
            self.scratch = (address, size)

    def set_tensor_address(self, name: str, address: int) -> bool:
        with self._alone():
            self.addresses[name] = address
            return not self.engine.simulation.fails("set_tensor_address")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        with self._alone():
            low, _, high = self.engine.profile[name]
            fits = all(a <= side <= b for a, side, b in zip(low, shape, high, strict=True))
            if self.engine.simulation.fails("set_input_shape"):
                return False
            if not fits:
                self.engine.simulation.say(
                    Severity.ERROR, f"Error Code 3: {shape} is outside the profile"
                )
                return False
            self.shapes[name] = tuple(shape)
            self.generation += 1
            return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        (shape,) = self.shapes.values()
        node = self.engine.outputs[name]
        return (shape[0], *(side for side in node.shape[1:]))

    def execute_async_v3(self, stream: int) -> bool:
        with self._alone():
            simulation = self.engine.simulation
            if simulation.fails("execute_async_v3") or not self._is_ready(stream):
                return False
            captured = _is_capturing(simulation.driver, stream)
            if captured and self.flushed != self.generation:
                simulation.mistakes.append("a shape is captured that never ran plain")
            self.flushed = self.generation
            kernel = _Kernel(self, captured=captured)
            return bool(
                simulation.driver.launch_kernel(stream, kernel, touches=kernel.touches) == 0
            )

    def _is_ready(self, stream: int) -> bool:
        mistakes = self.engine.simulation.mistakes
        before = len(mistakes)
        if stream == 0:
            mistakes.append("the default stream is used")
        if set(self.addresses) != {*self.engine.inputs, *self.engine.outputs}:
            mistakes.append(f"only {sorted(self.addresses)} have addresses")
        managed = self.strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        if managed and (self.scratch or (0, 0))[1] < SCRATCH_BYTES:
            mistakes.append("the context has no memory for its activations")
        return len(mistakes) == before

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        simulation = self.engine.simulation
        simulation.check_context("a context is used")
        if not self._entered.acquire(blocking=False):
            simulation.mistakes.append("two threads are in one context")
        try:
            yield
        finally:
            with contextlib.suppress(RuntimeError):
                self._entered.release()


def _infer_shapes(context: Any) -> list[str]:
    with context._alone():
        if context.engine.simulation.fails("infer_shapes"):
            raise RuntimeError("shape inference failed")
        return [name for name in context.engine.inputs if name not in context.shapes]


class _Kernel:
    """One inference on device memory; it holds no context, so a graph cannot keep one alive."""

    def __init__(self, context: Context, *, captured: bool) -> None:
        self._context = weakref.ref(context)
        self._simulation = context.engine.simulation
        self._captured = captured
        self._generation = context.generation
        tensors = {**context.engine.inputs, **context.engine.outputs}
        self._dtypes = {name: nptype(DTYPES[node.type]) for name, node in tensors.items()}
        ((name, shape),) = context.shapes.items()
        self._source = (name, context.addresses[name], shape)
        self._targets = [
            (name, context.addresses[name], context.get_tensor_shape(name))
            for name in context.engine.outputs
        ]
        self.touches = [
            (address, self._bytes(name, shape))
            for name, address, shape in (self._source, *self._targets)
        ]
        self.touches += [context.scratch] if context.scratch else []

    def __call__(self) -> None:
        if self._context() is None:
            raise RuntimeError("a kernel runs after its context was freed")
        self._compute(
            weakref.proxy(self._context())
        )  # an error's traceback must not hold the context

    def _compute(self, context: Any) -> None:
        simulation = self._simulation
        simulation.kernels += 1
        for address, size in self.touches[-1:] if context.scratch else []:
            simulation.driver.device_array(address, (size,), np.uint8)[:] = 0x5A
        name, address, shape = self._source
        array = simulation.driver.device_array(address, shape, self._dtypes[name]).copy()
        if context.cache is not None and str(shape) not in context.cache.kernels:
            context.cache.kernels.add(str(shape))
            simulation.compiled.append(str(shape))
        outputs = context.engine.session.run([target[0] for target in self._targets], {name: array})
        changed = self._captured and self._generation != context.generation
        for (target, place, sides), output in zip(self._targets, outputs, strict=True):
            device = simulation.driver.device_array(place, sides, self._dtypes[target])
            device[:] = np.nan if changed else output

    def _bytes(self, name: str, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * np.dtype(self._dtypes[name]).itemsize


def _is_capturing(driver: Any, stream: int) -> bool:
    status = ctypes.c_int(0)
    driver.library.cuStreamIsCapturing(stream, ctypes.byref(status))
    return status.value != 0
