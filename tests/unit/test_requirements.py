"""pyproject.toml decides the versions; the two requirement files only repeat it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OWN_NAME = canonicalize_name(PROJECT["name"])
RUNNER = {"pytest", "pytest-timeout"}  # what `python test_minio_integration.py` adds to the core


def parsed(lines: list[str]) -> dict[str, Requirement]:
    """Requirements by canonical name; a name said twice must say the same."""
    found: dict[str, Requirement] = {}
    for line in lines:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert found.setdefault(name, requirement) == requirement, f"{name} has two ranges"
    return found


def file_lines(name: str) -> list[str]:
    """Give the lines of a requirements file that are neither empty nor comments."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def locked() -> dict[str, str]:
    """Pinned versions of the lock by canonical name."""
    text = (ROOT / "requirements-ci.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def declared() -> dict[str, Requirement]:
    """Everything that pyproject.toml names, the core and all extras, but not itself."""
    lines = PROJECT["dependencies"] + [line for extra in EXTRAS.values() for line in extra]
    return {name: wanted for name, wanted in parsed(lines).items() if name != OWN_NAME}


def test_requirements_minio_is_core_embedded_and_the_test_runner() -> None:
    everything = declared()
    wanted = parsed(PROJECT["dependencies"] + EXTRAS["embedded"])
    wanted |= {name: everything[name] for name in RUNNER}
    assert parsed(file_lines("requirements_minio.txt")) == wanted


def test_dev_brings_every_other_extra() -> None:
    (itself,) = (r for r in map(Requirement, EXTRAS["dev"]) if r.name == PROJECT["name"])
    assert itself.extras == set(EXTRAS) - {"dev"}


@pytest.mark.parametrize("name", sorted(declared()))
def test_lock_holds_what_pyproject_asks_for(name: str) -> None:
    wanted = declared()[name]
    assert name in locked(), f"{name} is missing from the lock: run `make lock`"
    assert wanted.specifier.contains(locked()[name]), f"{wanted} in pyproject: run `make lock`"


def test_every_pin_of_the_lock_has_a_hash() -> None:
    text = (ROOT / "requirements-ci.lock").read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked()) > len(declared())
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", ["requirements-ci.lock", "requirements_minio.txt"])
def test_no_file_names_a_registry_or_a_folder(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.findall(r"\w+://|--\S*index\S*|--find-links|--trusted-host| @ ", text) == []
