"""What `pip install` really brings: the built wheel, in an environment of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRONT_DOORS = (
    "minio_config",
    "minio_data_integration",
    "trading_data_adapter",
    "leaps_data_integration",
)
NOT_SHIPPED = ("tests", "benchmarks", "examples", "data")
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IMPORT_ALL = """
import importlib, json, pkgutil, sys
names = sys.argv[1:]
import stockdb
names += [m.name for m in pkgutil.walk_packages(stockdb.__path__, "stockdb.")]
names = ["stockdb"] + [n for n in names if not n.endswith("__main__")]
print(json.dumps({n: importlib.import_module(n).__file__ for n in names}))
"""


@dataclass(frozen=True)
class Installed:
    """The wheel's file list and the environment that it was installed into."""

    names: frozenset[str]
    metadata: str
    home: Path
    python: Path


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build from a copy, so that no leftover of an earlier build gets in, and install it."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    for name in NOT_SHIPPED:  # bait: these must stay outside, whether the tree has them or not
        (source / name).mkdir(exist_ok=True)
        (source / name / "__init__.py").touch()
        (source / name / "bait.py").touch()

    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    build = ("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", work)
    run(*pip, *build, source, cwd=work)
    (wheel,) = work.glob("*.whl")

    home = work / "home"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=work)
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=work)
    own = Path(
        run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=work
        ).strip()
    )
    # Dependencies come from the running environment, after the new one's own packages.
    lenders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "lenders.pth").write_text("\n".join(sorted(lenders)), encoding="utf-8")

    with zipfile.ZipFile(wheel) as archive:
        names = frozenset(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode("utf-8")
    return Installed(names, text, home, python)


def test_wheel_holds_the_library_and_nothing_else(installed: Installed) -> None:
    shipped = {name for name in installed.names if ".dist-info/" not in name}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "stockdb").rglob("*.py")}
    assert shipped == sources | {"stockdb/py.typed"} | {f"{name}.py" for name in FRONT_DOORS}


def test_wheel_carries_the_one_version(installed: Installed) -> None:
    version = run(
        installed.python,
        "-I",
        "-c",
        "import stockdb; print(stockdb.__version__)",
        cwd=installed.home,
    ).strip()
    assert f"\nVersion: {version}\n" in installed.metadata


def test_everything_imports_from_the_wheel(installed: Installed) -> None:
    out = run(installed.python, "-I", "-c", IMPORT_ALL, *FRONT_DOORS, cwd=installed.home)
    files: dict[str, str] = json.loads(out.splitlines()[-1])
    assert set(FRONT_DOORS) < set(files)
    assert [f for f in files.values() if installed.home not in Path(f).parents] == []
