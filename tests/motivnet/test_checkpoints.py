"""Every known weights file becomes a MotivNet, and a MotivNet becomes a file of ours."""

from __future__ import annotations

import argparse
import ast
import collections
import datetime
import functools
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from motivnet.checkpoints import key_maps, load_checkpoint, load_model, name_of, save_model
from motivnet.checkpoints.sizes import config_from_sizes, sizes_from_config
from motivnet.checkpoints.torch_archive import TorchArchive
from motivnet.config import NAMED_SIZES, DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import CheckpointError
from motivnet.labels import EMOTIONS, labels_for
from motivnet.model import MotivNet
from motivnet.preprocess import Preprocessing

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=32, depth=2, num_heads=4, image_size=(64, 48)),
    decoder=DecoderConfig(embed_dim=16, num_heads=8),
)
PREPROCESSING = Preprocessing.named("stretch", size=(64, 48))
TOLERANCE = 1e-5
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def model() -> MotivNet:
    return load_model(GOLDEN / "motivnet_flat.pth", CONFIG)


@pytest.fixture
def published(model: MotivNet) -> State:
    return key_maps.published_from_model(model.state_dict())


@pytest.fixture
def saved(model: MotivNet, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(
        model,
        path,
        config=CONFIG,
        labels=EMOTIONS[:7],
        preprocessing=PREPROCESSING,
        metadata={"note": "é"},
    )
    return path


@pytest.mark.parametrize(
    "container", ["motivnet_flat.pth", "motivnet_lightning.ckpt", "safetensors"]
)
def test_every_container_gives_the_golden_features_and_logits(container: str, saved: Path) -> None:
    golden = np.load(GOLDEN / "motivnet_io.npz")
    image = torch.from_numpy(golden["image"])
    loaded = (
        load_model(saved) if container == "safetensors" else load_model(GOLDEN / container, CONFIG)
    )
    assert not loaded.training
    with torch.inference_mode():
        assert np.abs(loaded.encoder(image).numpy() - golden["features"]).max() < TOLERANCE
        assert np.abs(loaded(image).numpy() - golden["logits"]).max() < TOLERANCE


@pytest.mark.parametrize(
    ("name", "layout"),
    [("sapiens_pretrain_clean.pth", "sapiens"), ("sapiens_pose_mmengine.pth", "sapiens-backbone")],
)
def test_an_encoder_alone_gets_a_fresh_seeded_head_and_says_so(
    name: str, layout: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, again = (load_checkpoint(GOLDEN / name, CONFIG) for _ in range(2))
    assert (first.layout, first.fresh_head) == (layout, True)
    assert "the head is random" in caplog.text
    assert torch.equal(first.model.decoder.queries, again.model.decoder.queries)
    assert first.model.decoder.queries.std() > 0.5


@pytest.mark.parametrize("name", ["sapiens_pretrain_clean.pth", "sapiens_pose_mmengine.pth"])
def test_positions_are_the_published_ones_after_resizing(name: str) -> None:
    positions = load_model(GOLDEN / name, CONFIG).encoder.pos_embed.detach().numpy()
    np.testing.assert_allclose(
        positions, np.load(GOLDEN / "sapiens_io.npz")["pose_pos_embed"], atol=1e-6
    )


def test_a_whole_model_is_not_said_to_have_a_fresh_head(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = load_checkpoint(GOLDEN / "motivnet_flat.pth", CONFIG)
    assert (checkpoint.layout, checkpoint.fresh_head, checkpoint.preprocessing) == (
        "published",
        False,
        None,
    )
    assert checkpoint.labels == EMOTIONS[:7]
    assert not caplog.text


def test_our_file_tells_all_that_was_saved(saved: Path, model: MotivNet) -> None:
    checkpoint = load_checkpoint(saved)
    assert (checkpoint.config, checkpoint.labels, checkpoint.preprocessing) == (
        CONFIG,
        EMOTIONS[:7],
        PREPROCESSING,
    )
    assert (checkpoint.layout, checkpoint.metadata) == ("motivnet", {"note": "é"})
    state = model.state_dict()
    assert all(
        torch.equal(weight, state[name]) for name, weight in checkpoint.model.state_dict().items()
    )


def test_our_file_is_plain_safetensors_to_others(saved: Path, model: MotivNet) -> None:
    state = model.state_dict()
    with safe_open(saved, "pt") as file:
        assert set(file.keys()) == set(state)
        assert all(torch.equal(file.get_tensor(name), weight) for name, weight in state.items())
        assert set(file.metadata()) == {"motivnet"}


def test_equal_models_make_equal_files(saved: Path, tmp_path: Path) -> None:
    again = load_checkpoint(saved)
    path = tmp_path / "again.safetensors"
    save_model(
        again.model,
        path,
        config=again.config,
        labels=again.labels,
        preprocessing=again.preprocessing,
        metadata=again.metadata,
    )
    assert path.read_bytes() == saved.read_bytes()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"modelspec.hash": '{"sha256": "abc"}', "note": 'has "sha256" in it'},
        {"file": '{"description": {}, "sha256": "abc"}'},
    ],
)
def test_safetensors_of_others_load_with_a_warning(
    more: dict[str, str], published: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_file(published, tmp_path / "other.safetensors", metadata={"format": "pt"} | more)
    assert load_checkpoint(tmp_path / "other.safetensors", CONFIG).layout == "published"
    assert "no checksum" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_width_become_float32(
    dtype: torch.dtype, published: State, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({key: weight.to(dtype) for key, weight in published.items()}, path)
    loaded = load_model(path, CONFIG).state_dict()
    assert {weight.dtype for weight in loaded.values()} == {torch.float32}
    expected = published["pose_encoder.pos_embed"].to(dtype).float()
    assert torch.equal(loaded["encoder.pos_embed"], expected)


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: key.replace("self_attn", "multihead_attn"),
        lambda key: f"module.{key}",
        lambda key: f"model._orig_mod.{key}",
    ],
    ids=["multihead_attn", "data-parallel", "compiled"],
)
def test_names_that_trainers_write_are_understood(
    rename: Callable[[str], str], published: State, model: MotivNet, tmp_path: Path
) -> None:
    torch.save({rename(key): weight for key, weight in published.items()}, tmp_path / "w.pth")
    loaded = load_model(tmp_path / "w.pth", CONFIG).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in model.state_dict().items())


