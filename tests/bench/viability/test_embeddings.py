from __future__ import annotations

import pytest

from motivnet.errors import DatasetError, FileError
from motivnet.images import read_image
from motivnet_bench.viability.embeddings import embed_images, find_images


def test_images_are_found_at_any_depth_and_hidden_ones_are_not(tmp_path):
    for name in ("b/2.JPG", "a/1.png", "a/.hidden.png", ".cache/3.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_images(tmp_path)] == ["1.png", "2.JPG"]


def test_a_limit_is_spread_evenly(tmp_path):
    for index in range(10):
        (tmp_path / f"{index}.png").write_bytes(b"")
    assert [path.name for path in find_images(tmp_path, limit=3)] == ["0.png", "4.png", "9.png"]


def test_folders_without_two_images_are_refused(tmp_path, model):
    with pytest.raises(DatasetError, match="is not a folder"):
        find_images(tmp_path / "none")
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="holds 1 image; a comparison"):
        find_images(tmp_path)
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="holds 0 images that can be read"):
        embed_images(model, tmp_path, find_images(tmp_path), name="images")


def test_what_is_left_out_is_said_and_what_may_not_be_read_is_refused(
    public_folder, permissions, caplog
):
    for name in ("1.jfif", "a/2.png", "a/notes.txt", "Thumbs.db", "b/3.png"):
        (public_folder / name).parent.mkdir(exist_ok=True)
        (public_folder / name).touch()
    assert [path.name for path in find_images(public_folder)] == ["1.jfif", "2.png", "3.png"]
    assert caplog.messages == [
        f"{public_folder}: left out 1 x not an image file (a/notes.txt), "
        "1 x hidden or of the system"
    ]
    (public_folder / "b").chmod(0)
    with permissions(), pytest.raises(FileError, match="as a whole: 1 x unreadable: Permission"):
        find_images(public_folder)
    with pytest.raises(FileError, match="File name too long"):
        find_images(public_folder / ("a" * 300))


def test_embeddings_are_the_models_for_each_image_that_can_be_read(model, noise, caplog):
    found = embed_images(model, noise, find_images(noise), name="noise")
    assert f"{noise}: left out 1 x unreadable image (3.png is " in caplog.text
    assert list(found.unreadable) == ["3.png"]
    assert found.values.shape == (9, 96)
    image = model.preprocessing(read_image(noise / "9.png"))[None]
    last = model.runtime.run({"image": image})["embedding"]
    assert found.values[-1] == pytest.approx(last[0], abs=1e-5)


def test_fewer_images_than_dimensions_are_warned_of(viability_result):
    warnings = [warning for warning in viability_result.data.warnings if "singular" in warning]
    assert len(warnings) == 2
    assert all("biased upwards" in warning for warning in warnings)
