"""`iaat.evaluate_model` on every kind of samples comes to the same figures."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from iaat import Radius, TrainedModel, UserError, evaluate_model
from iaat.config.load_recipe import load_recipe
from iaat.data.given_data import as_dataset

CLASSES = ("cat", "dog", "owl")
QUICK = {"suite": "pgd-3", "radius": "20px"}


class Images(Dataset):
    def __init__(self, x, y):
        self.x, self.y, self.classes = x, y, list(CLASSES)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, position):
        return Image.fromarray(self.x[position].permute(1, 2, 0).numpy()), int(self.y[position])


@pytest.fixture(scope="module")
def pixels():
    """Images of three classes, each with more of its own colour, sorted by class."""
    y = torch.arange(60) // 20
    x = torch.randint(0, 150, (60, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    x[torch.arange(60), y] += 60
    return x.byte(), y


@pytest.fixture(scope="module")
def network():
    layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    layers[2].weight.data.copy_(10 * torch.eye(3))
    layers[2].bias.data.zero_()
    return layers.eval()


@pytest.fixture(scope="module")
def folder(pixels, tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for number, (x, y) in enumerate(zip(*pixels, strict=True)):
        place = root / "some" / CLASSES[y]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x.permute(1, 2, 0).numpy()).save(place / f"{number:02d}.png")
    return root / "some"


def own_batches(items):
    return torch.stack([item[0] for item in items]), torch.tensor([int(item[1]) for item in items])


@pytest.mark.parametrize("kind", ["x and y", "pair", "data set", "images", "loader", "own loader", "folder"])
def test_every_kind_of_samples_has_the_same_figures(kind, pixels, network, folder):
    bytes_, y = pixels
    x = bytes_.float() / 255
    expected = evaluate_model(network, x, y, classes=3, **QUICK)
    assert 0 < expected.accuracy["worst"] < expected.accuracy["clean"] == 1
    data = {
        "x and y": x,
        "pair": (x, y),
        "data set": TensorDataset(x, y),
        "images": Images(bytes_, y),
        "loader": DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True),
        "own loader": DataLoader(TensorDataset(x, y), batch_size=7, collate_fn=own_batches),
        "folder": str(folder),
    }[kind]
    found = evaluate_model(network, data, y if kind == "x and y" else None, **QUICK)
    assert (found.accuracy, found.n, found.classes) == (expected.accuracy, 60, 3)
    names = CLASSES if kind in ("images", "folder") else ("0", "1", "2")
    assert tuple(each.name for each in found.per_class) == names


SAMPLES = TensorDataset(torch.rand(6, 3, 6, 6), torch.arange(6) % 3)


@pytest.mark.parametrize(
    ("sampling", "name"),
    [
        ({"sampler": SubsetRandomSampler([0, 1])}, "SubsetRandomSampler"),
        ({"sampler": RandomSampler(SAMPLES, replacement=True)}, "RandomSampler"),
        ({"sampler": RandomSampler(SAMPLES, num_samples=3)}, "RandomSampler"),
        ({"sampler": SequentialSampler(range(3))}, "SequentialSampler"),
        ({"batch_sampler": [[0, 1], [2]]}, "list"),
    ],
)
def test_a_loader_that_does_not_give_each_sample_once_is_refused(network, sampling, name):
    with pytest.raises(UserError, match=rf"by a {name} of its own.*torch\.utils\.data\.Subset\(dataset, indices\)"):
        evaluate_model(network, DataLoader(SAMPLES, **sampling), **QUICK)


def test_a_sampler_of_all_samples_is_accepted():
    for loader in (DataLoader(SAMPLES), DataLoader(SAMPLES, batch_size=4, shuffle=True, drop_last=True)):
        assert as_dataset(loader, where="data") is SAMPLES


def loaded(network, *words):
    recipe = load_recipe("quickstart", ["--evaluate.radius", "20px", *words])
    return TrainedModel(network, recipe, shape=(3, 6, 6), classes=CLASSES).eval()


def test_a_loaded_model_knows_its_radius_its_classes_and_the_size_of_its_images(network, folder, pixels):
    found = evaluate_model(loaded(network), folder, suite="pgd-3")
    assert found.evaluate.radius == Radius("20px")
    assert evaluate_model(network, folder, suite="pgd-3").evaluate.radius == Radius("8px")
    small = evaluate_model(network, folder, size=3, **QUICK)
    assert small.digests.inputs != found.digests.inputs
    (folder / "owl").rename(folder.parent / "owl")
    try:
        with pytest.raises(UserError, match="has no class 'owl'"):
            evaluate_model(loaded(network), folder, suite="pgd-3")
    finally:
        (folder.parent / "owl").rename(folder / "owl")


def test_images_are_read_as_grey_for_a_model_of_grey_images(folder, pixels):
    grey = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()
    recipe = load_recipe("quickstart", ["--evaluate.radius", "20px"])  # of tensors: no channels are set
    model = TrainedModel(grey, recipe, shape=(1, 6, 6), classes=CLASSES).eval()
    assert evaluate_model(model, folder, suite="pgd-1", n=9).n == 9
    assert evaluate_model(model, Images(*pixels), suite="pgd-1", n=9).n == 9


def test_classes_in_another_order_are_refused(network, pixels):
    turned = Images(*pixels)
    turned.classes = ["owl", "dog", "cat"]
    with pytest.raises(
        UserError, match=r"\('owl', 'dog', 'cat'\) are in another order than those of the training data"
    ):
        evaluate_model(loaded(network), turned, **QUICK)
    turned.classes = ["dog", "owl"]
    with pytest.raises(UserError, match=r"label 0 is 'dog' here and 'cat' there"):
        evaluate_model(loaded(network), turned, **QUICK)


def test_a_class_without_samples_is_no_mistake(network, pixels):
    x, y = pixels[0][:40], pixels[1][:40]
    found = evaluate_model(network, TensorDataset(x.float() / 255, y), **QUICK)
    assert found.classes == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("nowhere", "is no folder"),
        ([1, 2], "item 0 is a int, not a pair"),
        (torch.rand(4, 3, 6, 6), "y a NoneType"),
        (3, "has no __len__ and no __getitem__"),
        (TensorDataset(torch.randn(4, 3, 6, 6), torch.arange(4) % 3), "outside \\[0, 1\\]"),
        (DataLoader(np.arange(6), batch_size=2, collate_fn=list), "does not give batches"),
    ],
)
def test_what_is_no_data_is_named(data, message, network):
    with pytest.raises(UserError, match=message):
        evaluate_model(network, data, **QUICK)


def test_other_inputs_in_the_same_folder_are_evaluated_anew(pixels, network, tmp_path):
    """Same labels and shape, and clean predictions that are alike: only the pixels differ."""
    x = pixels[0].float() / 255
    nearer = x.mean(dim=1, keepdim=True) + 0.05 * (x - x.mean(dim=1, keepdim=True))
    first = evaluate_model(network, x, pixels[1], classes=3, folder=tmp_path, **QUICK)
    found = evaluate_model(network, nearer, pixels[1], classes=3, folder=tmp_path, **QUICK)
    assert found.accuracy["clean"] == first.accuracy["clean"] == 1
    assert found.accuracy == evaluate_model(network, nearer, pixels[1], classes=3, **QUICK).accuracy
    assert found.accuracy["worst"] < first.accuracy["worst"]
    assert found.digests.inputs != first.digests.inputs


def test_every_layer_gets_its_own_flag_back(pixels, network):
    """Frozen normalisation in a model in training, and dropout left on in a model in eval mode."""
    pool, flat, linear = network
    frozen = nn.Sequential(pool, flat, nn.BatchNorm1d(3), linear).train()
    dropping = nn.Sequential(pool, flat, nn.Dropout(), linear).eval()
    for model in (frozen, dropping):
        model[2].training = not model.training
        before = [each.training for each in model.modules()]
        evaluate_model(model, pixels[0].float() / 255, pixels[1], **QUICK)
        assert [each.training for each in model.modules()] == before


def test_one_sample_of_a_table_is_evaluated():
    """Each of its columns has one value."""
    torch.manual_seed(0)
    x = torch.rand(1, 6)
    results = evaluate_model(nn.Linear(6, 2), x, torch.tensor([0]), suite="pgd-1", radius=0.1)
    assert results.n == 1


@pytest.mark.parametrize(("norm", "radius"), [("l2", 1.5), ("linf", 0.7)])
def test_the_curve_goes_on_beyond_the_largest_distance_of_two_inputs(norm, radius):
    """Two inputs of 6 numbers are at most 2.45 apart in L2; a model that nothing moves is robust at every radius."""
    model = nn.Linear(6, 2)
    model.weight.data.copy_(torch.tensor([[0.01], [-0.01]]).expand(2, 6))
    model.bias.data.copy_(torch.tensor([1.0, -1.0]))
    x, y = torch.rand(12, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 4 // 3
    curve = evaluate_model(model, x, y, suite="pgd+curve", norm=norm, radius=radius).curve
    assert curve.radius == pytest.approx([radius * level / 8 for level in range(17)])
    assert curve.accuracy == (0.75,) * 17


@pytest.mark.parametrize("model", ["module", "loaded"])
def test_another_norm_needs_a_radius(model, network, pixels):
    """8px of L-inf would be an L2 radius that hardly changes an image."""
    net = network if model == "module" else loaded(network)
    samples = TensorDataset(pixels[0].float() / 255, pixels[1])
    with pytest.raises(UserError, match=r"norm='l2' needs radius=, such as \"128/255\""):
        evaluate_model(net, samples, norm="l2", suite="pgd-3")
    found = evaluate_model(net, samples, norm="l2", radius="128/255", suite="pgd-3")
    assert (found.evaluate.norm, found.evaluate.radius) == ("l2", Radius("128/255"))
    own = evaluate_model(net, samples, norm="linf", suite="pgd-3")
    assert own.evaluate.radius == Radius("8px" if model == "module" else "20px")


def test_the_format_of_numbers_is_named_and_not_the_labels(network, pixels):
    x, y = pixels[0].float() / 255, pixels[1]
    with pytest.raises(UserError, match=r"x is torch\.float64 .*pass x\.float\(\)"):
        evaluate_model(network, x.double(), y, **QUICK)
    half = copy.deepcopy(network).half()
    for data in ((x, y), TensorDataset(x, y)):
        with pytest.raises(UserError, match=r"its weights are torch\.float16: call model\.float\(\)"):
            evaluate_model(half, data, **QUICK)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"classes": "cat"}, r"classes = 'cat': give their number, or a list"),
        ({"classes": 3.0}, r"classes = 3\.0: give their number, or a list"),
        ({"norm": "l3"}, r"norm 'l3' is not known.*use linf, l2"),
        ({"radius": [0.1]}, r"radius \[0\.1\] cannot be read: write 8px"),
        ({"suite": None}, r"evaluate\.suite None: give a text, such as quick or standard"),
    ],
)
def test_settings_of_another_type_are_refused(setting, message, network, pixels):
    with pytest.raises(UserError, match=message):
        evaluate_model(network, pixels[0].float() / 255, pixels[1], **{**QUICK, **setting})
    found = evaluate_model(network, pixels[0].float() / 255, pixels[1], classes=np.int64(3), **QUICK)
    assert found.classes == 3


@pytest.mark.parametrize("of", [list, dict.fromkeys, lambda names: dict.fromkeys(names).keys(), np.array])
def test_names_of_classes_in_any_collection(of, network, pixels):
    found = evaluate_model(network, pixels[0].float() / 255, pixels[1], classes=of(["c", "a", "b"]), **QUICK)
    assert [each.name for each in found.per_class] == ["c", "a", "b"]
