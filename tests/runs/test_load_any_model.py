"""Models of every kind, saved the way their owners save them, come back as the same network; traps are named."""

import os
import pickle
import re
import sys
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.export import Dim

import iaat.runtime.user_code
from helpers.external_models import CLASSES, SHAPE, cnn, mlp, save_exported, save_script
from iaat import count_passes, pgd
from iaat.attacks import attack_mode
from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.models import ModelConfig, NormalizedModel, SmallCNN, build_model, with_normalization
from iaat.models.digest import weights_digest
from iaat.models.programs import Program
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.load_any_model import AS_IT_IS, load_model

MEAN, STD = torch.tensor([0.3]), torch.tensor([0.4])
RADIUS = 0.05


def load(target, *, shape=SHAPE, classes=CLASSES, mean=MEAN, std=STD, trust=False, **settings):
    config = ModelConfig(**{"normalize": "none", **settings})
    return load_model(str(target), config, shape=shape, classes=classes, mean=mean, std=std, trust=trust)


def load_program(target, **settings):
    return load(target, trust=True, **settings)


def refused(target, **settings):
    with pytest.raises(UserError) as caught:
        load(target, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def samples(n=6, shape=SHAPE):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, *shape, generator=generator), torch.randint(0, CLASSES, (n,), generator=generator)


def settled(network):
    """In eval mode, with running statistics by which train mode differs from eval mode."""
    network.train()
    for _ in range(3):
        network(2 * torch.rand(32, *SHAPE) - 0.5)
    return network.eval()


def attacked(model, x, y):
    return pgd(model, x, y, radius=RADIUS, steps=3, generator=torch.Generator().manual_seed(0))


def assert_same(model, original, n=6):
    """Same logits, same gradients, same attack; and the model's flags are given back by it."""
    assert not model.training
    x, y = samples(n)
    torch.testing.assert_close(model(x), original(x), rtol=1e-4, atol=1e-5)
    gradients = []
    for each in (model, original):
        leaf = x.clone().requires_grad_()
        gradients += torch.autograd.grad(each(leaf)[torch.arange(n), y].sum(), leaf)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    torch.testing.assert_close(attacked(model, x, y), attacked(original, x, y), rtol=1e-3, atol=1e-4)
    assert [parameter.requires_grad for parameter in model.parameters()] == flags


# Weights of a network given by name


@pytest.fixture
def small():
    return settled(SmallCNN(1, CLASSES, width=4))


