"""Optional dependencies: the packages of the extra `export`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from iaat.errors import UserError


def check_installed(packages: Iterable[str], what: str) -> None:
    """Refuse what needs packages that are not installed; none is imported.

    Args:
        packages: Names by which they are imported and installed; all are in the extra `export`.
        what: What needs them, such as `format onnx`.

    Raises:
        UserError: naming those that are missing and the command that installs them.
    """
    if missing := [name for name in packages if find_spec(name) is None]:
        are = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"{what} needs {', '.join(missing)}, which {are} not installed: pip install {' '.join(missing)} (or"
            f" pip install '.[export]' in the folder of iaat's sources)"
        )