def test_loaded_weights_share_no_memory_and_can_be_trained(model: MotivNet) -> None:
    addresses = {weight.untyped_storage().data_ptr() for weight in model.state_dict().values()}
    assert len(addresses) == len(model.state_dict())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", NAMED_SIZES)
@pytest.mark.parametrize(("classes", "groups"), [(7, 7), (8, 8), (20, 5)])
def test_named_sizes_are_recognised_from_the_shapes(name: str, classes: int, groups: int) -> None:
    named = ModelConfig.named(name)
    decoder = msgspec.structs.replace(named.decoder, num_classes=classes, num_groups=groups)
    config = msgspec.structs.replace(named, decoder=decoder)
    assert config_from_sizes(sizes_from_config(config)) == config


def test_an_encoder_of_a_named_size_takes_the_published_head() -> None:
    sizes = {"encoder.embed_dim": 1536, "encoder.depth": 40}
    assert config_from_sizes(sizes) == ModelConfig.named("sapiens-1b")


def test_a_named_size_needs_no_configuration(tiny_model: MotivNet, tmp_path: Path) -> None:
    torch.save(
        {"state_dict": key_maps.published_from_model(tiny_model.state_dict())},
        tmp_path / "tiny.ckpt",
    )
    assert load_checkpoint(tmp_path / "tiny.ckpt").config == ModelConfig.named("tiny")


def test_other_sizes_ask_for_a_configuration() -> None:
    with pytest.raises(
        CheckpointError, match=r"no named model \(.*encoder.embed_dim 32.*--model CONFIG.json"
    ):
        load_model(GOLDEN / "motivnet_flat.pth")


def test_a_size_that_is_nearly_a_named_one_says_where_it_differs() -> None:
    sizes = sizes_from_config(ModelConfig.named("sapiens-1b")) | {"decoder.embed_dim": 768}
    with pytest.raises(
        CheckpointError, match=r"like sapiens-1b, but decoder.embed_dim is 768 and not 1152"
    ):
        config_from_sizes(sizes)


@pytest.mark.parametrize("container", ["flat", "ours"])
def test_a_configuration_that_disagrees_is_an_error_that_names_the_sizes(
    container: str, saved: Path
) -> None:
    path = saved if container == "ours" else GOLDEN / "motivnet_flat.pth"
    decoder = msgspec.structs.replace(CONFIG.decoder, num_classes=8)
    encoder = msgspec.structs.replace(CONFIG.encoder, depth=3)
    with pytest.raises(
        CheckpointError, match=r"num_classes is 7 and not 8|depth is 2 and not 3"
    ) as caught:
        load_model(path, ModelConfig(encoder=encoder, decoder=decoder))
    assert "num_classes is 7 and not 8" in str(caught.value)
    assert "encoder.depth is 2 and not 3" in str(caught.value)


def test_heads_that_the_shapes_do_not_show_must_agree_with_our_file(saved: Path) -> None:
    other = msgspec.structs.replace(
        CONFIG, encoder=msgspec.structs.replace(CONFIG.encoder, num_heads=2)
    )
    with pytest.raises(CheckpointError, match=r"encoder.num_heads is 4 and not 2"):
        load_model(saved, other)