SAVED = {
    "bare.pth": lambda state: state,
    "wrapped.pt": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "model.pt": lambda state: {"model": state},
    "net.ckpt": lambda state: {"net": state, "acc": 93.1},
    "nested.pt": lambda state: {"model": {"state_dict": state}},
    "parallel.pt": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled.pt": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "both.pt": lambda state: {"state_dict": {f"module._orig_mod.{key}": value for key, value in state.items()}},
    "averaged.pt": lambda state: {"n_averaged": torch.tensor(9), **{f"module.{k}": v for k, v in state.items()}},
    "lightning.ckpt": lambda state: {"state_dict": {f"model.net.{key}": value for key, value in state.items()}},
    "counterless.pt": lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("name", SAVED)
def test_state_dicts_in_the_usual_wrappings(small, tmp_path, name):
    torch.save(SAVED[name](small.state_dict()), tmp_path / name)
    assert_same(load("small-cnn", width=4, weights=str(tmp_path / name)), small)
    assert_same(load(tmp_path / name, name="small-cnn", width=4), small)


def test_safetensors_and_the_oldest_form_of_torch_save(small, tmp_path):
    save_file(small.state_dict(), tmp_path / "w.safetensors")
    torch.save(small.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("w.safetensors", "old.pt"):
        assert_same(load(tmp_path / name, width=4), small)


def test_real_wrappers_of_torch(small, tmp_path):
    wrappers = (nn.DataParallel(small), torch.optim.swa_utils.AveragedModel(small))
    for wrapper in wrappers:
        torch.save(wrapper.state_dict(), tmp_path / "w.pt")
        assert_same(load(tmp_path / "w.pt", width=4), small)


def test_checkpoints_of_our_own_keep_their_normalisation(small, tmp_path):
    model = with_normalization(small, torch.tensor([0.1]), torch.tensor([0.2])).eval()
    torch.save({"format": 1, "epoch": 2, "model": model.state_dict(), "radii": torch.zeros(3)}, tmp_path / "best.pt")
    for normalize in ("none", "data"):
        assert_same(load(tmp_path / "best.pt", width=4, normalize=normalize), model)
    torch.save(nn.DataParallel(model).state_dict(), tmp_path / "parallel.pt")
    assert_same(load(tmp_path / "parallel.pt", width=4), model)
    with pytest.raises(UserError, match=r"best\.pt hold a normalisation of their own.*leave out model\.mean"):
        load_model(str(tmp_path / "best.pt"), ModelConfig(width=4, mean=[0.5], std=[0.5]), shape=SHAPE, classes=CLASSES)


def test_normalisation_in_front_of_plain_weights(small, tmp_path):
    file = str(tmp_path / "w.pt")
    torch.save(small.state_dict(), file)
    assert not isinstance(load(file, width=4), NormalizedModel)
    assert_same(load(file, width=4, normalize="data"), with_normalization(small, MEAN, STD))
    explicit = ModelConfig(width=4, mean=[0.5], std=[0.25])
    model = load_model(file, explicit, shape=SHAPE, classes=CLASSES, mean=MEAN, std=STD)
    assert_same(model, with_normalization(small, torch.tensor([0.5]), torch.tensor([0.25])))


def test_bfloat16_weights_are_computed_with_in_float32(small, tmp_path):
    torch.save({key: value.bfloat16() for key, value in small.state_dict().items()}, tmp_path / "w.pt")
    model = load(tmp_path / "w.pt", width=4)
    assert {value.dtype for value in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        pytest.param(
            lambda: SmallCNN(1, CLASSES, width=8), {}, r"of another shape features\.0\.weight \[8, 1, 3, 3\] in the "
            r"file, \[16, 1, 3, 3\] in the model.* and \d+ more; the file looks like --model\.width 8$", id="width"),
        pytest.param(
            lambda: SmallCNN(1, CLASSES, norm="group"), {}, r"missing features\.1\.0\.running_mean.* and 7 more; the "
            r"file looks like --model\.norm group", id="norm"),
        pytest.param(
            lambda: SmallCNN(1, 7), {}, r"head\.weight \[7, 128\] in the file, \[10, 128\].*with 7 classes, the "
            "data has 10: give the data", id="classes"),
        pytest.param(
            lambda: build_model(ModelConfig(name="preactresnet18", width=4, normalize="none"), shape=SHAPE, classes=10),
            {"name": "resnet18"}, r"--model\.name preactresnet18 --model\.width 4$", id="name"),
        pytest.param(
            lambda: build_model(ModelConfig(name="wrn-10-1", normalize="none"), shape=SHAPE, classes=10),
            {"name": "wrn-16-2"}, r"looks like --model\.name wrn-10-1$", id="wrn"),
        pytest.param(
            cnn, {}, r"missing features\.0\.weight, .* and \d+ more; unexpected 0\.weight, 0\.bias, 1\.weight, 1\.bias,"
            r" 1\.running_mean and 6 more; .*a factory of yours, module:function", id="others"),
    ],
)  # fmt: skip
def test_weights_of_another_network_are_refused_with_what_they_look_like(tmp_path, make, settings, message):
    torch.save(make().state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=message):
        load(tmp_path / "w.pt", **settings)


# Files that are no weights


class Touching:
    """Its pickle makes a file when it is loaded by plain pickle."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": {}, "hook": Touching(tmp_path / "ran")}, tmp_path / "new.pt")
    torch.save({"hook": Touching(tmp_path / "ran")}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(Touching(tmp_path / "ran"), protocol=2))
    for name in ("new.pt", "old.pt", "bare.pkl"):
        assert re.search(r"could run code or take any memory \(|no file of torch\.save", refused(tmp_path / name))
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_model_is_refused_with_what_to_save(tmp_path):
    torch.save(mlp(), tmp_path / "whole.pt")
    assert "(torch.nn.modules.container.Sequential); where the model was made, save model.state_dict()" in refused(
        tmp_path / "whole.pt"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pt", b"", "is empty"),
        ("text.pt", b"not a model", "no file of torch.save"),
        ("cut.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", "cannot be read"),
        ("net.onnx", b"x", "is of ONNX: save its weights from PyTorch"),
        ("net.h5", b"x", "is of Keras"),
    ],
)
def test_files_of_other_kinds(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert message in refused(tmp_path / name)


ODD = {
    "sparse": (lambda weight: weight.to_sparse(), "sparse (torch.sparse_coo)"),
    "sparse rows": (lambda weight: weight.flatten(1).to_sparse_csr(), "sparse (torch.sparse_csr)"),
    "meta": (lambda weight: weight.to("meta"), "on the meta device, without data"),
    "quantised": (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "of type torch.qint8"),
    "complex": (lambda weight: weight.to(torch.complex64), "of type torch.complex64"),
    "float8": (lambda weight: weight.to(torch.float8_e4m3fn), "of type torch.float8_e4m3fn"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning", "ignore:.*quantize:UserWarning")
def test_tensors_that_are_no_weights_are_named(small, tmp_path, kind):
    change, message = ODD[kind]
    state = small.state_dict()
    key = "features.0.weight"
    torch.save({"state_dict": {**state, key: change(state[key])}}, tmp_path / "w.pt")
    found = refused("small-cnn", width=4, weights=str(tmp_path / "w.pt"))
    assert f"w.pt cannot be used: state_dict.{key} is {message}" in found
    with pytest.raises(UserError, match=re.escape(message)):
        build_model(
            ModelConfig(width=4, weights=str(tmp_path / "w.pt"), normalize="none"), shape=SHAPE, classes=CLASSES
        )


@pytest.mark.parametrize(("key", "value"), [("features.0.weight", torch.tensor(1.0)), ("head.weight", torch.ones(10))])
def test_weights_of_another_rank_do_not_fit(small, tmp_path, key, value):
    torch.save({**small.state_dict(), key: value}, tmp_path / "w.pt")
    message = refused("small-cnn", width=4, weights=str(tmp_path / "w.pt"))
    assert f"do not fit model small-cnn: of another shape {key} {list(value.shape)} in the file" in message


SECRETS = [b"hunter2\nletmein\n", b"cos\nsystem\n", b"Passw0rd\n", b"(lp0\nVsecret\np1\na.", b"g secret\n"]
SECRETS += [b"root:x:0:0:secret:/root\n", b"\x00secret", b"\xff\xfesecret", b"\x7fELFsecret", b"secret\n" * 1000]


@pytest.mark.parametrize("content", SECRETS)
def test_any_other_file_given_as_weights_is_refused_without_a_word_of_it(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    message = refused("small-cnn", weights=str(tmp_path / "list.txt"))
    assert message.endswith("list.txt cannot be read: they are no file of torch.save or safetensors")


@pytest.mark.parametrize("seed", range(20))
def test_a_file_that_only_begins_like_a_pickle_is_refused(tmp_path, seed):
    noise = torch.randint(0, 256, (200,), generator=torch.Generator().manual_seed(seed)).tolist()
    (tmp_path / "w.pt").write_bytes(b"\x80\x02" + bytes(noise))
    assert "cannot be read" in refused("small-cnn", weights=str(tmp_path / "w.pt"))


def test_files_that_hold_no_weights(tmp_path):
    for content, message in (
        ({"epoch": 3, "loss": 0.1}, "a dict with the keys epoch, loss and no state dict"),
        ([torch.zeros(1)], "a list and no state dict"),
        ({}, "an empty dict"),
    ):
        torch.save(content, tmp_path / "w.pt")
        assert message in refused(tmp_path / "w.pt")


def test_a_damaged_file_is_refused_and_never_loaded_as_other_weights(small, tmp_path):
    torch.save(small.state_dict(), tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    weights = small.head.weight.detach().numpy().tobytes()
    content[content.find(weights) + 2] ^= 4
    (tmp_path / "w.pt").write_bytes(content)
    assert "is damaged in its part" in refused(tmp_path / "w.pt", width=4)
    (tmp_path / "w.pt").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "w.pt", width=4)


def test_missing_files_folders_and_other_archives(tmp_path):
    assert "nope.pt does not exist" in refused(tmp_path / "nope.pt")
    (tmp_path / "folder.pt").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.pt")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("model/readme.txt", "hello")
    assert "none of PyTorch's" in refused(tmp_path / "other.pt")


def test_settings_that_contradict_each_other(small, tmp_path):
    file = tmp_path / "w.pt"
    torch.save(small.state_dict(), file)
    assert "both files of weights" in refused(file, weights=str(file))
    assert "small-cnn has no weights yet: give the file with --model.weights" in refused("small-cnn")
    program = save_script(small, tmp_path / "p.pt")
    assert "are a program of its own" in refused("small-cnn", weights=str(program))
    assert "model.width is 4, but it has no effect" in refused(program, width=4, trust=True)
    assert "there is no model 'smal-cnn' (did you mean 'small-cnn'" in refused("smal-cnn", weights=str(file))


# Factories


@pytest.fixture
def user_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "their_models.py").write_text(
        "import torch\nfrom torch import nn\nfrom helpers.external_models import mlp\n"
        "def bare(): return mlp()\n"
        "def sized(shape, classes): return mlp(shape[0] * shape[1] * shape[2], classes)\n"
        "def some(*, classes, **others):\n    assert not others, others\n    return mlp(classes=classes)\n"
        "def hidden(width=1): return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10))\n"
        "def needs(depth): return mlp()\n"
        "def nothing(): return None\n"
        "def seven(): return mlp(classes=7)\n"
        "def outputs():\n    class M(nn.Module):\n"
        "        def forward(self, x): return {'logits': x.flatten(1)[:, :10]}\n"
        "    return M()\n"
    )
    yield tmp_path
    sys.modules.pop("their_models", None)


@pytest.mark.parametrize("name", ["bare", "sized", "some"])
def test_factories_get_what_their_signature_names(user_code, name):
    model = load(f"their_models:{name}")
    assert not any(module.training for module in model.modules())
    assert model(samples()[0]).shape == (6, CLASSES)


def test_options_and_weights_reach_a_factory(user_code):
    original = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Linear(5, 10))
    torch.save({"model": original.state_dict()}, "w.pth")
    assert_same(load("their_models:hidden", options={"width": 5}, weights="w.pth"), original)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("needs", {}, "missing a required argument: 'depth'"),
        ("bare", {"options": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ("bare", {"width": 4}, "model.width is 4, but it has no effect on their_models:bare"),
        ("nothing", {}, "returned a NoneType; it must return a torch.nn.Module"),
        ("seven", {}, "the model has 7 classes, the data 10"),
        (
            "outputs",
            {},
            "a dict with the keys logits and no tensor: let the forward of a module of yours around it be: return ",
        ),
        ("bar", {}, "did you mean 'bare'"),
    ],
)
def test_mistakes_in_factories(user_code, name, settings, message):
    assert message in refused(f"their_models:{name}", **settings)


def test_a_model_that_does_not_take_the_data(user_code):
    assert "cannot take inputs of shape [2, 3, 8, 8]" in refused("their_models:bare", shape=(3, 8, 8))


# timm


def timm_weights(name, classes, path):
    timm = pytest.importorskip("timm")
    network = timm.create_model(name, num_classes=classes).eval()
    torch.save(network.state_dict(), path)
    return network, {"pretrained_cfg_overlay": {"file": str(path), "hf_hub_id": None, "url": ""}}


def test_a_timm_network_has_its_published_weights_and_statistics(tmp_path):
    network, options = timm_weights("test_resnet", 1000, tmp_path / "w.pth")
    model = load("test_resnet", shape=(3, 32, 32), classes=1000, options=options)
    assert isinstance(model, NormalizedModel)
    mean, std = torch.tensor(network.pretrained_cfg["mean"]), torch.tensor(network.pretrained_cfg["std"])
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(x), network((x - mean.view(3, 1, 1)) / std.view(3, 1, 1)), rtol=1e-4, atol=1e-4)


def test_other_classes_than_the_published_weights_are_refused_before_a_download():
    pytest.importorskip("timm")
    for name in ("test_resnet", "timm:resnet18", "resnet18.a1_in1k"):
        message = refused(name, shape=(3, 32, 32))
        assert f"model {name}: its published weights are for 1000 classes, the data has 10" in message


def test_a_timm_network_with_weights_of_the_users(tmp_path):
    network, _ = timm_weights("test_resnet", 10, tmp_path / "w.pth")
    model = load("timm:test_resnet", shape=(3, 32, 32), weights=str(tmp_path / "w.pth"))
    assert not isinstance(model, NormalizedModel)
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(x), network(x))


# TorchScript and exported programs


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return settled(cnn())


@pytest.mark.parametrize("kind", ["scripted", "traced", "frozen"])
def test_torchscript(network, tmp_path, kind):
    x = samples()[0] if kind == "traced" else None
    file = save_script(network, tmp_path / "p.pt", x, freeze=kind == "frozen")
    model = load_program(file)
    assert_same(model, network)
    assert_same(load_program(file, normalize="data"), with_normalization(network, MEAN, STD))


def test_torchscript_saved_in_training_mode_is_put_in_eval_mode(network, tmp_path):
    network.train()
    file = save_script(network, tmp_path / "p.pt")
    network.eval()
    assert_same(load_program(file), network)


def test_every_flag_of_a_torchscript_program_is_given_back(network, tmp_path):
    model = load_program(save_script(network, tmp_path / "p.pt"))
    next(model.parameters()).requires_grad_(False)
    for mode in ("eval", "train", "batch"):
        before = [module.training for module in model.modules()]
        with attack_mode(model, mode):
            assert not any(parameter.requires_grad for parameter in model.parameters())
        assert [module.training for module in model.modules()] == before
    assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1


@pytest.mark.parametrize(
    ("size", "shapes", "n"),
    [
        pytest.param(4, None, 6, id="fixed, more"),
        pytest.param(4, None, 4, id="fixed, as many"),
        pytest.param(4, None, 3, id="fixed, fewer"),
        pytest.param(1, None, 3, id="fixed, one"),
        pytest.param(4, ({0: Dim("b")},), 6, id="dynamic"),
        pytest.param(4, ({0: Dim("b")},), 1, id="dynamic, one"),
        pytest.param(4, ({0: Dim("b", min=2, max=4)},), 6, id="bounded"),
        pytest.param(4, ({0: 2 * Dim("half", max=64)},), 5, id="even"),
    ],
)
def test_exported_programs_of_any_batch_size(network, tmp_path, size, shapes, n):
    file = save_exported(network, tmp_path / "p.pt2", samples(size)[0], shapes)
    model = load_program(file)
    assert_same(model, network, n=n)
    assert model(samples(n)[0][:0]).shape == (0, CLASSES)


class Picky(nn.Module):
    """Takes even batches only, and says so by a guard."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, CLASSES)

    def forward(self, x):
        if x.shape[0] % 2 == 0:
            x = x + 1
        with torch.no_grad():
            shift = x.mean()
        return self.linear(x.flatten(1)) + 0 * shift


def test_guards_of_an_exported_program_are_kept(tmp_path):
    model = Picky().eval()
    file = save_exported(model, tmp_path / "p.pt2", samples(4)[0], ({0: Dim.AUTO},))
    loaded = load_program(file)
    x = samples(4)[0]
    torch.testing.assert_close(loaded(x), model(x))
    torch.testing.assert_close(loaded(x[:3]), model(x)[:3])  # an odd batch itself would take the other branch
    with pytest.raises(AssertionError, match="Guard failed"):
        loaded.program(x[:3])


def test_exported_in_training_mode_is_refused(network, tmp_path):
    for part in (nn.Sequential(nn.Dropout(0.2), mlp()), cnn()):
        file = save_exported(part.train(), tmp_path / "p.pt2", samples(4)[0])
        assert "was exported in training mode (aten::" in refused(file, trust=True)


def test_exported_with_two_inputs_is_refused(tmp_path):
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    program = torch.export.export(Two(), (torch.rand(2, 10), torch.rand(2, 10)))
    torch.export.save(program, tmp_path / "p.pt2")
    assert "takes 2 inputs: export a model of one" in refused(tmp_path / "p.pt2", trust=True)


def test_passes_through_a_program_are_counted(network, tmp_path):
    model = load_program(save_exported(network, tmp_path / "p.pt2", samples(4)[0]))
    x, y = samples(6)
    with count_passes(model) as passes:
        pgd(model, x, y, radius=RADIUS, steps=3)
    assert (passes.forward, passes.backward) == (18, 18)


def edited(source, target, edit):
    """A copy of an archive with records that went through `edit(name, content)`; None drops one."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = edit(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def test_a_program_compiled_to_machine_code_is_refused(network, tmp_path):
    file = save_exported(network, tmp_path / "a.pt2", samples(4)[0])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("p/data/aotinductor/model/x.so", b"")
    assert "compiled by AOTInductor and has no gradients" in refused(file, trust=True)


def test_a_broken_program_is_refused(network, tmp_path):
    exported = save_exported(network, tmp_path / "e.pt2", samples(4)[0])
    file = edited(exported, tmp_path / "p.pt2", lambda name, old: b"{}" if name == "models/model.json" else old)
    assert "cannot be loaded by PyTorch" in refused(file, trust=True)
    script = save_script(network, tmp_path / "s.pt")
    file = edited(script, tmp_path / "t.pt", lambda name, old: b"!" if name == "data.pkl" else old)
    assert "cannot be loaded as TorchScript" in refused(file, trust=True)


# A program is code


class Writing(nn.Module):
    """Writes a file while it is loaded, by `__setstate__`, and another one while it runs."""

    def __init__(self):
        super().__init__()
        self.weight = torch.ones(CLASSES, 64)

    @torch.jit.export
    def __getstate__(self):
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.weight, self.training = state[0], state[1]
        torch.save(torch.zeros(1), "loaded")

    def forward(self, x):
        torch.save(x, "ran")
        return x.flatten(1) @ self.weight.T


def hostile_program(path):
    """TorchScript that writes files, spelled so that a search for `torch.save(` in its records finds nothing."""
    save_script(Writing(), path.with_suffix(".honest"))

    def spaced(name, content):
        return content.replace(b"torch.save(", b"torch.save (") if name.startswith("code/") else content

    return edited(path.with_suffix(".honest"), path, spaced)


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def nothing_trusted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED_FILES", set())
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED", set())


@pytest.mark.parametrize("name", ["p.pt", "p.pth", "p", "best.pt", "p.ckpt"])
@pytest.mark.usefixtures("nothing_trusted")
def test_torchscript_that_writes_files_runs_only_when_it_is_trusted(tmp_path, name):
    file = hostile_program(tmp_path / name)
    message = refused(file)
    assert "a program is code" in message
    assert f"--trust {file}" in message
    assert "torch.save(model.state_dict(), FILE)" in message
    assert "module:function" in message
    refused("small-cnn", weights=str(file))  # nor as weights
    with pytest.raises(UserError):
        load_checkpoint(file)  # nor as a checkpoint of a run
    assert not {"loaded", "ran"} & names(tmp_path)
    load(file, trust=True)
    assert {"loaded", "ran"} <= names(tmp_path)  # the file is what it is said to be


@pytest.mark.usefixtures("nothing_trusted")
def test_an_exported_program_needs_trust_too(network, tmp_path):
    file = save_exported(network, tmp_path / "p.pt2", samples(4)[0])
    assert f"--trust {file}" in refused(file)
    iaat.runtime.user_code.trust("p.pt2")  # of whatever spelling
    assert_same(load(file), network, n=4)
    other = save_exported(network, tmp_path / "other.pt2", samples(4)[0])
    assert "a program is code" in refused(other)


@pytest.mark.usefixtures("nothing_trusted")
def test_the_command_line_loads_a_program_only_with_trust(tmp_path, capsys):
    file = hostile_program(tmp_path / "p.pt")
    torch.save(SmallCNN(1, CLASSES).state_dict(), "weights.pth")
    words = ["--data.name", "digits", "--samples", "4", "--evaluate.steps", "1", "--suite", "pgd", "--quiet"]
    for targets in ([str(file)], ["weights.pth", "--model", "small-cnn", "--transfer", str(file)]):
        assert main(["evaluate", *targets, *words]) == 2
        assert f"--trust {file}" in capsys.readouterr().err
    assert not {"loaded", "ran"} & names(tmp_path)
    assert main(["evaluate", "--trust", str(file), str(file), *words]) == 0
    assert {"loaded", "ran"} <= names(tmp_path)


# Settings of a recipe


def test_explicit_statistics_in_a_recipe():
    recipe = load_recipe("quickstart", ["--model.mean", "[0.5]", "--model.std=[0.25]"])
    assert (recipe.model.mean, recipe.model.std) == ([0.5], [0.25])
    model = build_model(recipe.model, shape=(3, 8, 8), classes=10, mean=torch.zeros(3), std=torch.ones(3))
    assert model.normalize.mean.tolist() == [0.5] * 3
    assert model.normalize.std.tolist() == [0.25] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": [0.5]}, r"model\.mean is \[0\.5\], but model\.std is not given"),
        ({"std": [0.5]}, r"model\.std is \[0\.5\], but model\.mean is not given"),
        ({"mean": [0.5, 0.5], "std": [1.0]}, "model.mean has 2 values, but inputs have 3 channels"),
        ({"mean": [0.5], "std": [0.0]}, "std above 0"),
        ({"weights": "w.pt"}, r"model\.weights w\.pt is no file: give a file of weights to start training from"),
    ],
)
def test_unusable_settings(settings, message):
    with pytest.raises(UserError, match=message):
        build_model(ModelConfig(normalize="none", **settings), shape=(3, 8, 8), classes=10)


def test_defaults_leave_inputs_as_they_are(small, tmp_path):
    torch.save(SmallCNN(1, CLASSES).state_dict(), tmp_path / "w.pt")
    assert AS_IT_IS.normalize == "none"
    assert isinstance(
        load_model(
            str(tmp_path / "w.pt"), ModelConfig(name="small-cnn", normalize="none"), shape=SHAPE, classes=CLASSES
        ),
        SmallCNN,
    )


def test_weights_of_no_named_network_are_refused(tmp_path):
    torch.save(SmallCNN(1, CLASSES).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt holds weights, and no model was named"):
        load_model(str(tmp_path / "w.pt"), shape=SHAPE, classes=CLASSES)


# Digests


def test_equal_weights_have_equal_digests_wherever_they_come_from(small, tmp_path):
    torch.save(small.state_dict(), tmp_path / "a.pt")
    torch.save({"model": nn.DataParallel(small).state_dict()}, tmp_path / "b.pt")
    digests = {weights_digest(load(tmp_path / name, width=4)) for name in ("a.pt", "b.pt")}
    assert digests == {weights_digest(small)}
    assert len(digests.pop()) == 64
    small.train().requires_grad_(False)
    assert weights_digest(small) == weights_digest(load(tmp_path / "a.pt", width=4))


def test_every_change_of_weights_or_layers_changes_the_digest():
    def variant(change):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
        model.register_buffer("hidden", torch.zeros(2), persistent=False)
        change(model)
        return weights_digest(model)

    changes = [
        lambda model: None,
        lambda model: model[0].weight.data[0, 0].add_(1e-6),
        lambda model: model[1].running_var.add_(1e-6),
        lambda model: model.hidden.add_(1),
        lambda model: model.double(),
        lambda model: setattr(model, "2", nn.GELU()),
        lambda model: setattr(model[0], "weight", nn.Parameter(model[0].weight.detach().reshape(3, 4))),
    ]
    digests = [variant(change) for change in changes]
    assert len(set(digests)) == len(changes)
    assert variant(changes[0]) == digests[0]


def test_programs_have_digests(network, tmp_path):
    x = samples(4)[0]
    torch.manual_seed(1)
    files = [
        save_script(network, tmp_path / "a.pt"),
        save_script(network, tmp_path / "b.pt", freeze=True),
        save_script(settled(cnn()), tmp_path / "c.pt", freeze=True),
        save_exported(network, tmp_path / "d.pt2", x),
    ]
    digests = [weights_digest(load_program(file)) for file in files]
    assert len(set(digests)) == 4
    assert digests == [weights_digest(load_program(file)) for file in files]
    bare = [load_program(file) for file in (files[1], files[1], files[2])]
    assert all(isinstance(model, Program) for model in bare)
    first, again, other = (weights_digest(model.program) for model in bare)
    assert first == again != other
