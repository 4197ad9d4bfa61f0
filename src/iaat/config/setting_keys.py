"""The keys that recipes have, and hints for those they have not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.short_options import likely_key
from iaat.config.train_config import TrainConfig
from iaat.data import DataConfig
from iaat.errors import UserError, shown
from iaat.methods import METHODS, find_method
from iaat.methods.setting_fields import setting_names
from iaat.models import ModelConfig

SECTION_TYPES: dict[str, type] = {
    "data": DataConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
}
"""Types of the `SECTIONS` of a recipe but `method`, which has the type of its method."""

_MOST_NAMED = 4


def all_keys() -> list[str]:
    """Every key of a recipe, with those of all methods that ship."""
    return setting_keys([*SECTION_TYPES.items(), *(("method", find_method(name).Config) for name in METHODS)])


def setting_keys(sections: Iterable[tuple[str, type]]) -> list[str]:
    """`seed` and the dotted keys of the settings of sections, each once."""
    keys = [f"{section}.{key}" for section, config in sections for key in setting_names(config)]
    return list(dict.fromkeys(["seed", *keys]))


def check_known(typed: Mapping[str, str], configs: Mapping[str, type], place: str) -> None:
    """Refuse typed keys that no section has."""
    known = setting_keys(configs.items())
    for key in typed:
        if key not in known:
            raise UserError(f"{place} has no option {shown(f'--{key}')}{_hint(key, known)}")


def _hint(given: str, known: Sequence[str]) -> str:
    """Hint for an unknown option: the methods that have it, or the nearest key."""
    section, _, key = given.partition(".")
    owners = [name for name in METHODS if section == "method" and key in setting_names(find_method(name).Config)]
    if owners:
        some = f"method {', '.join(owners)}" if len(owners) <= _MOST_NAMED else "methods that attack"
        name = owners[0] if len(owners) == 1 else "NAME"
        return (
            f": it is a key of {some}; add --method {name}, or for one recipe of several write it into a sweep, "
            f"cells: {{name: {{recipe: ..., set: {{{given}: ...}}}}}}"
        )
    return likely_key(f"--{given}", [f"--{each}" for each in known])


def check_allowed(overrides: Sequence[str], allowed: Sequence[str], why: str) -> None:
    """Refuse every `--setting` that does not begin with one of those allowed.

    Raises:
        UserError: naming the setting and those allowed.
    """
    for each in overrides:
        if each.startswith("--") and not each[2:].startswith(tuple(allowed)):
            raise UserError(
                f"{each.partition('=')[0]} cannot be set here: {why}; allowed are "
                f"{', '.join('--' + key + ('KEY' if key.endswith('.') else '') for key in allowed)}"
            )
