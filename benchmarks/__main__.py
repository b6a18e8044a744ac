"""Run benchmarks by id, all by default; prints one line of JSON for each."""

from __future__ import annotations

import importlib
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import settle


def available() -> dict[str, str]:
    """Map ids to modules: ``P3`` to ``benchmarks.p03_cold_symbol``."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("p[0-9][0-9]_*.py")):
        number = re.match(r"p(\d\d)_", path.name)
        assert number is not None
        found[f"P{int(number[1])}"] = f"benchmarks.{path.stem}"
    return found


def machine() -> str:
    """Describe the machine in a few words: a figure without it means nothing."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = re.findall(r"model name\s*:\s*(.*)", info.read_text())
        model = f"{len(names)} x {names[0]}" if names else model
    return f"{model}, {platform.system()}, Python {platform.python_version()}"


def main(wanted: list[str]) -> int:
    """Run the benchmarks asked for; the exit status counts the bars that were missed."""
    modules = available()
    unknown = [name for name in wanted if name.upper() not in modules]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(modules)}", file=sys.stderr)
        return 2
    missed = 0
    settle()
    for name in [item.upper() for item in wanted] or list(modules):
        result: dict[str, Any] = importlib.import_module(modules[name]).run()
        result = {"id": name, **{k: v for k, v in result.items() if k != "id"}}
        print(json.dumps({**result, "machine": machine()}), flush=True)
        missed += result.get("ok") is False
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
