"""Corrected labels: what a table of decisions changes in each kind of data, and what is refused with file and row."""

import io
import pickle
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from iaat.data import DataConfig, DataSplits, build_data, read_dataset_info
from iaat.data.check_data import check_all_samples
from iaat.data.decisions_file import read_decisions
from iaat.data.given_data import GivenData
from iaat.data.source import Source
from iaat.errors import UserError
from iaat.runtime.user_code import GIVEN

HEADER = "index,path,label,new_label,decision"
Folder = Callable[..., Path]


def write(tmp_path: Path, *rows: str, header: str = HEADER) -> str:
    file = tmp_path / "relabel.csv"
    file.write_text("".join(f"{row}\n" for row in (header, *rows)), encoding="utf-8")
    return str(file)


def built(config: DataConfig) -> DataSplits:
    return build_data(config, seed=0)


def batch_labels(source: Source, index: torch.Tensor) -> list[int]:
    return [int(y) for batch in source.batches([index]) for y in batch.y]


def lines(data: DataSplits) -> list[str]:
    return [notice.line() for notice in data.notices() if notice.kind == "relabelled"]


def test_digits_change_their_label_where_a_row_says_relabel_and_nowhere_else(tmp_path: Path) -> None:
    plain = built(DataConfig())
    labels = plain.train.labels
    first, second, third = plain.train_index[[0, 50, 100]].tolist()
    held = int(plain.validation_index[0])
    new = (labels + 3) % 10
    rows = [
        f"{at},,{labels[at]},{new[at]},{word}"
        for at, word in zip([first, second, third, held], ["relabel", "keep", "unsure", "relabel"], strict=True)
    ]
    file = write(tmp_path, *rows, f"{int(plain.train_index[7])},,{labels[plain.train_index[7]]},,")
    data = built(DataConfig(relabel=file))
    expected = labels.clone()
    expected[first], expected[held] = new[first], new[held]
    assert data.train.labels.tolist() == expected.tolist()
    assert batch_labels(data.train, data.train_index) == expected[data.train_index].tolist()
    assert data.test.labels.tolist() == plain.test.labels.tolist()
    assert data.test.fingerprint == plain.test.fingerprint
    assert data.train.fingerprint != plain.train.fingerprint
    for part in ("train_index", "validation_index", "test_index", "mean", "std"):
        assert torch.equal(getattr(data, part), getattr(plain, part))
    assert lines(data) == [
        f"data.relabel={file}: 2 of 5 rows change a label (training 1, validation 1): the labels of the others stay as"
        " they are"
    ]


def test_of_classes_that_share_a_name_a_number_is_asked_for(tmp_path: Path) -> None:
    data: Any = TensorDataset(torch.rand(40, 3), torch.arange(40) % 4)
    data.classes, data.targets = ["crane", "dog", "crane", "owl"], data.tensors[1]

    def labels(*rows: str) -> list[int]:
        config = DataConfig(name=GIVEN, given=GivenData(data), relabel=write(tmp_path, *rows))
        return built(config).train.labels[:4].tolist()

    assert labels("1,,dog,2,relabel", "0,,crane,owl,relabel", "2,,crane,,keep") == [3, 2, 2, 3]
    message = r"row 2: new_label is 'crane', which is the name of the classes 0, 2: give the number"
    with pytest.raises(UserError, match=message):
        labels("1,,dog,crane,relabel")
    with pytest.raises(UserError, match=r"row 2: label is 'crane', which is the name of the classes 0, 2"):
        labels("1,,crane,dog,relabel")


def test_a_limit_leaves_samples_out_and_the_count_says_so(tmp_path: Path) -> None:
    plain = built(DataConfig(limit=100))
    used = set(plain.train_index.tolist()) | set(plain.validation_index.tolist())
    left = next(at for at in range(1000) if at not in used)
    label = int(plain.train.labels[left])
    data = built(DataConfig(limit=100, relabel=write(tmp_path, f"{left},,{label},{(label + 1) % 10},relabel")))
    assert "1 of 1 rows changes a label (left out by data.limit 1)" in lines(data)[0]


