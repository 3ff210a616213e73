"""Counts how the product is built: `python -m tests.house [ROOT]`; run over two trees, it compares them.

- modules of each folder; depth (longest chain of imports) and edges between modules, for each part
- logical statements, comments and docstrings in 1000 lines, blank lines inside functions, tuple assignments of
  attributes (`self.a, self.b = x, y`), public class names with more than one meaning
"""

import ast
import io
import sys
import tokenize
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

PARTS = ("core", "operator", "worker", "gateway", "cli")


@dataclass(slots=True)
class Tally:
    """What is counted over a set of files."""

    lines: int = 0
    statements: int = 0
    comments: int = 0
    function_lines: int = 0
    blank_in_functions: int = 0
    tuple_assignments: int = 0
    classes: Counter[str] = field(default_factory=Counter)


def count(tally: Tally, text: str) -> None:
    """Add one file."""
    lines = text.splitlines()
    tree = ast.parse(text)
    tally.lines += len(lines)
    tally.comments += sum(
        token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(text).readline)
    )
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not is_docstring(node):
            tally.statements += 1
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if isinstance(node, ast.Assign) and any(is_tuple_of_attributes(target) for target in node.targets):
            tally.tuple_assignments += 1
    tally.classes.update(
        node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    tally.function_lines += len(inside)
    tally.blank_in_functions += sum(not lines[number - 1].strip() for number in inside)


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_tuple_of_attributes(target: ast.expr) -> bool:
    return isinstance(target, ast.Tuple) and all(isinstance(one, ast.Attribute) for one in target.elts)


def modules_of(root: Path, part: str) -> dict[str, Path]:
    """Every module of a part by its dotted name."""
    found = {}
    for path in sorted((root / part).rglob("*.py")):
        name = ".".join(path.relative_to(root / part).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the same part that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in known:
                    found.add(whole)
                elif node.module in known:
                    found.add(node.module)
    return found


def depth_of(edges: dict[str, set[str]]) -> int:
    """The longest chain of imports, in modules; a circle counts once."""
    depths: dict[str, int] = {}

    def depth(name: str, above: frozenset[str]) -> int:
        if name not in depths:
            below = [depth(one, above | {name}) for one in edges[name] if one not in above and one != name]
            depths[name] = 1 + max(below, default=0)
        return depths[name]

    return max(depth(name, frozenset()) for name in edges)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> None:
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    whole = Tally()
    folders: Counter[str] = Counter()
    for part in PARTS:
        known = modules_of(root, part)
        edges = {name: imports_of(path, known) - {name} for name, path in known.items()}
        tally = Tally()
        for path in known.values():
            count(tally, path.read_text())
            count(whole, path.read_text())
            if path.name != "__init__.py":
                folders[str(path.parent.relative_to(root))] += 1
        say(
            f"{part}: {len(known)} modules, {sum(map(len, edges.values()))} imports between them, "
            f"depth {depth_of(edges)}, {tally.statements} statements"
        )
    say("modules of a folder: " + ", ".join(f"{name} {number}" for name, number in folders.most_common(12)))
    double = defaultdict(int, {name: number for name, number in whole.classes.items() if number > 1})
    say(f"statements: {whole.statements} in {whole.lines} lines")
    say(f"comments in 1000 lines: {1000 * whole.comments / whole.lines:.1f}")
    say(f"blank lines in functions: {100 * whole.blank_in_functions / whole.function_lines:.1f} %")
    say(f"tuple assignments of attributes in 1000 lines: {1000 * whole.tuple_assignments / whole.lines:.1f}")
    say(f"class names with more than one meaning: {len(double)} {' '.join(sorted(double))}")


if __name__ == "__main__":
    main()
