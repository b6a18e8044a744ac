"""The house's walls: who may import whom, and how big a module may grow.

The floors inside ``stockdb`` are an import-linter contract in pyproject.toml. That tool
refuses single modules as roots, so the rules about the front doors are small functions
here. Every rule takes the root of a tree and gives its violations, one line each; every
rule is shown a planted violation and has to find it.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRONT_DOORS = (
    "minio_config",
    "minio_data_integration",
    "trading_data_adapter",
    "leaps_data_integration",
)
CLIENT_ROOM = "stockdb/core/store.py"
#: Library: who may import it. Below the client, its HTTP layer has a pool and a translation.
CLIENTS = {
    "minio": {CLIENT_ROOM},
    "urllib3": {CLIENT_ROOM, "stockdb/core/transport.py", "stockdb/core/translate.py"},
}
MAX_LINES = 500
MAX_STATEMENTS = 25


# ------------------------------------------------------------------ reading a tree


def library(root: Path) -> Iterator[Path]:
    """Modules that are shipped: the front doors that are there and all of ``stockdb``."""
    yield from (path for name in FRONT_DOORS if (path := root / f"{name}.py").is_file())
    yield from sorted((root / "stockdb").rglob("*.py"))


def own_code(root: Path) -> Iterator[Path]:
    """All modules of the project: shipped, tests, benchmarks and examples."""
    yield from library(root)
    if (root / "test_minio_integration.py").is_file():
        yield root / "test_minio_integration.py"
    for room in ("tests", "benchmarks", "examples"):
        yield from sorted((root / room).rglob("*.py"))


def place(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level name of each absolute import, wherever in the module it stands."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


# ------------------------------------------------------------------ the rules


def broken_floors(root: Path) -> list[str]:
    """What import-linter says against the contract in the tree's own pyproject.toml."""
    lint = "from importlinter.cli import lint_imports_command as lint; lint()"
    done = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    kept = done.returncode == 0 and "Contracts: 1 kept, 0 broken" in done.stdout
    return [] if kept else (done.stdout + done.stderr).splitlines()


def busy_package_root(root: Path) -> list[str]:
    """``stockdb/__init__.py`` is on no floor, so what it imported would slip past the contract."""
    path = root / "stockdb" / "__init__.py"
    nodes = (node for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom))
    relative = [(node.lineno, "stockdb") for node in nodes if node.level]
    return [
        f"{place(root, path)}:{line} imports from {name}"
        for line, name in [*imported(path), *relative]
        if name in {"stockdb", *FRONT_DOORS}
    ]


def front_door_imports(root: Path) -> list[str]:
    """Only the application floor stands above the front doors."""
    above = (root / "stockdb" / "app", root / "stockdb" / "app.py", root / "stockdb/__main__.py")
    return [
        f"{place(root, path)}:{line} imports the front door {name}"
        for path in sorted((root / "stockdb").rglob("*.py"))
        if not any(path == room or room in path.parents for room in above)
        for line, name in imported(path)
        if name in FRONT_DOORS
    ]


def fat_functions(root: Path) -> list[str]:
    """Front doors document, compose and delegate; work happens behind them."""
    found = []
    for path in (root / f"{name}.py" for name in FRONT_DOORS):
        for node in ast.walk(tree(path)) if path.is_file() else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[ast.get_docstring(node) is not None :]
                size = sum(isinstance(n, ast.stmt) for part in body for n in ast.walk(part))
                if size > MAX_STATEMENTS:
                    found.append(f"{path.name}:{node.lineno} {node.name} has {size} statements")
    return found


def front_doors_reaching_through(root: Path) -> list[str]:
    """Front doors leave the network and the file formats to the rooms behind them."""
    return [
        f"{path.name}:{line} imports {name}"
        for path in (root / f"{name}.py" for name in FRONT_DOORS)
        if path.is_file()
        for line, name in imported(path)
        if name in {*CLIENTS, "pyarrow"}
    ]


def client_imports(root: Path) -> list[str]:
    """One file talks to the server, so one file translates its errors."""
    return [
        f"{place(root, path)}:{line} imports {name}"
        for path in library(root)
        for line, name in imported(path)
        if name in CLIENTS and place(root, path) not in CLIENTS[name]
    ]


def long_modules(root: Path) -> list[str]:
    """Nobody reads a module of more than 500 lines."""
    sizes = ((path, len(path.read_text(encoding="utf-8").splitlines())) for path in own_code(root))
    return [f"{place(root, path)} has {size} lines" for path, size in sizes if size > MAX_LINES]


Rule = Callable[[Path], list[str]]
RULES: tuple[Rule, ...] = (
    broken_floors,
    busy_package_root,
    front_door_imports,
    fat_functions,
    front_doors_reaching_through,
    client_imports,
    long_modules,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule: Rule) -> None:
    assert rule(ROOT) == []


