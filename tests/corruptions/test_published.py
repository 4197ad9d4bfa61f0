"""Readers of published sets: what was written comes back, and each kind of damage is named."""

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from iaat.corruptions import find_published, label_map
from iaat.corruptions.cifar_classes import CIFAR10, CIFAR100
from iaat.errors import UserError

N = 6


def cifar(folder, names=("fog", "gaussian_noise"), classes=10):
    """A small CIFAR-C: labels that are the same in each block of severities, as published."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, (5 * N, 32, 32, 3), dtype=np.uint8) for name in names}
    labels = np.tile([classes - 1, 0, 3, 1, 2, 5], 5).astype(np.uint8)
    folder.mkdir(exist_ok=True)
    for name, array in {**arrays, "labels": labels}.items():
        np.save(folder / f"{name}.npy", array)
    return arrays, labels


def imagenet(folder, names=("fog", "snow"), severities=(1, 2, 3, 4, 5), classes=("n01", "n02"), size=(9, 12)):
    """A small ImageNet-C in PNG files, so that pixels come back exactly; returns them by condition."""
    rng, pixels = np.random.default_rng(0), {}
    for name in names:
        for severity in severities:
            for label in classes:
                for number in range(3):
                    path = folder / name / str(severity) / label / f"val_{number}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                    Image.fromarray(image).save(path)
                    pixels.setdefault((Path(name).name, severity), []).append(image)
    return pixels


# CIFAR-C


def test_arrays_come_back_by_name_severity_and_place(tmp_path):
    arrays, labels = cifar(tmp_path)
    found = find_published(tmp_path)
    assert (found.kind, found.names, found.severities) == ("cifar", ("gaussian_noise", "fog"), (1, 2, 3, 4, 5))
    index = torch.tensor([4, 0, 4])
    for name in found.names:
        for severity in found.severities:
            assert found.size(name, severity) == N
            images = found.images(name, severity, index)
            block = arrays[name][(severity - 1) * N : severity * N]
            assert images.dtype == torch.float32
            np.testing.assert_array_equal((images * 255).round().numpy(), block[index.numpy()].transpose(0, 3, 1, 2))
            assert found.labels(name, severity).tolist() == labels[:N].tolist()
    assert found.images("fog", 1, torch.arange(0)).shape == (0, 3, 32, 32)


def test_what_macos_leaves_beside_arrays_is_none(tmp_path):
    (tmp_path / "c").mkdir()
    for name in ("._fog.npy", "._labels.npy", ".DS_Store"):
        (tmp_path / "c" / name).write_bytes(b"Mac OS X")
    with pytest.raises(UserError, match="holds no published corrupted images"):
        find_published(tmp_path / "c")
    cifar(tmp_path / "c")
    assert find_published(tmp_path / "c").names == ("gaussian_noise", "fog")


def test_the_labels_of_each_severity_are_those_of_its_block(tmp_path):
    cifar(tmp_path)
    labels = np.arange(5 * N) % 7
    np.save(tmp_path / "labels.npy", labels)
    for severity in range(1, 6):
        expected = labels[(severity - 1) * N : severity * N]
        assert find_published(tmp_path).labels("fog", severity).tolist() == expected.tolist()


def test_classes_are_matched_by_name_whatever_their_order(tmp_path):
    cifar(tmp_path)
    found = find_published(tmp_path)
    assert found.classes == CIFAR10
    assert label_map(found, CIFAR10).tolist() == list(range(10))
    order = CIFAR10[::-1]
    labels = label_map(found, order)[found.labels("fog", 1)]
    assert [order[label] for label in labels] == [CIFAR10[label] for label in found.labels("fog", 1)]


def test_a_hundred_classes_are_those_of_cifar100(tmp_path):
    cifar(tmp_path, classes=100)
    assert find_published(tmp_path).classes == CIFAR100
    assert len(set(CIFAR100)) == 100
    assert list(CIFAR100) == sorted(CIFAR100)


def test_other_classes_are_refused_by_name(tmp_path):
    cifar(tmp_path)
    names = [*CIFAR10[:-1], "trucks"]
    with pytest.raises(UserError, match=r"only there 'truck'; only in the data 'trucks' \(did you mean 'trucks'"):
        label_map(find_published(tmp_path), names)
    with pytest.raises(UserError, match="only there 'bird'"):
        label_map(find_published(tmp_path), [name for name in CIFAR10 if name != "bird"])


def test_without_names_the_number_of_classes_must_do(tmp_path):
    cifar(tmp_path, classes=43)
    found = find_published(tmp_path)
    assert found.classes is None
    assert label_map(found, [str(number) for number in range(43)]).tolist() == list(range(43))
    with pytest.raises(UserError, match="labels up to 42, the data only 42 classes"):
        label_map(found, [str(number) for number in range(42)])


def save(folder, name, array):
    np.save(folder / name, array)


def headed(file, header):
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("code of a file ran",))


IMAGES = np.zeros((5 * N, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda f: (f / "labels.npy").unlink(), r"labels\.npy is missing", id="no labels"),
        pytest.param(lambda f: save(f, "fog.npy", IMAGES.astype(np.float32)), r"fog\.npy.*float32.*uint8", id="dtype"),
        pytest.param(lambda f: save(f, "fog.npy", IMAGES[..., 0]), r"fog\.npy has shape \[30, 32, 32\]", id="rank"),
        pytest.param(
            lambda f: save(f, "fog.npy", IMAGES.transpose(0, 3, 1, 2)), r"shape \[30, 3, 32, 32\]", id="channels first"
        ),
        pytest.param(
            lambda f: save(f, "fog.npy", IMAGES[:-1]), r"fog\.npy holds 29 images.*multiple of 5", id="not 5N"
        ),
        pytest.param(lambda f: save(f, "fog.npy", IMAGES[:-5]), r"25 images, labels\.npy 30", id="not the labels'"),
        pytest.param(lambda f: save(f, "fog.npy", IMAGES[:, :16]), "different shapes", id="two sizes"),
        pytest.param(lambda f: save(f, "labels.npy", np.zeros(29, int)), r"29 labels.*multiple of 5", id="labels 5N"),
        pytest.param(lambda f: save(f, "labels.npy", np.zeros(30)), r"labels\.npy.*float64", id="labels float"),
        pytest.param(lambda f: save(f, "labels.npy", np.zeros((30, 1), int)), r"shape \[30, 1\]", id="labels rank"),
        pytest.param(lambda f: save(f, "labels.npy", np.full(30, -1)), "negative", id="labels negative"),
        pytest.param(lambda f: (f / "fog.npy").write_bytes(pickle.dumps(Evil())), r"fog\.npy is no plain", id="pickle"),
        pytest.param(
            lambda f: np.save(f / "fog.npy", np.array([Evil()]), allow_pickle=True), "could run code", id="objects"
        ),
        pytest.param(
            lambda f: (f / "fog.npy").write_bytes((f / "fog.npy").read_bytes()[:5000]),
            r"fog\.npy is no",
            id="cut short",
        ),
        pytest.param(lambda f: headed(f / "fog.npy", "{b'descr': 1}"), r"fog\.npy is no plain", id="keys of a header"),
        pytest.param(lambda f: headed(f / "fog.npy", "-" * 9000 + "1"), r"fog\.npy is no plain", id="signs"),
        pytest.param(lambda f: (f / "fog.npy").write_bytes(b""), r"fog\.npy is no plain", id="empty"),
        pytest.param(lambda f: [p.unlink() for p in f.glob("*[ge].npy")], "no images: put", id="labels alone"),
    ],
)
def test_damaged_arrays_are_refused_by_name(tmp_path, damage, message):
    cifar(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        find_published(tmp_path)


@pytest.mark.parametrize("name", ["fog", "labels"])
def test_an_array_with_a_header_that_claims_gigabytes_is_refused_before_memory_is_taken(tmp_path, name):
    cifar(tmp_path)
    shape = (10**9, 32, 32, 3) if name == "fog" else (5 * 10**11,)
    with (tmp_path / f"{name}.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.write(bytes(1_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"{name}\.npy is no plain"):
            find_published(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_an_archive_under_the_name_of_an_array_is_refused(tmp_path):
    cifar(tmp_path)
    np.savez(tmp_path / "fog.npz", IMAGES)
    (tmp_path / "fog.npz").replace(tmp_path / "fog.npy")
    with pytest.raises(UserError, match="archive of arrays"):
        find_published(tmp_path)


# ImageNet-C


def test_folders_come_back_by_name_severity_and_place(tmp_path):
    pixels = imagenet(tmp_path)
    found = find_published(tmp_path)
    assert (found.kind, found.names, found.severities) == ("imagenet", ("snow", "fog"), (1, 2, 3, 4, 5))
    assert found.classes == ("n01", "n02")
    for name in found.names:
        for severity in found.severities:
            assert found.size(name, severity) == 6
            assert found.labels(name, severity).tolist() == [0, 0, 0, 1, 1, 1]
            images = found.images(name, severity, torch.tensor([5, 0]))
            expected = np.stack([pixels[name, severity][place] for place in (5, 0)]).transpose(0, 3, 1, 2)
            np.testing.assert_array_equal((images * 255).round().numpy(), expected)
    assert found.paths("fog", 2)[4] == tmp_path / "fog" / "2" / "n02" / "val_1.png"


def test_corruptions_may_lie_in_folders_of_their_kind_and_severities_may_lack(tmp_path):
    imagenet(tmp_path, names=("weather/fog", "weather/snow", "noise/shot_noise"), severities=(2, 5))
    found = find_published(tmp_path)
    assert (found.names, found.severities) == (("shot_noise", "snow", "fog"), (2, 5))
    assert found.size("fog", 5) == 6


def test_classes_of_folders_are_matched_by_name(tmp_path):
    imagenet(tmp_path)
    found = find_published(tmp_path)
    assert label_map(found, ["n02", "n01"]).tolist() == [1, 0]
    with pytest.raises(UserError, match="only in the data 'n03'"):
        label_map(found, ["n01", "n02", "n03"])


def test_files_that_are_no_images_and_hidden_ones_do_not_count(tmp_path):
    imagenet(tmp_path)
    (tmp_path / "fog" / "1" / "n01" / "notes.txt").write_text("x")
    (tmp_path / "fog" / "1" / "n01" / "._val_0.png").write_text("x")
    (tmp_path / "fog" / ".cache").mkdir()
    assert find_published(tmp_path).size("fog", 1) == 6


def test_what_is_left_out_of_the_folders_is_counted(tmp_path):
    imagenet(tmp_path, names=("fog",), severities=(1,))
    (tmp_path / "fog/1/n01/notes.txt").write_text("no image")
    (tmp_path / "fog/1/n01/.hidden.jpeg").write_bytes(b"?")
    published = find_published(tmp_path)
    size = published.size("fog", 1)
    assert size == len(published.labels("fog", 1))
    counted = {notice.kind: (notice.count, notice.details) for notice in published.notices}
    assert counted == {"other": (1, {".txt": 1}), "hidden": (1, {})}


def test_class_names_match_in_either_unicode_form(tmp_path):
    imagenet(tmp_path, names=("fog",), severities=(1,), classes=("e\u0301t\u0301", "f"))
    assert label_map(find_published(tmp_path), ("f", "\u00e9t\u0301")).tolist() == [1, 0]


def test_an_unexpected_severity_is_refused(tmp_path):
    imagenet(tmp_path)
    (tmp_path / "fog" / "6").mkdir()
    with pytest.raises(UserError, match=r"fog holds the folder '6'.*1 to 5"):
        find_published(tmp_path)


def test_corruptions_of_different_severities_are_refused(tmp_path):
    imagenet(tmp_path)
    imagenet(tmp_path, names=("frost",), severities=(1, 2))
    with pytest.raises(UserError, match=r"frost has severities \[1, 2\], snow has \[1, 2, 3, 4, 5\]|snow.*frost"):
        find_published(tmp_path)


def test_a_class_missing_from_one_condition_is_refused(tmp_path):
    imagenet(tmp_path)
    for file in (tmp_path / "fog" / "3" / "n02").iterdir():
        file.unlink()
    (tmp_path / "fog" / "3" / "n02").rmdir()
    with pytest.raises(UserError, match=r"fog.3 .*'n02'"):
        find_published(tmp_path)


def test_an_image_missing_from_one_condition_is_refused(tmp_path):
    imagenet(tmp_path)
    (tmp_path / "fog" / "3" / "n02" / "val_1.png").unlink()
    found = find_published(tmp_path)
    assert found.size("snow", 1) == 6
    with pytest.raises(UserError, match=r"fog/3 and snow/1 .*n02/val_1\.png"):
        found.size("fog", 3)


def test_a_damaged_image_and_one_of_another_size_are_named(tmp_path):
    imagenet(tmp_path)
    found = find_published(tmp_path)
    paths = found.paths("fog", 1)
    paths[2].write_bytes(b"no image")
    Image.new("RGB", (5, 7)).save(paths[3])
    with pytest.raises(UserError, match=r"val_2\.png: cannot be read as an image"):
        found.images("fog", 1, torch.tensor([2]))
    with pytest.raises(UserError, match=r"val_0\.png has 7 x 5 pixels, .*9 x 12"):
        found.images("fog", 1, torch.tensor([0, 3]))


# Both


def test_a_folder_of_neither_format_is_refused(tmp_path):
    (tmp_path / "cats").mkdir()
    with pytest.raises(UserError, match=r"holds no published.*NAME\.npy.*NAME/SEVERITY/CLASS"):
        find_published(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        find_published(tmp_path / "nowhere")


@pytest.mark.parametrize("make", [cifar, imagenet])
def test_requests_for_what_is_not_there_are_refused(tmp_path, make):
    make(tmp_path)
    found = find_published(tmp_path)
    with pytest.raises(UserError, match=r"corruption 'fogs' is not known \(did you mean 'fog'"):
        found.size("fogs", 1)
    with pytest.raises(UserError, match="no severity 6"):
        found.labels("fog", 6)
    for index in ([6], [-1]):
        with pytest.raises(UserError, match="samples 0 to 5"):
            found.images("fog", 1, torch.tensor(index))
    with pytest.raises(UserError, match="index has shape"):
        found.images("fog", 1, torch.tensor([True]))