@pytest.mark.parametrize("stream", [False, True])
def test_image_files_are_found_by_path_in_memory_and_streamed(
    tmp_path: Path, make_folder: Folder, stream: bool
) -> None:
    root = make_folder(classes=("cat", "dog", "owl"))
    file = write(
        tmp_path,
        "train/cat/001.png,cat,owl,relabel",
        "train/owl/004.png,owl,,keep",
        header="path,label,new_label,decision",
    )
    data = built(DataConfig(name="folder", root=str(root), relabel=file, stream=stream, size=4))
    everything = torch.cat([data.train_index, data.validation_index]).sort().values
    found = {}
    for batch in data.train.batches([everything], augment=(0, 1)):
        for x, y in zip(batch.x, batch.y.tolist(), strict=True):
            red, green = (round(255 * float(x[channel].mean())) for channel in (0, 1))
            found[red // 10, green] = y
    # The colours say where an image comes from: red 10 * class + 1, green its number.
    assert found == {
        (kind, number): 2 if (kind, number) == (0, 1) else kind for kind in range(3) for number in range(5)
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_by_worker_processes(tmp_path: Path, make_folder: Folder, workers: int) -> None:
    file = write(tmp_path, "3,train/cat/003.png,0,1,relabel")
    data = built(DataConfig(name="folder", root=str(make_folder()), relabel=file, stream=True, workers=workers))
    assert batch_labels(data.train, torch.arange(10)) == [0, 0, 0, 1, 0, 1, 1, 1, 1, 1]


def test_a_webdataset_is_found_by_shard_and_key(tmp_path: Path) -> None:
    pixels = io.BytesIO()
    Image.new("RGB", (6, 6)).save(pixels, "png")
    for split in ("train", "test"):
        (tmp_path / "shards" / split).mkdir(parents=True)
        with tarfile.open(tmp_path / "shards" / split / "000.tar", "w") as tar:
            for key in range(8):
                for name, content in ((f"{key}.cls", b"%d" % (key % 2)), (f"{key}.png", pixels.getvalue())):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    config = DataConfig(name="webdataset", root=str(tmp_path / "shards"))
    paths = built(config).train.paths
    assert paths is not None
    for stream in (False, True):
        file = write(tmp_path, f",{paths[5]},1,0,relabel", f"2,{paths[2]},0,1,relabel")
        data = built(DataConfig(name="webdataset", root=str(tmp_path / "shards"), relabel=file, stream=stream))
        assert batch_labels(data.train, torch.arange(8)) == [0, 1, 1, 1, 0, 0, 0, 1]


class Items(Dataset[tuple[torch.Tensor, int]]):
    """Items without a list of labels: each is read for its own."""

    classes = ("a", "b")

    def __len__(self) -> int:
        return 20

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        return torch.full((1, 4, 4), position / 20), position % 2


@pytest.mark.parametrize("stream", [False, True])
def test_python_data_keeps_its_own_labels(tmp_path: Path, stream: bool) -> None:
    items = Items()
    file = write(tmp_path, "4,,a,b,relabel")
    data = built(DataConfig(name=GIVEN, given=GivenData(items), relabel=file, stream=stream))
    expected = [position % 2 for position in range(20)]
    expected[4] = 1
    assert batch_labels(data.train, torch.arange(20)) == expected
    assert items[4][1] == 0


def test_packed_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    source = np.random.default_rng(0)
    for name in names:
        content = {"data": source.integers(0, 256, (20, 3072), dtype=np.uint8), "labels": [k % 10 for k in range(20)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"c{k}" for k in range(10)]}))
    config: dict[str, Any] = {"name": "cifar10", "root": str(tmp_path), "download": False}
    plain = built(DataConfig(**config))
    data = built(DataConfig(**config, relabel=write(tmp_path, "17,,7,0,relabel")))
    assert (data.train.labels != plain.train.labels).nonzero().flatten().tolist() == [17]


def test_classes_are_names_first_and_numbers_else(tmp_path: Path, make_folder: Folder) -> None:
    # Sorted as text, so class "10" is number 0 and class "2" number 1.
    root = str(make_folder(classes=("10", "2", "x")))
    data = built(DataConfig(name="folder", root=root, relabel=write(tmp_path, "0,,10,2,relabel", "5,,2,0,relabel")))
    assert data.train.labels.tolist()[:6] == [1, 0, 0, 0, 0, 0]


