"""Where an export goes: its default name, what is not replaced, and a place to write beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from iaat.errors import UserError
from iaat.export.writers import WRITERS, Writer
from iaat.runs.run_folder import RunFolder, run_of_checkpoint
from iaat.runtime.files import cannot_write, replacing


def default_path(target: Path, writer: Writer) -> Path:
    """The name of a run, of a run and its checkpoint, or of a file, in the working directory."""
    target = target.resolve()
    found = run_of_checkpoint(target)
    name = target.name if target.is_dir() else target.stem
    return Path(f"{name if found is None else f'{found[0].path.name}-{target.stem}'}{writer.suffix}")


def check_path(out: Path, format: str, *, overwrite: bool) -> None:  # noqa: A002
    """Refuse a path that is taken, or that has the suffix of another format.

    Raises:
        UserError: naming another path.
    """
    writer = WRITERS[format]
    others = {other.suffix: name for name, other in WRITERS.items() if name != format and not other.is_folder}
    if (other := others.get(out.suffix.lower())) is not None:
        raise UserError(f"{out}: {out.suffix} is of format {other}, not {format}: give one of the two another value")
    if out.exists() and out.is_dir() != writer.is_folder:
        kind, needed = ("a folder", "a file") if out.is_dir() else ("a file", "a folder")
        raise UserError(f"{out} is {kind}, and format {format} writes {needed}: name another with -o")
    if writer.is_folder and RunFolder(out).exists():
        raise UserError(f"{out} is a run folder, and what is exported lies beside a run: name another folder with -o")
    if format in ("safetensors", "pt2") and out.suffix.lower() != writer.suffix:
        raise UserError(
            f"{out}: readers know files of format {format} by their suffix: name it {out.name}{writer.suffix}"
        )
    files = [out / name for name in writer.files] if writer.is_folder else [out]
    if not overwrite and (there := [file for file in files if file.exists()]):
        raise _exists(there[0])


def _exists(path: Path) -> UserError:
    return UserError(f"{path} exists already: add --overwrite to replace it, or name another with -o")


@contextmanager
def written_beside(out: Path, *, is_folder: bool, overwrite: bool) -> Iterator[Path]:
    """A path beside `out` to write to, moved there when the block ends well and removed when it does not.

    Raises:
        UserError: the folder cannot be written, or a file is there and not to be replaced.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
            yield Path(temporary) if is_folder else Path(temporary, out.name)
            place = out if is_folder else out.parent
            moves = [(file, place / file.name) for file in sorted(Path(temporary).iterdir())]
            if not overwrite and (there := [target for _, target in moves if target.exists()]):
                raise _exists(there[0])
            for file, target in moves:
                with replacing(target) as name:
                    file.replace(name)
    except OSError as error:
        raise cannot_write(out, error) from error