# ------------------------------------------------------------------ every rule bites


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the shipped tree and its contract, in which a room may be missing."""
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "stockdb", tmp_path / "stockdb", ignore=no_caches)
    for name in ("pyproject.toml", *(f"{door}.py" for door in FRONT_DOORS)):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def plant(root: Path, where: str, code: str) -> None:
    """Write a module, and any package on the way to it that the tree does not have yet."""
    path = root / where
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in path.relative_to(root).parents:
        if folder != Path():
            (root / folder / "__init__.py").touch()
    path.write_text(f'"""Planted."""\n{code}\n', encoding="utf-8")


UPWARD = [  # importer, imported: one pair for each wall between two floors or two neighbours
    ("errors", "types"),
    ("types", "settings"),
    ("settings", "sessions"),
    ("sessions", "core"),
    ("core", "processing"),
    ("processing", "core"),
    ("options", "processing"),
    ("core", "options"),
    ("options", "demo"),
    ("demo", "access"),
    ("access", "algorithms"),
    ("algorithms", "models"),
    ("models", "scale"),
    ("scale", "algorithms"),
    ("scale", "app"),
]


@pytest.mark.parametrize(("low", "high"), UPWARD, ids=[f"{a}-{b}" for a, b in UPWARD])
def test_an_import_against_the_floors_is_found(house: Path, low: str, high: str) -> None:
    for room in (low, high):
        if not (house / f"stockdb/{room}.py").exists():
            plant(house, f"stockdb/{room}/__init__.py", "")
    if not (house / f"stockdb/{high}.py").exists():
        plant(house, f"stockdb/{high}/planted_target.py", "")
        wanted = f"stockdb.{high}.planted_target"
    else:
        wanted = f"stockdb.{high}"
    single = house / f"stockdb/{low}.py"
    if single.exists():
        single.write_text(single.read_text(encoding="utf-8") + f"\nimport {wanted}\n")
        importer = f"stockdb.{low}"
    else:
        plant(house, f"stockdb/{low}/planted.py", f"def later():\n    import {wanted}")
        importer = f"stockdb.{low}.planted"
    report = "\n".join(broken_floors(house))
    assert f"{importer} -> {wanted}" in report


def test_a_room_without_a_floor_is_found(house: Path) -> None:
    plant(house, "stockdb/attic/__init__.py", "")
    assert any("attic" in line for line in broken_floors(house))


DOOR = "minio_data_integration.py"
PLANTS: list[tuple[Rule, str, str, str]] = [
    (busy_package_root, "stockdb/__init__.py", "from .core import x", "__init__.py:2 imports"),
    (busy_package_root, "stockdb/__init__.py", "import stockdb.types", "__init__.py:2 imports"),
    (
        front_door_imports,
        "stockdb/core/planted.py",
        "import minio_data_integration",
        "core/planted",
    ),
    (
        front_door_imports,
        "stockdb/scale/planted.py",
        "def late():\n    from trading_data_adapter import TradingDataAdapter as T",
        "scale/planted",
    ),
    (front_door_imports, "stockdb/planted.py", "import minio_config as c", "stockdb/planted"),
    (fat_functions, DOOR, "def f():\n" + "    f()\n" * (MAX_STATEMENTS + 1), f"{DOOR}:2 f has 26"),
    (
        fat_functions,
        DOOR,
        "class C:\n  async def f(self):\n    if self:\n" + "      f()\n" * MAX_STATEMENTS,
        f"{DOOR}:3 f has 26",
    ),
    (
        front_doors_reaching_through,
        DOOR,
        "from pyarrow import parquet",
        f"{DOOR}:2 imports pyarrow",
    ),
    (front_doors_reaching_through, DOOR, "import minio.error", f"{DOOR}:2 imports minio"),
    (client_imports, "stockdb/core/planted.py", "from minio.error import S3Error", "core/planted"),
    (client_imports, "stockdb/demo/store.py", "def f():\n    import urllib3", "demo/store"),
    (client_imports, DOOR, "import urllib3.util as u", f"{DOOR}:2 imports urllib3"),
    (long_modules, "stockdb/core/planted.py", "x = 1\n" * MAX_LINES, "core/planted.py has 50"),
    (long_modules, DOOR, "x = 1\n" * MAX_LINES, f"{DOOR} has 50"),
    (long_modules, "tests/unit/test_planted.py", "x = 1\n" * MAX_LINES, "test_planted.py has 50"),
]


@pytest.mark.parametrize(
    ("rule", "where", "code", "complaint"), PLANTS, ids=[f"{p[0].__name__}-{p[1]}" for p in PLANTS]
)
def test_a_planted_violation_is_found(
    house: Path, rule: Rule, where: str, code: str, complaint: str
) -> None:
    plant(house, where, code)
    assert [line for line in rule(house) if complaint in line]


PERMITTED: list[tuple[Rule, str, str]] = [
    (front_door_imports, "stockdb/app/tour.py", "import minio_data_integration"),
    (front_door_imports, "stockdb/__main__.py", "from minio_config import DATASETS"),
    (fat_functions, DOOR, 'def f():\n    """Say."""\n' + "    f()\n" * MAX_STATEMENTS),
    (client_imports, CLIENT_ROOM, "import minio\nimport urllib3"),
    (long_modules, "stockdb/core/planted.py", "x = 1\n" * (MAX_LINES - 2)),
]


@pytest.mark.parametrize(
    ("rule", "where", "code"), PERMITTED, ids=[f"{p[0].__name__}-{p[1]}" for p in PERMITTED]
)
def test_what_is_permitted_passes(house: Path, rule: Rule, where: str, code: str) -> None:
    plant(house, where, code)
    assert not [line for line in rule(house) if where in line]


def test_downward_imports_over_every_floor_pass(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    plant(tmp_path, "stockdb/errors.py", "")
    below = "stockdb.errors"
    for room in ("types", "settings", "sessions", "core", "demo", "access", "scale", "app"):
        plant(tmp_path, f"stockdb/{room}.py", f"import {below}")
        below = f"stockdb.{room}"
    plant(tmp_path, "stockdb/__main__.py", f"import {below}")
    assert broken_floors(tmp_path) == []
