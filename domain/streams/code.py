"""What a model's code has to bring, read off its syntax. It is parsed and never executed here."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from domain.streams.contract import Framework

NEEDED_OF_TORCH = ("loss_fn", "optimizer", "metrics")
"""Methods that PyTorch's training container calls."""
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def flaw_of_code(framework: Framework, *, distributed: bool, imports: str, code: str) -> str | None:
    """What the containers would fail at, with the line where that is known; None: nothing that the syntax tells."""
    try:
        _parsed(imports)
    except ValueError as flaw:
        return f"imports: {flaw}"
    try:
        body = _parsed(code)
    except ValueError as flaw:
        return f"code: {flaw}"
    if distributed:
        if not body or not isinstance(body[-1], (ast.Expr, ast.Assign)):
            return "code: of a part of a chain the last line is the model itself, an expression"
        return None
    if "model" not in set(_bound(body)):
        return "code: it binds no `model`: say `model = ...`"
    if framework == "pth":
        defined = {one.name for one in _all(body) if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
        lacking = [name for name in NEEDED_OF_TORCH if name not in defined]
        if lacking:
            return f"code: the model has no method {lacking[0]}(), which its training calls"
    return None


def _parsed(text: str) -> list[ast.stmt]:
    """Raises ValueError."""
    try:
        return ast.parse(text).body
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deeply") from None


def _all(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for one in body:
        yield from ast.walk(one)


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Names that the module itself binds, not what is bound inside its functions and classes."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            yield one.id
        elif isinstance(one, ast.alias):
            yield (one.asname or one.name).partition(".")[0]
        elif isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield one.name
        if not isinstance(one, _SCOPES):
            waiting += ast.iter_child_nodes(one)
