"""What first-party modules a module imports, read from the source without running it."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def path_of(module: str) -> Path | None:
    """The file of a first-party module or package, None for anything else."""
    base = SOURCE.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def direct_imports(module: str, *, inner: bool = True) -> set[str]:
    """First-party modules that a module imports, but for ``if TYPE_CHECKING`` blocks.

    ``inner`` counts what is imported when a function is called.
    """
    path = path_of(module)
    assert path is not None, module
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef) and not inner:
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"relative import in {path}"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)
    packages = {name.rpartition(".")[0] for name in found | {module}} | found
    return {name for name in packages if name.startswith("core_tokens") and path_of(name)}


def all_imports(module: str, *, inner: bool = True) -> set[str]:
    """``module`` and everything first-party it imports, directly or not."""
    seen: set[str] = set()
    waiting = {module}
    while waiting:
        current = waiting.pop()
        seen.add(current)
        waiting |= direct_imports(current, inner=inner) - seen
    return seen
