"""Imports only go down (docs/architecture.md), read from the source without running it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mirage_ros"

#: The rooms, lowest first. A room may import from lower ones and from itself.
ORDER = (
    ("atomic", "errors", "compiled", "machine", "stages"),
    ("geometry",),
    ("frames", "keyframes", "shortage", "nano_settings", "wan_settings", "world_model_config"),
    ("codec",),
    ("memory", "sources", "planning"),
    ("generation",),
    ("perception",),
    ("rollout",),
    ("rollout_group",),
    ("world_model",),
    ("nano_backend", "wan_backend"),
    ("backends",),
    ("evaluation", "pack_command", "training"),
    ("cli", "nodes"),
    ("demo",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

ROS_PACKAGES = {
    "rclpy",
    "rpyutils",
    "tf2_ros",
    "cv_bridge",
    "launch",
    "launch_ros",
    "ament_index_python",
    "builtin_interfaces",
    "lifecycle_msgs",
    "rcl_interfaces",
}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def import_time_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run on import: not those of functions, nor those for type checkers."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if is_type_checking(node):
            assert isinstance(node, ast.If)
            yield from import_time_statements(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from import_time_statements(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from import_time_statements(handler.body)


def imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        assert node.module is not None
        inside = {f"{node.module}.{alias.name}" for alias in node.names}
        return {node.module} | (inside & FILES.keys())
    return set()


@cache
def all_imports(module: str) -> frozenset[str]:
    tree = ast.parse(FILES[module].read_text())
    return frozenset().union(*(imported(node) for node in ast.walk(tree)))


@cache
def imports_on_import(module: str) -> frozenset[str]:
    """What importing ``module`` imports, with the packages above it."""
    tree = ast.parse(FILES[module].read_text())
    names = set().union(*(imported(node) for node in import_time_statements(tree.body)))
    for name in (module, *names):
        if name.startswith("mirage_ros."):
            names.add(name.rpartition(".")[0])
    return frozenset(names - {module})


def closure(module: str) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for name in imports_on_import(waiting.pop()):
            if name not in found:
                found.add(name)
                if name in FILES:
                    waiting.append(name)
    return found


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "mirage_ros" and len(parts) > 1 else None


def is_ros(name: str) -> bool:
    top = name.split(".")[0]
    kinds = (["mirage_ros", "action"], ["mirage_ros", "msg"], ["mirage_ros", "srv"])
    generated = name.split(".")[:2] in kinds
    return generated or top in ROS_PACKAGES or top.endswith(("_msgs", "_srvs"))


def tops(names: set[str] | frozenset[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_the_checks_see_the_code() -> None:
    assert {"mirage_ros.world_model", "mirage_ros.nodes"} <= FILES.keys()
    assert "torch" in tops(closure("mirage_ros.world_model"))
    assert any(is_ros(n) for m in FILES if room(m) == "nodes" for n in all_imports(m))


@pytest.mark.parametrize("module", FILES)
def test_imports_only_go_down(module: str) -> None:
    here = room(module)
    if here is None:
        assert not all_imports(module), "the package itself imports nothing, so either half loads"
        return
    assert here in RANK, f"{here} has no place in the layers; say where it belongs"
    for name in all_imports(module):
        there = room(name)
        if there is None or there == here or is_ros(name):
            continue
        assert RANK[there] < RANK[here], f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", [m for m in FILES if room(m) != "nodes"])
def test_core_imports_no_ros(module: str) -> None:
    assert not {name for name in all_imports(module) if is_ros(name)}


@pytest.mark.parametrize("module", [m for m in FILES if room(m) == "geometry"])
def test_geometry_needs_neither_torch_nor_ros(module: str) -> None:
    names = closure(module)
    assert "torch" not in tops(names)
    assert not {name for name in names if is_ros(name)}


@pytest.mark.parametrize("module", [m for m in FILES if room(m) in ("nodes", "backends")])
def test_nodes_load_without_torch(module: str) -> None:
    assert "torch" not in tops(closure(module))


@pytest.mark.parametrize("module", ["mirage_ros.memory", "mirage_ros.world_model"])
def test_core_really_loads_without_ros(module: str) -> None:
    script = (
        f"import sys, {module}\n"
        "ros = {'rclpy', 'std_msgs', 'sensor_msgs'} & sys.modules.keys()\n"
        "sys.exit(f'imported {ros}' if ros else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
