"""The ``config.pbtxt`` of each model of a Triton repository, from an artifact's manifest.

A model that takes pixels of any size is served alone. For any other, preprocessing is outside the
graph and the repository holds three models: one that turns encoded images into the model's input,
the model, and the ensemble of both, which clients call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from motivnet.artifact.engine_entry import EngineEntry
from motivnet.artifact.manifest import FileEntry, Manifest
from motivnet.errors import ConfigError
from motivnet.runtime import TensorSpec
from motivnet.schema import encode
from motivnet_engines.runtimes.cuda_provider import cuda_provider_options
from motivnet_engines.runtimes.signature import input_specs, output_specs

IMAGES = "image_file"
"""The ensemble's input: the bytes of JPEG, PNG, WebP or BMP files, ``(batch, 1)``."""

LABELS = "labels.txt"
INPUT_PARAMETER = "motivnet_input"
"""The key under which the preprocessing finds the manifest's input entry, as JSON."""

Device = Literal["auto", "gpu", "cpu"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
_KINDS: dict[Device, str] = {"auto": "KIND_AUTO", "gpu": "KIND_GPU", "cpu": "KIND_CPU"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonOptions:
    """What a user chooses for a model repository.

    Args:
        name: The model that clients call; other models of the repository begin with it.
        form: The artifact's TensorRT engine or its ONNX graph; the engine, if there is one, by
            default.
        device: Where instances run; ``auto`` is a GPU if Triton finds one.
        max_batch: The largest batch size; the artifact's if None.
        instances: Copies of the model, on each GPU.
        preprocess_instances: Processes that decode and resize; each keeps one core busy.
        max_queue_delay_us: Microseconds that a request waits for others to share a batch with.
        max_queue: Requests that wait before further ones are refused.
        trust_engines: Whether an engine that this user did not build here may be the default form.

    Raises:
        ConfigError: Naming the value that is not valid.
    """

    name: str = "motivnet"
    form: Literal["onnx", "tensorrt"] | None = None
    device: Device = "auto"
    max_batch: int | None = None
    instances: int = 1
    preprocess_instances: int = 4
    max_queue_delay_us: int = 2_000
    max_queue: int = 256
    trust_engines: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name[:80]!r} is no name for a model; use letters, digits and _ . -"
            )
        if self.device not in _KINDS:
            raise ConfigError(f"there is no device {self.device!r}; choose {', '.join(_KINDS)}")
        for field in ("max_batch", "instances", "preprocess_instances", "max_queue"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ConfigError(f"{field} must be at least 1, not {value}")
        if self.max_queue_delay_us < 0:
            raise ConfigError(
                f"max_queue_delay_us must be at least 0, not {self.max_queue_delay_us}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is served and how: the engine, or the ONNX graph if None; its largest batch, and where.

    Clients call the model ``options.name``.
    """

    manifest: Manifest
    options: TritonOptions
    engine: EngineEntry | None
    max_batch: int
    device: Device

    @property
    def model_name(self) -> str:
        """The folder of the model."""
        name = self.options.name
        return name if self.manifest.input.any_size else f"{name}_model"

    @property
    def preprocess_name(self) -> str:
        """The folder of the preprocessing, if there is one."""
        return f"{self.options.name}_preprocess"

    @property
    def models(self) -> tuple[str, ...]:
        """The folders of all models."""
        if self.manifest.input.any_size:
            return (self.model_name,)
        return self.preprocess_name, self.model_name, self.options.name

    @property
    def file(self) -> FileEntry:
        """The file of the artifact that Triton opens."""
        return self.manifest.entry(self.engine.path if self.engine else self.manifest.model)


class EnumName(str):
    """The name of an enumeration's value, which is written without quotes."""

    __slots__ = ()


Message: TypeAlias = "dict[str, str | int | list[int] | Message | list[Message]]"
"""A protocol buffers message; a repeated message field is a list."""


def model_configuration(choice: Choice) -> str:
    """Return the configuration of the model itself."""
    manifest, options = choice.manifest, choice.options
    message: Message = {"name": choice.model_name}
    if choice.engine is None:
        message |= {"backend": "onnxruntime", "default_model_filename": "model.onnx"}
    else:
        message |= {"platform": "tensorrt_plan", "default_model_filename": "model.plan"}
    message |= {
        "max_batch_size": choice.max_batch,
        "input": [_tensor(spec) for spec in input_specs(manifest)],
        "output": _outputs(manifest),
        "instance_group": _instances(options.instances, choice.device),
        "dynamic_batching": {
            "max_queue_delay_microseconds": options.max_queue_delay_us,
            "default_queue_policy": {
                "timeout_action": EnumName("REJECT"),
                "max_queue_size": options.max_queue,
            },
        },
    }
    if choice.engine is None and choice.device != "cpu":
        # Triton gives every parameter of this accelerator to the provider.
        found = cuda_provider_options(manifest)
        parameters: list[Message] = [{"key": key, "value": found[key]} for key in found]
        cuda: Message = {"name": "cuda", "parameters": parameters}
        message["optimization"] = {"execution_accelerators": {"gpu_execution_accelerator": cuda}}
    message["parameters"] = _provenance(choice)
    return text_of_message(message)


def preprocess_configuration(choice: Choice) -> str:
    """Return the configuration of the preprocessing.

    Its instances take requests one by one: decoding gains nothing from a batch, and a bad image
    then fails only its own request.
    """
    [spec] = input_specs(choice.manifest)
    return text_of_message(
        {
            "name": choice.preprocess_name,
            "backend": "python",
            "max_batch_size": choice.max_batch,
            "input": _images(),
            "output": _tensor(spec),
            "instance_group": _instances(choice.options.preprocess_instances, "cpu"),
            "parameters": _parameter(INPUT_PARAMETER, encode(choice.manifest.input).decode()),
        }
    )


def ensemble_configuration(choice: Choice) -> str:
    """Return the configuration of the ensemble: images, preprocessing, model, outputs."""
    tensor = choice.manifest.input.name
    steps = [
        _step(choice.preprocess_name, inputs=[IMAGES], outputs=[tensor]),
        _step(choice.model_name, inputs=[tensor], outputs=choice.manifest.outputs),
    ]
    return text_of_message(
        {
            "name": choice.options.name,
            "platform": "ensemble",
            "max_batch_size": choice.max_batch,
            "input": _images(),
            "output": _outputs(choice.manifest),
            "ensemble_scheduling": {"step": steps},
        }
    )


def _tensor(spec: TensorSpec) -> Message:
    """Triton's dimensions are those after the batch, with -1 for a free one."""
    dims = [-1 if side is None else side for side in spec.shape[1:]]
    return {"name": spec.name, "data_type": EnumName(_TYPES[spec.dtype]), "dims": dims}


def _images() -> Message:
    return {"name": IMAGES, "data_type": EnumName("TYPE_STRING"), "dims": [1]}


def _outputs(manifest: Manifest) -> list[Message]:
    """The labels go with the logits, for clients that ask for Triton's classification."""
    tensors = [_tensor(spec) for spec in output_specs(manifest)]
    for tensor in tensors:
        if tensor["name"] == "logits":
            tensor["label_filename"] = LABELS
    return tensors


def _instances(count: int, device: Device) -> Message:
    return {"count": count, "kind": EnumName(_KINDS[device])}


def _provenance(choice: Choice) -> list[Message]:
    """Parameters for people; Triton shows them, and ignores those that it does not know."""
    found = {
        "motivnet_sha256": choice.file.sha256,
        "motivnet_precision": choice.manifest.precision,
    }
    if (engine := choice.engine) is not None:
        found["motivnet_tensorrt"] = engine.version
        found["motivnet_gpu"] = engine.device.name if engine.device else "unknown"
        if choice.manifest.input.any_size:
            # Dimensions of -1 do not say for which sizes the plan was built.
            smallest, largest = engine.profile.min_size, engine.profile.max_size
            found["motivnet_min_size"] = f"{smallest[0]}x{smallest[1]}"
            found["motivnet_max_size"] = f"{largest[0]}x{largest[1]}"
    return [_parameter(key, value) for key, value in found.items()]


def _parameter(key: str, value: str) -> Message:
    return {"key": key, "value": {"string_value": value}}


def _step(model: str, *, inputs: Iterable[str], outputs: Iterable[str]) -> Message:
    """The ensemble calls every tensor as its models do."""
    return {
        "model_name": model,
        "model_version": -1,
        "input_map": _map(inputs),
        "output_map": _map(outputs),
    }


def _map(names: Iterable[str]) -> list[Message]:
    return [{"key": name, "value": name} for name in names]


def text_of_message(message: Message, *, indent: str = "") -> str:
    """Return a message in protocol buffers' text format, one field per line.

    Only what a ``config.pbtxt`` needs: the library would bring Triton's client to every machine
    that exports. The tests parse the text with that library.
    """
    lines = []
    for name, value in message.items():
        fields: list[object] = [value]
        if isinstance(value, list) and isinstance(value[0], dict):
            fields = list(value)
        for one in fields:
            if isinstance(one, dict):
                inner = text_of_message(one, indent=f"{indent}  ")
                lines.append(f"{indent}{name} {{\n{inner}{indent}}}\n")
            else:
                lines.append(f"{indent}{name}: {_text_of_value(one)}\n")
    return "".join(lines)


def _text_of_value(value: object) -> str:
    if isinstance(value, list):
        return f"[ {', '.join(map(str, value))} ]"
    if isinstance(value, EnumName) or not isinstance(value, str):
        return str(value)
    return '"' + "".join(map(_character, value.encode())) + '"'


def _character(byte: int) -> str:
    """Write everything but plain ASCII as an octal byte."""
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
