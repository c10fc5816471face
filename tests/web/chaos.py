"""Runs the web's measurements in their short form, and loads a script to test its own account."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

BENCH = Path(__file__).parents[2] / "bench"


def run_short(script: str, tmp_path: Path, *options: str) -> list[dict[str, Any]]:
    """The rounds of one small run of a program of ``bench/``, which must have ended well."""
    result = tmp_path / "result.json"
    command = [sys.executable, str(BENCH / f"{script}.py"), *options, "--json", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-6_000:]
    rounds: list[dict[str, Any]] = json.loads(result.read_text())["rounds"]
    return rounds


def load_script(name: str, monkeypatch: Any) -> ModuleType:
    """One of the bench's modules, which are no package."""
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location(f"{name}_under_test", BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
