"""The ``config.pbtxt`` of each model of a Triton repository, from an artifact's manifest.

A model that takes pixels of any size is served alone. For any other, preprocessing is outside the
graph and the repository holds three models: one that turns encoded images into the model's input,
the model, and the ensemble of both, which clients call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from motivnet.artifact.manifest import Manifest
from motivnet.runtime import TensorSpec
from motivnet.schema import encode
from motivnet_engines.runtimes.signature import input_specs, output_specs
from motivnet_engines.serving.triton.options import Choice, Device, TritonOptions

IMAGES = "image_file"
"""The ensemble's input: the bytes of JPEG, PNG, WebP or BMP files, ``(batch, 1)``."""

LABELS = "labels.txt"
INPUT_PARAMETER = "motivnet_input"
"""The key under which the preprocessing finds the manifest's input entry, as JSON."""

_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
_KINDS: dict[Device, str] = {"auto": "KIND_AUTO", "gpu": "KIND_GPU", "cpu": "KIND_CPU"}


class EnumName(str):
    """The name of an enumeration's value, which is written without quotes."""

    __slots__ = ()


Message: TypeAlias = "dict[str, str | int | list[int] | Message | list[Message]]"
"""A protocol buffers message; a repeated message field is a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The folders of the models; clients call ``entry``, which is ``model`` if that is alone."""

    entry: str
    model: str
    preprocess: str | None


def names_of_models(manifest: Manifest, options: TritonOptions) -> Names:
    """Return the names of one model, or of three."""
    name = options.name
    if manifest.input.any_size:
        return Names(entry=name, model=name, preprocess=None)
    return Names(entry=name, model=f"{name}_model", preprocess=f"{name}_preprocess")


def model_configuration(
    manifest: Manifest, choice: Choice, options: TritonOptions, names: Names
) -> str:
    """Return the configuration of the model itself."""
    message: Message = {"name": names.model}
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
    if choice.engine is None and choice.device != "cpu" and manifest.precision == "fp32":
        # Without TF32: an FP32 graph is computed in float32, as its parity report says.
        cuda: Message = {"name": "cuda", "parameters": {"key": "use_tf32", "value": "0"}}
        message["optimization"] = {"execution_accelerators": {"gpu_execution_accelerator": cuda}}
    message["parameters"] = _provenance(manifest, choice)
    return text_of_message(message)


def preprocess_configuration(
    manifest: Manifest, choice: Choice, options: TritonOptions, names: Names
) -> str:
    """Return the configuration of the preprocessing.

    Its instances take requests one by one: decoding gains nothing from a batch, and a bad image
    then fails only its own request.
    """
    [spec] = input_specs(manifest)
    return text_of_message(
        {
            "name": names.preprocess or "",
            "backend": "python",
            "max_batch_size": choice.max_batch,
            "input": _images(),
            "output": _tensor(spec),
            "instance_group": _instances(options.preprocess_instances, "cpu"),
            "parameters": _parameter(INPUT_PARAMETER, encode(manifest.input).decode()),
        }
    )


def ensemble_configuration(manifest: Manifest, choice: Choice, names: Names) -> str:
    """Return the configuration of the ensemble: images, preprocessing, model, outputs."""
    tensor = manifest.input.name
    steps = [
        _step(names.preprocess or "", inputs=[(IMAGES, IMAGES)], outputs=[(tensor, tensor)]),
        _step(
            names.model,
            inputs=[(tensor, tensor)],
            outputs=[(name, name) for name in manifest.outputs],
        ),
    ]
    return text_of_message(
        {
            "name": names.entry,
            "platform": "ensemble",
            "max_batch_size": choice.max_batch,
            "input": _images(),
            "output": _outputs(manifest),
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


def _provenance(manifest: Manifest, choice: Choice) -> list[Message]:
    """Parameters for people; Triton shows them, and ignores those that it does not know."""
    file = manifest.entry(manifest.model if choice.engine is None else choice.engine.path)
    found = {"motivnet_sha256": file.sha256, "motivnet_precision": manifest.precision}
    if (engine := choice.engine) is not None:
        found["motivnet_tensorrt"] = engine.version
        found["motivnet_gpu"] = engine.device.name if engine.device else "unknown"
        if manifest.input.any_size:
            # Dimensions of -1 do not say for which sizes the plan was built.
            smallest, largest = engine.profile.min_size, engine.profile.max_size
            found["motivnet_min_size"] = f"{smallest[0]}x{smallest[1]}"
            found["motivnet_max_size"] = f"{largest[0]}x{largest[1]}"
    return [_parameter(key, value) for key, value in found.items()]


def _parameter(key: str, value: str) -> Message:
    return {"key": key, "value": {"string_value": value}}


def _step(model: str, *, inputs: list[tuple[str, str]], outputs: list[tuple[str, str]]) -> Message:
    return {
        "model_name": model,
        "model_version": -1,
        "input_map": _map(inputs),
        "output_map": _map(outputs),
    }


def _map(pairs: list[tuple[str, str]]) -> list[Message]:
    return [{"key": key, "value": value} for key, value in pairs]


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