def test_all_keys_that_do_not_fit_are_named_at_once(published: State, tmp_path: Path) -> None:
    del (
        published["pose_encoder.layers.1.ln2.bias"],
        published["decoder.decoder.layers.0.norm3.weight"],
    )
    published["pose_encoder.layers.0.attn.proj.weight"] = torch.zeros(32, 31)
    published["pose_encoder.neck.weight"] = published["criterion.weight"] = torch.zeros(1)
    torch.save(published, tmp_path / "w.pth")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "w.pth", CONFIG)
    message = str(caught.value)
    assert (
        "missing: pose_encoder.layers.1.ln2.bias, decoder.decoder.layers.0.norm3.weight;" in message
    )
    assert "unknown: pose_encoder.neck.weight, criterion.weight;" in message
    assert (
        "misshaped: pose_encoder.layers.0.attn.proj.weight has (32, 31) and not (32, 32)" in message
    )
    assert "\n" not in message


def test_a_long_list_of_keys_is_cut_with_a_count(published: State, tmp_path: Path) -> None:
    extra = {f"pose_encoder.layers.0.extra.{i}": torch.zeros(1) for i in range(30)}
    torch.save(published | extra, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"extra\.7 and 22 more$"):
        load_model(tmp_path / "w.pth", CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": EMOTIONS}, "needs 7 different labels"),
        ({"labels": ("a",) * 7}, "needs 7 different labels"),
        ({"preprocessing": Preprocessing.named("stretch", size=(32, 32))}, "preprocessing to"),
        (
            {"config": msgspec.structs.replace(CONFIG, decoder=DecoderConfig(embed_dim=8))},
            "decoder.embed_dim is 16 and",
        ),
    ],
)
def test_a_model_that_its_description_does_not_fit_is_not_written(
    change: dict[str, object], message: str, model: MotivNet, tmp_path: Path
) -> None:
    arguments = {"config": CONFIG, "labels": labels_for(7), "preprocessing": PREPROCESSING} | change
    with pytest.raises(CheckpointError, match=message):
        save_model(model, tmp_path / "out.safetensors", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_diverged_model_is_not_written(tmp_path: Path) -> None:
    diverged = load_model(GOLDEN / "motivnet_flat.pth", CONFIG)
    with torch.no_grad():
        diverged.decoder.group_bias[0] = torch.nan
    with pytest.raises(CheckpointError, match=r"NaN or infinite, decoder.group_bias"):
        save_model(
            diverged,
            tmp_path / "out.safetensors",
            config=CONFIG,
            labels=labels_for(7),
            preprocessing=None,
        )
    assert not list(tmp_path.iterdir())


def test_nothing_is_ever_unpickled() -> None:
    for package in ("motivnet", "engines", "export", "training", "bench"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_bytes())
            assert not _imported(tree) & {"pickle", "dill", "cloudpickle", "joblib"}, path
            calls = {
                ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)
            }
            assert not calls & {"torch.load", "torch.jit.load", "torch.package.PackageImporter"}, (
                path
            )


def _imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
            if node.module == "torch" and any(alias.name == "load" for alias in node.names):
                names.add("pickle")
    return names


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("checkpoints/demo.safetensors", "demo"),
        ("runs/faces/best.safetensors", "faces"),
        ("runs/faces/last.ckpt", "faces"),
    ],
)
def test_a_runs_weights_are_called_by_the_run(path: str, name: str) -> None:
    assert name_of(Path(path)) == name


class _HistoryBuffer:
    """As a trainer keeps its figures: an object of a class of its own that holds arrays."""

    def __init__(self) -> None:
        self.values = np.arange(3.0)
        self.functions = {"mean": np.mean}


class _Attributes(dict[str, object]):
    """As configurations are kept: a dictionary whose entries are attributes too."""


BESIDE: dict[str, object] = {
    "numpy array": np.arange(3.0),
    "numpy number": np.float64(3),
    "path": Path("/data"),
    "namespace": argparse.Namespace(
        lr=1e-3, path=Path("/data"), inner=argparse.Namespace(a=[1, 2])
    ),
    "history": {"train/loss": _HistoryBuffer()},
    "set": {1, 2},
    "tuple as a key": {(1, 2): 3},
    "enum": signal.SIGTERM,
    "date": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "counter": collections.Counter([3, 3]),
    "bytes": b"\xff\0",
    "complex": 1j,
    "numpy types": [np.dtype("f4"), np.float32, np.int64(3), np.bool_(True)],
    "types of PyTorch": [torch.float16, torch.device("cpu"), torch.Size([1, 2]), torch.strided],
    "functions": [functools.partial(print, 1), len, np.mean],
    "subclass of a dictionary": _Attributes(lr=1e-3, inner=_Attributes(x=Path("/data"))),
    "defaultdict": collections.defaultdict(list, {"loss": [1.0]}),
    "deque and slice": [collections.deque([1], maxlen=3), slice(1, 2), range(3)],
    "sets": [frozenset([1]), {"a", (1, 2)}],
    "whole module": torch.nn.Linear(2, 2),
    "generator state": torch.get_rng_state(),
}


