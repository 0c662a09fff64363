"""config/world_model.yaml and the README name every parameter with its default."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")

from mirage_ros.nodes.world_model_parameters import WORLD_MODEL_PARAMETERS

ROOT = Path(__file__).parents[2]
BY_NAME = {spec.name: spec for spec in WORLD_MODEL_PARAMETERS}


def _values(name: str) -> dict[str, object]:
    document = yaml.safe_load((ROOT / "config" / name).read_text())
    values: dict[str, object] = document["/**"]["ros__parameters"]
    flat: dict[str, object] = {}
    for key, value in values.items():
        below = value if isinstance(value, dict) else {}
        flat |= {f"{key}.{name}": one for name, one in below.items()} or {key: value}
    return flat


def test_the_parameter_file_holds_every_default() -> None:
    values = _values("world_model.yaml")
    expected = {n: s.default for n, s in BY_NAME.items() if not isinstance(s.default, list)}
    assert values == expected
    for name, value in values.items():
        assert type(value) is type(expected[name]), name
    text = (ROOT / "config" / "world_model.yaml").read_text()
    for name in BY_NAME.keys() - expected.keys():
        assert f"# {name.rpartition('.')[2]}: [" in text, name


@pytest.mark.parametrize(
    "name", ["replay_world_model.yaml", "simulator_world_model.yaml", "wan_world_model.yaml"]
)
def test_other_parameter_files_hold_valid_values(name: str) -> None:
    for parameter, value in _values(name).items():
        assert BY_NAME[parameter].problem(value) == ""


def test_the_readme_lists_every_parameter_with_its_description() -> None:
    readme = (ROOT / "README.md").read_text()
    for spec in WORLD_MODEL_PARAMETERS:
        default = spec.default
        if isinstance(default, list):
            cell = "not set"
        elif isinstance(default, bool):
            cell = str(default).lower()
        else:
            cell = "empty" if default == "" else f"`{default}`"
        (row,) = (line for line in readme.splitlines() if line.startswith(f"| `{spec.name}` |"))
        assert row.startswith(f"| `{spec.name}` | {cell} | {spec.description}"), row
        assert row.endswith("* |") is spec.dynamic, row
