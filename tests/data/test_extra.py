"""Extra images from a .npz file: read as written, refused with the fix where they do not fit."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from iaat.data import ExtraImages
from iaat.errors import UserError

M, SHAPE, CLASSES = 40, (3, 6, 5), 4


def arrays(count: int = M, shape: tuple[int, ...] = SHAPE) -> dict[str, Any]:
    source = np.random.default_rng(0)
    image = source.integers(0, 256, (count, *shape[1:], shape[0]), dtype=np.uint8)
    return {"image": image, "label": source.integers(0, CLASSES, count)}


def written(path: Path, save: Callable[..., None] = np.savez, **changes: Any) -> Path:
    save(path, **{name: value for name, value in {**arrays(), **changes}.items() if value is not None})
    return path


def opened(path: Path, shape: tuple[int, ...] = SHAPE) -> ExtraImages:
    return ExtraImages(path, shape=shape, classes=CLASSES)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("at_once", [1, 1000, 1 << 22])
def test_images_and_labels_are_those_of_the_file(
    tmp_path: Path, save: Callable[..., None], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iaat.data.npz._READ_AT_ONCE", at_once)
    extra = opened(written(tmp_path / "more.npz", save))
    image, label = arrays().values()
    assert len(extra) == M
    assert extra.labels.dtype == torch.int64
    assert extra.labels.tolist() == label.tolist()
    assert extra.sample_bytes == 90
    assert extra.paths[17] == "more.npz#17"
    assert len(extra.paths) == M
    x = extra.load(torch.arange(M))
    assert x.dtype == torch.uint8
    assert np.array_equal(x.numpy().transpose(0, 2, 3, 1), image)
    some = torch.tensor([0, 11, 12, 39])
    assert torch.equal(extra.load(some), x[some])


@pytest.mark.parametrize("dtype", [">i8", "<i4", "u1", "int16"])
def test_labels_of_any_integer_type(tmp_path: Path, dtype: str) -> None:
    extra = opened(written(tmp_path / "more.npz", label=arrays()["label"].astype(dtype)))
    assert extra.labels.tolist() == arrays()["label"].tolist()


@pytest.mark.parametrize("last", [(), (1,)])
def test_grey_images_with_and_without_an_axis_of_channels(tmp_path: Path, last: tuple[int, ...]) -> None:
    image = arrays()["image"][..., 0]
    extra = opened(written(tmp_path / "more.npz", image=image.reshape(*image.shape, *last)), shape=(1, 6, 5))
    assert np.array_equal(extra.load(torch.arange(M)).numpy()[:, 0], image)


def test_fingerprint_tells_pixels_labels_and_sizes_apart_and_not_names(tmp_path: Path) -> None:
    base = arrays()
    pixel, label = base["image"].copy(), base["label"].copy()
    pixel[7, 0, 0, 0] ^= 1
    label[7] = (label[7] + 1) % CLASSES
    prints = [
        opened(written(tmp_path / f"{name}.npz", **changes)).fingerprint
        for name, changes in {
            "a": {},
            "b": {},
            "pixel": {"image": pixel},
            "label": {"label": label},
            "size": {"image": base["image"][:-1], "label": base["label"][:-1]},
        }.items()
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "names": (
        {"image": None, "images": arrays()["image"]},
        r"has no array 'image'; it holds label, images \(did you mean 'images'\?\): expected are image uint8 \[N, H",
    ),
    "no label": ({"label": None}, r"has no array 'label'; it holds image: expected are"),
    "objects": ({"label": np.array([{}] * M, dtype=object)}, r"label holds Python objects, which are refused"),
    "objects as images": ({"image": np.array([{}] * M, dtype=object)}, r"image holds Python objects"),
    "floats": (
        {"image": arrays()["image"] / 255},
        r"image is float64, not uint8 in 0\.\.255: save numpy\.uint8\(numpy\.round\(image\)\), or of images in \[0",
    ),
    "integers": ({"image": arrays()["image"].astype(np.int64)}, r"image is int64, not uint8.*save numpy\.uint8\(image"),
    "channels first": (
        {"image": arrays()["image"].transpose(0, 3, 1, 2)},
        r"image has shape \[40, 3, 6, 5\], but of this data set it must be \[N, 6, 5, 3\], channels last: save image\.",
    ),
    "size": ({"image": arrays(shape=(3, 5, 6))["image"]}, r"image has shape \[40, 5, 6, 3\], but .* \[N, 6, 5, 3\]$"),
    "grey": ({"image": arrays()["image"][..., 0]}, r"image has shape \[40, 6, 5\], but .* \[N, 6, 5, 3\]"),
    "one number": ({"image": np.uint8(3)}, r"image has shape \[\], but"),
    "order": (
        {"image": np.asfortranarray(arrays()["image"])},
        r"image is in Fortran order: save numpy\.ascontiguousarray\(image\)",
    ),
    "empty": ({"image": arrays()["image"][:0], "label": arrays()["label"][:0]}, r"holds no images: give some"),
    "float labels": ({"label": arrays()["label"] / 1.0}, r"label is float64, not integers: save label\.astype"),
    "truth labels": ({"label": arrays()["label"] > 1}, r"label is bool, not integers"),
    "fewer labels": (
        {"label": arrays()["label"][:-1]},
        r"label has shape \[39\], but there are 40 images: give \[40\]",
    ),
    "one-hot labels": ({"label": np.eye(CLASSES, dtype=int)[arrays()["label"]]}, r"label has shape \[40, 4\], but"),
    "high label": (
        {"label": np.where(np.arange(M) == 7, 4, 0)},
        r"the label at position 7 is 4, outside 0\.\.3: labels are class numbers in the order of the data set's 4",
    ),
    "low label": ({"label": np.where(np.arange(M) == 9, -1, 0)}, r"the label at position 9 is -1, outside 0\.\.3"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_with_the_fix(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = written(tmp_path / "more.npz", **changes)
    with pytest.raises(UserError, match=rf"data\.extra=.*more\.npz: {message}"):
        opened(path)


def test_files_that_are_no_archives_of_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "more.npz"
    with pytest.raises(UserError, match=r"more\.npz: there is no such file \(seen from "):
        opened(path)
    with pytest.raises(UserError, match="there is no such file"):
        opened(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"is no \.npz file, or cut off: expected are image"):
        opened(path)
    np.save(tmp_path / "one.npy", arrays()["image"])
    with pytest.raises(UserError, match=r"is no \.npz file"):
        opened(tmp_path / "one.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"no array")
    with pytest.raises(UserError, match=r"cannot be read \(.*magic string.*\): copy or download it again"):
        opened(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"nothing here")
    with pytest.raises(UserError, match=r"has no array 'image'; it holds readme\.txt"):
        opened(path)


def test_inputs_that_are_no_images_take_no_extra_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"extra samples are images, but the data set's inputs have shape \[90\]"):
        opened(written(tmp_path / "more.npz"), shape=(90,))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_is_noticed_wherever_it_is(tmp_path: Path, save: Callable[..., None]) -> None:
    path = written(tmp_path / "more.npz", save)
    whole = path.read_bytes()
    image, label = arrays().values()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            extra = opened(path)
            x = extra.load(torch.arange(len(extra)))
        except UserError as error:
            assert "more.npz" in str(error)  # noqa: PT017
            continue
        # What is not noticed has changed nothing, such as a date in the archive.
        assert extra.labels.tolist() == label.tolist()
        assert np.array_equal(x.numpy().transpose(0, 2, 3, 1), image)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"is no \.npz file, or cut off"):
        opened(path)


@pytest.mark.parametrize("rows", [M + 1, M - 1])
def test_rows_that_are_not_as_many_as_said_are_refused(tmp_path: Path, rows: int) -> None:
    image, label = arrays().values()
    np.savez(tmp_path / "right.npz", image=image, label=np.resize(label, rows))
    with (
        zipfile.ZipFile(tmp_path / "right.npz") as source,
        zipfile.ZipFile(tmp_path / "more.npz", "w") as archive,
    ):
        for name in source.namelist():
            archive.writestr(name, source.read(name).replace(b"(40, 6, 5, 3)", f"({rows}, 6, 5, 3)".encode()))
    with pytest.raises(UserError, match=rf"image claims [\d,]+ bytes, shape \[{rows}, 6, 5, 3\]"):
        opened(tmp_path / "more.npz")


HEADERS = {
    "keys": "{b'descr': '|u1', 1: False, 'shape': (1, 0)}",
    "signs": f"{{'descr': '|u1', 'fortran_order': False, 'shape': {'-' * 9000}1}}",
    "digits": f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({'9' * 4000}, 0)}}",
    "below zero": "{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -32)}",
    "dimensions": f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({'0, ' * 1000})}}",
    "type": "{'descr': [('a', {}), 1], 'fortran_order': False, 'shape': (1, 0)}",
    "text": "(" * 300,
    "length": "x" * 20_000,
}


def headed(path: Path, header: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    return path


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_describes_no_array_is_one_short_line(tmp_path: Path, name: str) -> None:
    path = headed(tmp_path / "more.npz", HEADERS[name])
    with pytest.raises(UserError, match=r"more\.npz: cannot be read \(the header ") as error:
        opened(path)
    assert len(str(error.value)) < len(str(path)) + 200
    assert "\n" not in str(error.value)


def test_a_long_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "more.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", b"\x93NUMPY\x02\x00" + (50_000_000).to_bytes(4, "little") + bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"the header claims 50,000,000 bytes"):
            opened(tmp_path / "more.npz")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_member_that_is_named_without_npy_is_no_array(tmp_path: Path) -> None:
    path = written(tmp_path / "right.npz")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "more.npz", "w") as archive:
        archive.writestr("image", source.read("image.npy"))
        archive.writestr("label.npy", source.read("label.npy"))
    with pytest.raises(UserError, match=r"has no array 'image'; it holds label, image \(not \.npy\): expected"):
        opened(tmp_path / "more.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_one_line_whatever_the_packing(tmp_path: Path, method: int) -> None:
    path = written(tmp_path / "right.npz")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "more.npz", "w", method) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    whole = (tmp_path / "more.npz").read_bytes()
    start = 30 + len("image.npy")
    for place in (start, start + 4, start + 9, start + 40):
        damaged = whole[:place] + b"\xff" * 20 + whole[place + 20 :]
        (tmp_path / "more.npz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"more\.npz: cannot be read \(") as error:
            opened(tmp_path / "more.npz").load(torch.arange(M))
        assert "\n" not in str(error.value)


def lying(path: Path, *, shape: tuple[int, ...], content: bytes, dtype: str = "|u1") -> Path:
    """A file with a header of `image` of this shape, whatever follows it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", header.getvalue() + content)
        label = io.BytesIO()
        np.save(label, np.zeros(shape[0] if shape[0] < 1000 else 1, dtype=np.int64))
        archive.writestr("label.npy", label.getvalue())
    return path


@pytest.mark.parametrize("shape", [(10**9, 6, 5, 3), (2**40, 6, 5, 3), (2**62, 2**62, 5, 3)])
def test_a_small_file_with_a_header_that_claims_much_is_refused_before_memory_is_taken(
    tmp_path: Path, shape: Any
) -> None:
    path = lying(tmp_path / "more.npz", shape=shape, content=bytes(1_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"image claims [\d,]+ bytes, .* and the file holds 1,000,000 of it"):
            opened(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_part_that_unpacks_to_more_than_its_packing_can_is_refused(tmp_path: Path) -> None:
    path = lying(tmp_path / "more.npz", shape=(10**9, 6, 5, 3), content=b"")
    content, claimed = path.read_bytes(), (90 * 10**9).to_bytes(8, "little")[:4]
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("image.npy").file_size.to_bytes(4, "little")
    path.write_bytes(content.replace(size, claimed))  # in both headers of the part
    with pytest.raises(UserError, match=r"image\.npy claims [\d,]+ bytes in \d+ packed ones"):
        opened(path)