def test_what_the_page_writes_for_spreadsheets_is_read(tmp_path: Path, make_folder: Folder) -> None:
    root = str(make_folder(classes=("=cat()", "+1", "a, b")))
    classes = built(DataConfig(name="folder", root=root)).classes
    assert classes == ("+1", "=cat()", "a, b")
    text = f"\ufeff{HEADER}\r\n" + "0,,'+1,'=cat(),relabel\r\n\r\n" + '10,,"a, b",+1,relabel\r\n'
    (tmp_path / "relabel.csv").write_bytes(text.encode())
    data = built(DataConfig(name="folder", root=root, relabel=str(tmp_path / "relabel.csv")))
    assert data.train.labels.tolist() == [1, *[0] * 4, *[1] * 5, 0, *[2] * 4]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_of_other_spreadsheets(tmp_path: Path, delimiter: str) -> None:
    file = write(
        tmp_path,
        "rank,17,0,dog, Relabel ".replace(",", delimiter).replace("rank", "1"),
        header="Rank,Index,Label,New_label,Decision".replace(",", delimiter),
    )
    (row,) = read_decisions(Path(file))
    assert (row.index, row.label, row.new_label, row.decision) == ("17", "0", "dog", "relabel")


def test_a_second_round_of_review_goes_on_where_the_first_one_ended(tmp_path: Path, make_folder: Folder) -> None:
    root = str(make_folder(classes=("cat", "dog", "owl")))
    file = write(tmp_path, "0,,cat,dog,relabel", "1,,cat,dog,relabel", "0,,dog,owl,relabel", "1,,dog,cat,relabel")
    data = built(DataConfig(name="folder", root=root, relabel=file))
    assert data.train.labels.tolist()[:2] == [2, 0]
    # What comes back to the label that is stored is no change.
    assert "1 of 4 rows changes a label" in lines(data)[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["99,,cat,dog,relabel"], "row 2: index is '99', but the samples of .* are 0 to 9: remove the row"),
        (["-1,,cat,dog,relabel"], "row 2: index is '-1', but the samples of"),
        (["1.5,,cat,dog,relabel"], "row 2: index is '1.5', but the samples of"),
        ([",,cat,dog,relabel"], "row 2: neither index nor path names a sample"),
        ([",train/cat/01.png,cat,dog,relabel"], r"there is no file 'train/cat/01.png' \(did you mean 'train/cat/0"),
        (["2,train/cat/001.png,cat,dog,relabel"], "row 2: 'train/cat/001.png' is sample 1 here, not '2'"),
        (["1,,cat,bird,relabel"], "row 2: new_label is 'bird', which is no class: give one of cat, dog"),
        (["1,,cat,7,relabel"], "row 2: new_label is '7', which is no class"),
        (["1,,Cat,dog,relabel"], r"row 2: label is 'Cat', which is no class: .* \(did you mean 'cat'\?\)"),
        (["1,,dog,cat,relabel"], r"row 2: label is 'dog', but train/cat/001.png \(1\) has the label 'cat'"),
        (["1,,dog,,keep"], "row 2: label is 'dog', but"),
        (["1,,cat,,relabel"], "row 2: decision is relabel, but new_label is empty"),
        (["1,,cat,cat,relabel"], "row 2: new_label is 'cat', as label: write keep"),
        (["1,,cat,dog,relable"], r"row 2: decision is 'relable': .* \(did you mean 'relabel'\?\)"),
        (["0,,cat,,keep", "1,,cat,,keep", "0,,cat,dog,relabel"], r"row 4: .* \(0\) has a row already, row 2"),
        (["1,,cat,dog,relabel", "1,,cat,dog,relabel"], "row 3: label is 'cat', but .* has the label 'dog'"),
        (["1,,cat,dog"], "row 2 has 4 values for 5 columns"),
        (["1,,cat,dog,relabel,more"], "row 2 has 6 values for 5 columns"),
        (['1,,"cat,dog,relabel'], "line 2 is no CSV"),
        ([f"{number},,cat,dog,relabel" for number in range(5)], "corrected labels: no samples of class 'cat'"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(
    tmp_path: Path, make_folder: Folder, rows: Sequence[str], message: str
) -> None:
    root, file = str(make_folder()), write(tmp_path, *rows)
    with pytest.raises(UserError, match=message) as caught:
        built(DataConfig(name="folder", root=root, relabel=file))
    assert str(caught.value).startswith(f"data.relabel={file}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty: expected are columns label, new_label, decision and index or path"),
        (b"\xef\xbb\xbf\r\n\r\n", "the file is empty"),
        (b"17,cat,dog,relabel\n", "row 1 has no column label, but '17,cat,dog,relabel'"),
        (b"index,label,new_lable,decision\n", r"no column new_label, .* \(did you mean 'new_lable'"),
        (b"label,new_label,decision\n", "row 1 has neither a column index nor path"),
        (b"index,label,label,new_label,decision\n", "row 1 has the column label twice"),
        (f"{HEADER}\n1,,café,dog,relabel\n".encode("latin-1"), "row 2 is not in UTF-8 .byte 0xe9.: save it as CSV in"),
        (f"{HEADER}\n".encode("utf-16"), "row 1 is not in UTF-8 .byte 0xff."),
        (f"{HEADER}\n1,,c\0at,dog,relabel\n".encode(), "row 2 holds zero bytes"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00", "is empty|no column|no CSV|zero bytes"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "relabel.csv"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        built(DataConfig(relabel=str(file)))
    assert str(caught.value).startswith(f"data.relabel={file}: ")
    assert "\n" not in str(caught.value)


def test_a_table_without_rows_changes_nothing_and_says_so(tmp_path: Path) -> None:
    data = built(DataConfig(relabel=write(tmp_path)))
    assert data.train.fingerprint == built(DataConfig()).train.fingerprint
    assert "0 of 0 rows change a label" in lines(data)[0]


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"data.relabel={tmp_path / 'none.csv'}: there is no such file")):
        built(DataConfig(relabel=str(tmp_path / "none.csv")))
    with pytest.raises(UserError, match="cannot be read"):
        built(DataConfig(relabel=str(tmp_path)))