@pytest.mark.parametrize(
    ("protocol", "is_legacy"), [(2, False), (3, False), (4, False), (5, False), (2, True)]
)
@pytest.mark.parametrize("beside", BESIDE)
def test_weights_load_whatever_objects_are_beside_them(
    beside: str, protocol: int, is_legacy: bool, published: State, model: MotivNet, tmp_path: Path
) -> None:
    content = {"meta": {"x": BESIDE[beside]}, "state_dict": published}
    torch.save(
        content,
        tmp_path / "w.pth",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not is_legacy,
    )
    loaded = load_model(tmp_path / "w.pth", CONFIG).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in model.state_dict().items())


def test_the_names_of_numpy_1_and_2_are_left_out_alike(
    published: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An array that numpy 1 pickled names ``numpy.core``, which numpy 2 calls ``numpy._core``."""
    torch.save({"meta": np.arange(3.0), "state_dict": published}, tmp_path / "two.pth")
    with (
        zipfile.ZipFile(tmp_path / "two.pth") as two,
        zipfile.ZipFile(tmp_path / "one.pth", "w") as one,
    ):
        for name in two.namelist():
            one.writestr(name, two.read(name).replace(b"cnumpy._core.", b"cnumpy.core."))
    for name in ("one.pth", "two.pth"):
        assert load_checkpoint(tmp_path / name, CONFIG).layout == "published"
    assert "numpy.core.multiarray._reconstruct" in caplog.text


def _with_attribute(weight: Tensor) -> Tensor:
    weight = weight.clone()
    weight.note = "kept by a trainer"  # type: ignore[attr-defined]
    return weight


def _parameter_with_attribute(weight: Tensor) -> Tensor:
    parameter = torch.nn.Parameter(weight)
    parameter.note = "kept by a trainer"  # type: ignore[attr-defined]
    return parameter


@pytest.mark.parametrize(
    "wrap",
    [
        torch.nn.Parameter,
        _parameter_with_attribute,
        _with_attribute,
        torch.nn.Buffer,
        lambda weight: weight.t().contiguous().t() if weight.ndim == 2 else weight,
        lambda weight: torch.cat([torch.zeros_like(weight), weight])[len(weight) :],
        lambda weight: (
            weight.contiguous(memory_format=torch.channels_last) if weight.ndim == 4 else weight
        ),
    ],
    ids=[
        "parameter",
        "parameter-state",
        "attribute",
        "buffer",
        "transposed",
        "part-of-a-storage",
        "channels-last",
    ],
)
def test_weights_load_however_they_were_held(
    wrap: Callable[[Tensor], Tensor], published: State, model: MotivNet, tmp_path: Path
) -> None:
    torch.save({key: wrap(weight) for key, weight in published.items()}, tmp_path / "w.pth")
    loaded = load_model(tmp_path / "w.pth", CONFIG).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in model.state_dict().items())


def test_weights_that_are_parts_of_one_storage_load(
    published: State, model: MotivNet, tmp_path: Path
) -> None:
    flat = torch.cat([weight.flatten() for weight in published.values()])
    parts = flat.split([weight.numel() for weight in published.values()])
    state = {
        key: part.view(weight.shape)
        for (key, weight), part in zip(published.items(), parts, strict=True)
    }
    torch.save(state, tmp_path / "flat.pth")
    loaded = load_model(tmp_path / "flat.pth", CONFIG).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in model.state_dict().items())


def test_what_lies_beside_the_weights_takes_no_memory(published: State, tmp_path: Path) -> None:
    """Neither the state of an optimiser nor a tensor in an object is read: it is cut off here."""
    path = tmp_path / "w.pth"
    torch.save({"state_dict": published, "optimizer": [torch.zeros(1 << 20)]}, path)
    reads = []
    with pytest.MonkeyPatch.context() as patch:
        real = TorchArchive.read_into
        patch.setattr(
            TorchArchive,
            "read_into",
            lambda *given, **more: reads.append(len(given[1])) or real(*given, **more),
        )
        load_model(path, CONFIG)
    assert max(reads) < 1 << 20


def test_a_file_of_another_byte_order_is_refused(published: State, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "w.pth")
    with (
        zipfile.ZipFile(tmp_path / "w.pth") as little,
        zipfile.ZipFile(tmp_path / "big.pth", "w") as big,
    ):
        for name in little.namelist():
            big.writestr(name, b"big" if name.endswith("/byteorder") else little.read(name))
    with pytest.raises(CheckpointError, match="byte order"):
        load_model(tmp_path / "big.pth", CONFIG)
