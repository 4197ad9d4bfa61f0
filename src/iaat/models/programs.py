"""Models in program files: TorchScript and `torch.export`. A program is code, and needs trust."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from iaat.errors import UserError
from iaat.models.model_file_kind import FileKind
from iaat.runtime.text import first_line
from iaat.runtime.user_code import is_trusted_file


class Program(nn.Module):
    """Wrapper that makes a program an ordinary module: any mode, any batch size.

    Args:
        program: What computes the logits; registered as a child where it has a mode to be set.
        digest: Identifies the file it came from.
        smallest: Fewest samples the program takes; smaller batches are filled up with copies of their last sample.
        largest: Most samples it takes; larger batches are cut.
    """

    def __init__(self, program: nn.Module, *, digest: str, smallest: int = 1, largest: float = inf) -> None:
        super().__init__()
        self.digest, self.smallest, self.largest = digest, smallest, largest
        if hasattr(program, "training"):
            self.program = program
        else:
            # A frozen TorchScript program has no mode, and modules() would hand it out to those who set one.
            self.__dict__["program"] = program
        if next(self.parameters(), None) is None:
            # Its weights are constants; callers ask a model's first parameter where it lives.
            self.register_parameter("nothing", nn.Parameter(torch.empty(0), requires_grad=False))

    def train(self, mode: bool = True) -> Program:
        """Set the training flag; the program itself keeps the mode it was exported in."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Output of the program for inputs `[B, ...]`."""
        if self.smallest <= len(x) <= self.largest:
            return self.program(x)  # type: ignore[no-any-return]
        parts = torch.split(x, int(min(self.largest, max(len(x), 1))))
        return torch.cat([self._filled_up(part) for part in parts])

    def _filled_up(self, x: Tensor) -> Tensor:
        missing = max(self.smallest - len(x), 0)
        fill = x[-1:].expand(missing, *x.shape[1:]) if len(x) else x.new_zeros(missing, *x.shape[1:])
        logits: Tensor = self.program(torch.cat([x, fill]))
        return logits[: len(x)]


def load_program(path: Path, kind: FileKind, device: torch.device | str = "cpu", *, trust: bool = False) -> Program:
    """Load a program from a file, in eval mode on `device`; this runs whatever code it holds.

    Args:
        path: The file.
        kind: "torchscript" or "exported", see `iaat.models.model_file_kind.file_kind`.
        device: Where it is to run.
        trust: Load any file; else only one that `iaat.runtime.user_code.trust` has named.

    Raises:
        UserError: it is not trusted or cannot be loaded, takes more than one input, or was exported in training mode.
    """
    if not trust:
        check_program_trusted(path, kind)
    return _load_torchscript(path, device) if kind == "torchscript" else _load_exported(path, device)


def check_program_trusted(path: Path, kind: FileKind) -> None:
    """Refuse a program file that `iaat.runtime.user_code.trust` has not named.

    Raises:
        UserError: with the ways out.
    """
    if not is_trusted_file(path):
        made = "TorchScript" if kind == "torchscript" else "torch.export"
        raise UserError(
            f"model file {path} is a program ({made}), and a program is code: it can write files or worse. If you trust"
            f" who made it, add --trust {path} (in Python, load_model(..., trust=True)); else have the weights saved,"
            " torch.save(model.state_dict(), FILE), and give FILE with --model.name NAME or a factory, module:function"
        )


def _load_torchscript(path: Path, device: torch.device | str) -> Program:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated; files of it are still around
            program = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except Exception as error:  # a damaged program can fail in any way
        raise UserError(f"model file {path} cannot be loaded as TorchScript: {first_line(error)}") from None
    return Program(program.eval() if hasattr(program, "training") else program, digest=file_digest(path))


def _load_exported(path: Path, device: torch.device | str) -> Program:
    """Load an exported program, for whatever batch size it was exported."""
    try:
        program = torch.export.load(path)
        inputs = program.graph_signature.user_inputs
        if len(inputs) != 1:
            raise UserError(f"model file {path} takes {len(inputs)} inputs: export a model of one, the images")
        _check_mode(path, program)
        if torch.device(device).type != "cpu":
            program = move_to_device_pass(program, str(device))
        smallest, largest = _batch_sizes(program, inputs[0])
        module = program.module()
    except UserError:
        raise
    except Exception as error:  # a program that another version wrote can fail in any way
        raise UserError(
            f"model file {path} cannot be loaded by PyTorch {torch.__version__}: {first_line(error)}; export and save "
            "the model again with this version"
        ) from None
    return Program(module, digest=file_digest(path), smallest=smallest, largest=largest)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _batch_sizes(program: torch.export.ExportedProgram, name: str) -> tuple[int, float]:
    """Smallest and largest batch that the program takes."""
    node = next(node for node in program.graph.nodes if node.name == name)
    size = node.meta["val"].shape[0]
    if isinstance(size, int):
        return size, size
    allowed = program.range_constraints.get(size.node.expr)
    if allowed is None or program._guards_code or not size.node.expr.is_Symbol:
        # What other sizes it takes is a matter of arithmetic; the one it was exported with is among them.
        return size.node.hint, size.node.hint
    largest = float(allowed.upper)
    return max(int(allowed.lower), 1), largest if largest < 1 << 30 else inf


def _check_mode(path: Path, program: torch.export.ExportedProgram) -> None:
    """Refuse a program with BatchNorm or dropout that was exported in training mode."""
    for node in _nodes(program.graph_module):
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            continue
        settings = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False)) | node.kwargs
        if settings.get("training") is True or settings.get("train") is True:
            raise UserError(
                f"model file {path} was exported in training mode ({schema.name}): call model.eval() before "
                "torch.export.export"
            )


def _nodes(module: nn.Module) -> Iterator[Any]:
    for each in module.modules():
        if isinstance(each, torch.fx.GraphModule):
            yield from each.graph.nodes
