"""Which exported programs are let through: those whose file cannot make PyTorch run Python code while it is loaded.

`torch.export.load` (2.14) trusts its file. It unpickles example inputs, weights and constants without `weights_only`
where they ask for it, loads compiled libraries, hands size expressions to sympy's `sympify`, which evaluates text, and
writes guards and the names of nodes into Python source that it executes. Here a file is copied record by record: what
is not needed is dropped, what would be unpickled is refused, and every text that reaches an evaluator has to fit a
small grammar.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from iaat.errors import UserError

_KEPT = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/.*|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
)
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"

_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims?|quantized|quantized_decomposed|torchvision|higher_order)(\.(?!__)\w+){1,2}"
    r"|_operator\.(?!__)\w+|math\.(?!__)\w+|torch\.(sym|_sym)_\w+"
)
_ON_FILES = re.compile(r"torch\.ops\.aten\.(save|from_file)\b")
_NAME = re.compile(r"[\w.]*")
_KEY = re.compile(r"[\w.*+/() -]*")
_TYPES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
_CONTEXT = re.compile(r'[\w.\[\]", -]*')

_FUNCTIONS = frozenset(
    {
        *(
            "Symbol",
            "Integer",
            "Float",
            "Rational",
            "Add",
            "Mul",
            "Pow",
            "Mod",
            "Max",
            "Min",
            "And",
            "Or",
            "Not",
            "Xor",
        ),
        *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality", "StrictLessThan", "LessThan"),
        *("StrictGreaterThan", "GreaterThan", "floor", "ceiling", "Piecewise", "ExprCondPair", "FloorDiv", "CeilDiv"),
        *("ModularIndexing", "Where", "PythonMod", "CleanDiv", "CeilToInt", "FloorToInt", "LShift", "RShift"),
        *("PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator"),
        *("TruncToFloat", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat", "Identity"),
    }
)
_METHODS = frozenset({"size", "stride", "storage_offset"})
_GRAMMAR = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Call, ast.keyword, ast.Attribute, ast.Subscript, ast.Tuple),
    *(ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator, ast.Compare, ast.cmpop),
)


def vetted(path: Path) -> io.BytesIO:
    """A copy of an exported program that holds nothing but what has been looked at.

    The copy and not the file is what has to be loaded: two readers of zip archives may see different records in one.

    Raises:
        UserError: the file holds a record or a text that could run code, or that is not known.
    """
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        if len(set(source.namelist())) < len(source.namelist()):
            raise _refusal(path, "it holds two records of one name")
        for name in source.namelist():
            if (content := _record(path, name.partition("/")[2], source.read(name))) is not None:
                target.writestr(f"program/{name.partition('/')[2]}", content)
    copy.seek(0)
    return copy


def _record(path: Path, name: str, content: bytes) -> bytes | None:
    """What the copy gets of one record: its content, nothing, or None for no record at all."""
    if name.startswith("data/aotinductor/"):
        raise UserError(
            f"model file {path} is compiled by AOTInductor, which runs machine code and has no gradients: save the "
            "exported program itself by torch.export.save"
        )
    if name.startswith("extra/"):
        return None
    if name == _SAMPLE_INPUTS:
        return _rewritten(content)
    if not _KEPT.fullmatch(name):
        raise _refusal(path, f"its record {name} would be unpickled or is not known")
    if not name.endswith(".json"):
        return content
    try:
        return json.dumps(_checked(path, json.loads(content))).encode()
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise _refusal(path, f"its record {name} is no JSON that can be read") from None


def _rewritten(content: bytes) -> bytes:
    """Sample inputs written anew, so that PyTorch has no reason to unpickle them as code; without them it drops guards.

    Empty, which PyTorch takes for none, where they are not tensors and plain values.
    """
    copy = io.BytesIO()
    try:
        torch.save(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), copy)
    except Exception:  # a broken or hostile record can fail in any way
        return b""
    return copy.getvalue()


def _checked(path: Path, value: Any, key: str = "") -> Any:  # noqa: ANN401
    """A part of the program's description with its metadata taken out; raises where a text could be evaluated."""
    if isinstance(value, dict):
        if value.get("use_pickle") or "as_custom_obj" in value:
            raise _refusal(path, "it holds pickled objects")
        for name in value:
            if not _KEY.fullmatch(name):
                raise _refusal(path, f"it holds the name {name!r}")
        return {name: {} if name == "metadata" else _checked(path, item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_checked(path, item, key) for item in value]
    if isinstance(value, str) and not _FITS.get(key, _is_name)(value):
        raise _refusal(path, f"it holds {value[:80]!r} as {key}")
    return value


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _is_operator(text: str) -> bool:
    return _OPERATOR.fullmatch(text) is not None and _ON_FILES.match(text) is None


def _is_expression(text: str) -> bool:
    """Whether a text is arithmetic and comparisons over numbers, symbols and the sizes of inputs."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(isinstance(node, _GRAMMAR) and _is_harmless(node) for node in ast.walk(tree))


def _is_harmless(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name in _FUNCTIONS
        case ast.Call(func=function):
            return isinstance(function, ast.Attribute)
        case ast.Attribute(attr=name):
            return name in _METHODS
        case ast.Name(id=name):
            return name in _FUNCTIONS or re.fullmatch(r"L|inf|[suzf]+\d+", name) is not None
        case ast.Constant(value=str(text)):
            return text.isidentifier()
        case ast.Constant(value=value):
            return isinstance(value, int | float)
    return True


def _is_tree(text: str) -> bool:
    """Whether a text describes tuples, lists and dicts: the class names of others are imported."""

    def plain(value: Any) -> bool:  # noqa: ANN401
        if isinstance(value, list):
            return all(map(plain, value))
        if not isinstance(value, dict):
            return isinstance(value, int)
        context = value.get("context")
        fine = value.get("type") in _TYPES and (context is None or _CONTEXT.fullmatch(context) is not None)
        return fine and plain(value.get("children_spec", []))

    try:
        return plain(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return False


_FITS: dict[str, Callable[[str], bool]] = {
    "target": _is_operator,
    "as_operator": _is_operator,
    "expr_str": _is_expression,
    "guards_code": _is_expression,
    "in_spec": _is_tree,
    "out_spec": _is_tree,
    "torch_version": str.isprintable,
    "as_string": str.isprintable,
    "as_strings": str.isprintable,
}


def _refusal(path: Path, why: str) -> UserError:
    return UserError(
        f"model file {path} is refused: {why}, which could run code; export the network again by torch.export.save, "
        "with tensors for inputs and output, or give a factory of yours, module:function"
    )
