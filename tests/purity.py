"""A contract for lint-imports: pure code imports what is on a list, and has no way around it.

A list of what is forbidden lets through whatever nobody has thought of. This one holds for the source modules and for
every module of ours that they reach, so that nothing impure comes in by a room that is allowed.
"""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
from grimp import ImportGraph
from importlinter.application import contract_utils, output
from importlinter.application.contract_utils import AlertLevel
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck

WAYS_AROUND = frozenset(
    {"__builtins__", "__import__", "__loader__", "breakpoint", "compile", "eval", "exec", "globals", "input", "open"}
    | {"print"}
)
"""Built-in names with which code imports, reads, writes or asks at run time."""


class Found(msgspec.Struct, frozen=True, order=True):
    """What a module may not have: an import, or a built-in name, and in which lines."""

    module: str
    what: str
    lines: tuple[int, ...]


class PureContract(Contract):
    """Options: source_modules (packages, with all in them), allowed_modules (ours and others' alike; of ours with all
    in them), ignore_imports (as every contract has it; one that matches nothing is no error)."""

    type_name = "pure"

    source_modules = fields.SetField(subfield=fields.StringField())
    allowed_modules = fields.SetField(subfield=fields.StringField())
    ignore_imports = fields.SetField(subfield=fields.ImportExpressionField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        removed = contract_utils.remove_ignored_imports_and_report(
            graph=graph,
            ignore_imports=self.ignore_imports,  # type: ignore[arg-type]
            unmatched_alerting=AlertLevel.NONE,
        )
        found: list[Found] = []
        for module in sorted(self._reached(graph)):
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                if not _within(imported, self.allowed_modules):  # type: ignore[arg-type]
                    details = graph.get_import_details(importer=module, imported=imported)
                    found.append(Found(module, imported, tuple(one["line_number"] for one in details)))
            found += ways_around(module, _source_of(module).read_text())
        return ContractCheck(
            kept=not found,
            warnings=list(removed.warnings),
            ignored_import_count=removed.ignored_import_count,
            metadata={"found": sorted(found)},
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        for one in check.metadata["found"]:
            lines = ", ".join(f"l.{line}" for line in one.lines)
            output.print_error(f"- {one.module} -> {one.what} ({lines})", bold=False)
        output.new_line()

    def _reached(self, graph: ImportGraph) -> set[str]:
        """The source modules, and those of ours that they import, directly or not, as far as that is allowed."""
        waiting = [module for module in graph.modules if _within(module, self.source_modules)]  # type: ignore[arg-type]
        reached: set[str] = set()
        while waiting:
            module = waiting.pop()
            if module in reached or graph.is_module_squashed(module):
                continue
            reached.add(module)
            imported = graph.find_modules_directly_imported_by(module)
            waiting += (one for one in imported if _within(one, self.allowed_modules))  # type: ignore[arg-type]
        return reached


def ways_around(module: str, source: str) -> list[Found]:
    """Where the source names a built-in that needs no import to import, read or write."""
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name) and node.id in WAYS_AROUND]
    return [Found(module, name, tuple(n.lineno for n in names if n.id == name)) for name in {n.id for n in names}]


def _within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _source_of(module: str) -> Path:
    """lint-imports runs where the packages are."""
    path = Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
