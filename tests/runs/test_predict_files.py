"""Image files are predicted as the images of the training were read."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import iaat
from iaat import TrainedModel, UserError
from iaat.config.load_recipe import load_recipe

CLASSES = ("dark", "bright")


class Brightness(nn.Module):
    """Bright where the mean of the input is above a half."""

    def forward(self, x):
        mean = x.flatten(1).mean(dim=1)
        return torch.stack([0.5 - mean, mean - 0.5], dim=1) * 10


def model(shape=(3, 8, 8), *words):
    recipe = load_recipe("quickstart", ["--data.name", "folder", "--data.root", "nowhere", *words])
    return TrainedModel(Brightness(), recipe, shape=shape, classes=CLASSES).eval()


def picture(folder, name="a.png", size=(8, 8), colour=(250, 250, 250), mode="RGB"):
    Image.new(mode, size, colour).save(folder / name)
    return folder / name


def test_classes_and_probabilities_in_the_order_of_the_files(tmp_path):
    files = [picture(tmp_path, "a.png"), picture(tmp_path, "b.png", colour=(5, 5, 5)), picture(tmp_path, "c.png")]
    found = iaat.predict(model(), map(str, files), batch_size=2)
    assert [each.file for each in found] == [str(file) for file in files]
    assert [each.label for each in found] == ["bright", "dark", "bright"]
    expected = torch.tensor([0.5 - 250 / 255, 250 / 255 - 0.5]).mul(10).softmax(0)
    assert found[0].probabilities == pytest.approx(dict(zip(CLASSES, expected.tolist(), strict=True)))
    assert found[0].probability == max(found[0].probabilities.values())
    assert iaat.predict(model(), files[1]) == [found[1]]


def test_classes_of_one_name_have_their_numbers(tmp_path):
    file = picture(tmp_path)
    named = model()
    (plain,) = iaat.predict(named, file)
    named.classes = ("crane", "crane")
    (found,) = iaat.predict(named, file)
    assert list(found.probabilities) == ["crane (0)", "crane (1)"]
    assert list(found.probabilities.values()) == list(plain.probabilities.values())
    assert found.label == "crane (1)"


def test_a_tilde_is_the_home_folder_and_a_batch_has_an_image(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    picture(tmp_path)
    assert iaat.predict(model(), "~/a.png") == iaat.predict(model(), [tmp_path / "a.png"])
    for size in (0, -1, 2.5, "8"):
        with pytest.raises(UserError, match=f"batch_size is '?{size}'?: give a whole number from 1 on"):
            iaat.predict(model(), "~/a.png", batch_size=size)
    with pytest.raises(UserError, match="files is None: give an image file, or a list of some"):
        iaat.predict(model(), None)


def test_a_model_in_train_mode_predicts_as_in_eval_mode_and_stays_as_it_is(tmp_path):
    trained = model()
    trained.network = nn.Sequential(nn.BatchNorm2d(3), trained.network)
    files = [picture(tmp_path, "a.png"), picture(tmp_path, "b.png", colour=(5, 5, 5))]
    expected = iaat.predict(trained.eval(), files)
    assert iaat.predict(trained.train(), files) == expected
    assert trained.training
    assert trained.network[0].num_batches_tracked == 0


def test_files_are_resized_and_cropped_as_the_training_images(tmp_path):
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[10:30, 10:30] = 255  # the centre, which a crop after resizing sees alone
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = iaat.predict(model((3, 8, 8), "--data.size", "8"), tmp_path / "a.png")
    centre = iaat.predict(model((3, 8, 8), "--data.size", "8", "--data.resize", "16"), tmp_path / "a.png")
    assert [whole[0].label, centre[0].label] == ["dark", "bright"]


def test_grey_models_read_grey_and_transparency_has_the_background_of_the_training(tmp_path):
    file = picture(tmp_path, mode="RGBA", colour=(0, 0, 0, 0))
    assert iaat.predict(model((1, 8, 8)), file)[0].label == "bright"
    assert iaat.predict(model((1, 8, 8), "--data.background", "black"), file)[0].label == "dark"


def test_another_size_than_that_of_the_training_is_said_once(tmp_path):
    files = [picture(tmp_path, name, size=(20, 12)) for name in ("a.png", "b.png")]
    with pytest.warns(UserWarning, match=r"a\.png has 20 x 12 pixels") as caught:
        assert len(iaat.predict(model(), files)) == 2
    assert len(caught) == 1
    with pytest.raises(UserError, match=r"has shape \[3, 12, 20\], and the model takes \[3, 8, 6\]"):
        iaat.predict(model((3, 8, 6)), files)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    for file, message in (
        ("a.png", r"a\.png"),
        ("b.png", r"b\.png: no such file"),
        ("", "is a folder: give its files"),
    ):
        with pytest.raises(UserError, match=message):
            iaat.predict(model(), tmp_path / file)
    with pytest.raises(UserError, match=r"inputs of shape \[16\], which are no images"):
        iaat.predict(model((16,)), tmp_path / "a.png")
    assert iaat.predict(model(), []) == []


def test_a_module_that_does_not_know_how_images_are_read_is_refused():
    for given in (nn.Linear(4, 2), None, nn.ModuleDict({"model": nn.Linear(4, 2)})):
        with pytest.raises(UserError, match=r"knows neither its classes nor how images are read: give what iaat\.load"):
            iaat.predict(given, ["a.png"])