def test_a_validation_folder_is_left_as_it_is(tmp_path: Path) -> None:
    def tensors(count: int) -> TensorDataset:
        data = TensorDataset(torch.rand(count, 1, 4, 4), torch.arange(count) % 2)
        data.targets = data.tensors[1]  # type: ignore[attr-defined]
        return data

    given = GivenData(tensors(10), tensors(6))
    with pytest.raises(UserError, match=r"row 2: sample 12 is of the separate validation data, which data\.relabel"):
        built(DataConfig(name=GIVEN, given=given, relabel=write(tmp_path, "12,,0,1,relabel")))


def test_check_counts_the_rows_and_reads_every_sample(tmp_path: Path, make_folder: Folder) -> None:
    file = write(tmp_path, "1,,cat,dog,relabel", "2,,cat,,keep")
    config = DataConfig(name="folder", root=str(make_folder()), relabel=file)
    assert "1 of 2 rows changes a label" in next(
        notice.line() for notice in read_dataset_info(config).notices if notice.kind == "relabelled"
    )
    assert not check_all_samples(config, lambda batches, _size, _name: batches).faulty


def test_twins_are_compared_by_their_corrected_labels(tmp_path: Path) -> None:
    x = torch.rand(12, 1, 4, 4)
    x[1] = x[0]
    y = torch.arange(12) % 2
    data = TensorDataset(x, y)
    data.targets = y  # type: ignore[attr-defined]
    config: dict[str, Any] = {"name": GIVEN, "given": GivenData(data)}
    kinds = Counter(notice.kind for notice in built(DataConfig(**config)).notices())
    assert kinds["twins"]
    corrected = built(DataConfig(**config, relabel=write(tmp_path, "1,,1,0,relabel")))
    assert not Counter(notice.kind for notice in corrected.notices())["twins"]
