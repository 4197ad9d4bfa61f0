"""A recipe file writes nowhere but into its run folder, shows nothing of other files, and asks for nothing absurd."""

import io
import tarfile
from pathlib import Path

import pytest
import yaml
from PIL import Image
from torchvision import datasets

from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.data import build_data
from iaat.errors import UserError
from iaat.experiments.sweep import read_cells
from iaat.models import build_model
from iaat.runs.run_folder import RunFolder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, content):
    Path(name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return name


def mine(**sections):
    return write("mine.yaml", {"extends": "quickstart", **sections})


RADII = {"train": {"radii_folder": "/tmp/elsewhere"}}


def test_a_file_may_not_say_where_radii_are_mapped(folder):
    path = mine(**RADII)
    write("child.yaml", {"extends": "mine.yaml"})
    for name in (path, "child.yaml"):
        with pytest.raises(UserError, match=r"radii_folder is '/tmp/elsewhere'.* type --train\.radii_folder /tmp/else"):
            load_recipe(name)
    sweep = write("sweep.yaml", {"cells": {"a": {"recipe": "quickstart", "set": {"train.radii_folder": "/tmp/x"}}}})
    with pytest.raises(UserError, match="may not choose where is written"):
        read_cells([sweep])
    assert load_recipe(path, ["--train.radii_folder=typed"]).train.radii_folder == "typed"
    (cell,) = read_cells([sweep], ["--train.radii_folder=typed"])
    assert cell.recipe.train.radii_folder == "typed"


FAST = [
    *("--data.limit", "60", "--train.epochs", "1", "--train.validation_steps", "1", "--train.validation_n", "5"),
    *("--evaluate.steps", "1", "--evaluate.n", "10", "--quiet"),
]


def test_a_run_with_a_typed_folder_is_resumed_and_evaluated_from_its_own_recipe(folder):
    words = ["train", "quickstart", "--train.radii_folder", "mapped", "--out", "run", *FAST]
    assert main(words) == 0
    assert RunFolder(folder / "run").recipe().train.radii_folder == "mapped"
    assert main([*words, "--resume"]) == 0
    assert main(["evaluate", "run", "--evaluate.steps", "2", "--quiet"]) == 0
    assert main(["radii", "run", "--quiet"]) == 0
    # As the recipe of another run it is a file like any.
    assert main(["train", "run/recipe.yaml", "--out", "other", *FAST]) == 2


@pytest.fixture
def downloads(monkeypatch):
    """Roots that torchvision was asked to download into."""
    asked = []

    def make(root, *, download, **_choice):
        asked.extend([root] if download else [])
        raise RuntimeError("Dataset not found or corrupted.")

    monkeypatch.setattr(datasets, "CIFAR10", make)
    return asked


@pytest.mark.parametrize("data", [{}, {"download": True}])
def test_nothing_is_downloaded_into_a_root_that_a_file_names(folder, downloads, data):
    path = mine(data={"name": "cifar10", "root": "/tmp/elsewhere", **data})
    sweep = write("sweep.yaml", {"cells": {"a": {"recipe": "quickstart", "set": {"data.root": "/tmp/x"}}}})
    (cell,) = read_cells([sweep], ["--data.name=cifar10"])
    for recipe in (load_recipe(path), cell.recipe):
        with pytest.raises(UserError, match=r"a file names data\.root: type --data\.download true"):
            build_data(recipe.data, seed=0)
    assert downloads == []
    for words in (["--data.root=typed"], ["--data.download", "true"], ["--data.root", "null"]):
        with pytest.raises(UserError, match="could not be downloaded"):
            build_data(load_recipe(path, words).data, seed=0)
    assert downloads == ["typed", "/tmp/elsewhere", "data"]


def test_a_run_does_not_download_into_the_root_of_its_own_recipe(folder, downloads):
    run = RunFolder(folder / "run")
    run.create(load_recipe("quickstart", ["--data.name=cifar10", "--data.root=/tmp/elsewhere"]), overwrite=False)
    for words, into in (([], []), (["--data.root", "here"], ["here"])):
        with pytest.raises(UserError, match="data set"):
            build_data(run.recipe(words).data, seed=0)
        assert downloads == into


def write_shards(root):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "png")
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        with tarfile.open(root / split / "0.tar", "w") as tar:
            for number in range(8):
                for suffix, content in (("png", picture.getvalue()), ("cls", b"%d" % (number % 2))):
                    info = tarfile.TarInfo(f"{number}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))


@pytest.mark.filterwarnings("ignore:.*same image")
def test_the_list_of_shards_is_kept_in_a_typed_root_alone(folder):
    write_shards(folder / "shards")
    path = mine(data={"name": "webdataset", "root": "shards"}, model={"width": 4})
    with pytest.warns(UserWarning, match="the list of samples is not kept in shards"):
        build_data(load_recipe(path).data, seed=0)
    assert not list(folder.glob("shards/.iaat*"))
    build_data(load_recipe(path, ["--data.root", "shards"]).data, seed=0)
    assert len(list(folder.glob("shards/.iaat*"))) == 2


SECRETS = {
    "shadow": "root:$6$hunter2:19000:0:99999:7:::\n",
    "yaml": "password: hunter2\n",
    "section": "data: hunter2\n",
    "list": "- hunter2\n",
    "broken": "a: [hunter2\n  b: }\n",
    "twice": "hunter2: 1\nhunter2: 2\n",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_nothing_is_shown_of_a_file_that_a_file_names_and_that_is_no_recipe(folder, capsys, kind):
    (folder / "secret").write_text(SECRETS[kind], encoding="utf-8")
    child = write("child.yaml", {"extends": "secret"})
    grandchild = write("grandchild.yaml", {"extends": "child.yaml"})
    sweep = write("sweep.yaml", {"cells": {"a": {"recipe": "secret"}}})
    for words in (["check", child], ["check", grandchild], ["check", sweep], ["train", child]):
        assert main(words) == 2
        shown = capsys.readouterr()
        assert "hunter2" not in shown.out + shown.err
        assert "no recipe; `iaat check secret` says why" in shown.err


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "wrn-100000-1000"}, "a depth of at most 1,000"),
        ({"name": "wrn-28-100000"}, "weights, more than"),
        ({"name": "wrn-" + "9" * 4000 + "-1"}, "there is no model"),
        ({"name": "resnet18", "width": 4096}, r"resnet18 with model\.width 4096 would have 45,7.* weights"),
    ],
)
def test_networks_of_absurd_size_are_refused_before_they_are_built(model, message):
    path = mine(model={"width": None, "normalize": "none", **model})
    with pytest.raises(UserError, match=message):
        build_model(load_recipe(path).model, shape=(3, 32, 32), classes=10)


def test_thousands_of_milestones_are_one_line():
    path = mine(train={"schedule": "multistep", "milestones": list(range(1, 9001))})
    with pytest.raises(UserError, match=r"train\.milestones has 9,000 values, more than 1,000") as error:
        load_recipe(path)
    assert len(str(error.value)) < 200
