"""The first cell of a notebook says what to install, and that is what its cells import."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
OWN = {"stockdb", *(path.stem for path in ROOT.glob("*.py"))}


def cells(path: Path) -> list[tuple[str, str]]:
    held = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in held]


def imported(code: str) -> set[str]:
    """Modules that a cell imports; a magic imports what it is named after."""
    magics = set(re.findall(r"^%(\w+)", code, re.MULTILINE))
    found = set()
    for node in ast.walk(ast.parse(re.sub(r"^%.*$", "", code, flags=re.MULTILINE))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found | (magics & {"matplotlib"})


def names(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_it_imports_is_installed_by_its_first_cell(path: Path) -> None:
    kind, first = cells(path)[0]
    told = re.search(r"`pip install '\.\[([a-z,]+)\]' notebook`", first)
    assert kind == "markdown" and told, "say what to install"
    extras = told[1].split(",")
    installed = names(PROJECT["dependencies"]).union(*(names(EXTRAS[extra]) for extra in extras))
    dists = importlib.metadata.packages_distributions()
    needed = {name for kind, text in cells(path) if kind == "code" for name in imported(text)}
    if "stockdb.demo.bucket" in needed:
        assert "embedded" in extras
    tops = {name.partition(".")[0] for name in needed} - OWN - set(sys.stdlib_module_names)
    missing = [
        top for top in sorted(tops) if not {canonicalize_name(d) for d in dists[top]} & installed
    ]
    assert missing == []
    used = {extra for extra in extras if extra != "embedded"}
    given = {canonicalize_name(d) for top in tops for d in dists[top]}
    assert [extra for extra in used if not names(EXTRAS[extra]) & given] == []
