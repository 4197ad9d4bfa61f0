"""Recognition of the architecture of a state dict, for the advice in messages."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from iaat.models.model_config import ModelConfig

_OTHERS = (
    "its layers have other names than those of the file: give a factory of yours, module:function, that builds the "
    "model the weights were saved from, with --model.weights"
)


def misfit_advice(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], config: ModelConfig, *, classes: int
) -> str:
    """Advice for weights that do not fit a model.

    Args:
        state: The weights, without prefixes and normalisation.
        expected: Those of the model that was built.
        config: What it was built from.
        classes: Number of classes of the data.
    """
    wanted = {
        key: value
        for key, value in recognize_architecture(state).items()
        if value not in (getattr(config, key), _default(config, key))
    }
    if wanted:
        return "the file looks like " + " ".join(f"--model.{key} {value}" for key, value in wanted.items())
    found = [len(state[key]) for key in expected if is_classifier(state.get(key), expected[key], classes)]
    if found:
        return (
            f"the file is of a model with {found[0]} classes, the data has {classes}: give the data it was trained on"
        )
    if not state.keys() & expected.keys():
        return _OTHERS
    return "set the --model options it was trained with, or give a factory of yours, module:function"


def recognize_architecture(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Settings `name`, `width` and `norm` of the built-in model with these weights; empty where it is none."""
    state = {key: value for key, value in state.items() if value.ndim}
    stem, head = state.get("stem.weight"), state.get("head.weight")
    if head is None or head.ndim != 2:
        return {}
    stages = {key.split(".")[1] for key in state if key.startswith("stages.")}
    norm = "batch" if any(key.endswith("running_mean") for key in state) else "group"
    if "features.0.weight" in state:
        return {"name": "small-cnn", "width": len(state["features.0.weight"]), "norm": norm}
    if len(stages) == 4 and "stem.0.weight" in state:
        return {"name": "resnet18", "width": len(state["stem.0.weight"]), "norm": norm}
    if len(stages) == 4 and stem is not None:
        return {"name": "preactresnet18", "width": len(stem), "norm": norm}
    if len(stages) == 3 and stem is not None:
        blocks = len({key.split(".")[2] for key in state if key.startswith("stages.0.")})
        return {"name": f"wrn-{6 * blocks + 4}-{head.shape[1] // 64}", "norm": norm}
    return {}


def _default(config: ModelConfig, key: str) -> object:
    """Default width of a model, where none is set."""
    return {"small-cnn": 16}.get(config.name, 64) if key == "width" and config.width is None else None


def is_classifier(found: Tensor | None, expected: Tensor, classes: int) -> bool:
    """Whether a weight is that of a classifier for another number of classes."""
    if found is None or found.ndim != expected.ndim or not expected.ndim:
        return False
    return len(expected) == classes != len(found) and found.shape[1:] == expected.shape[1:]
