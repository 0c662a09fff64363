"""Facts that several build files state have to agree."""

import fnmatch
import importlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import mirage_ros

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
CMAKE = re.sub(r"#.*", "", (ROOT / "CMakeLists.txt").read_text())


def pins(path: Path) -> set[str]:
    """Requirements of a file and of those that it includes, without environment markers."""
    found = set()
    for line in path.read_text().splitlines():
        requirement = line.split("#")[0].split(";")[0].strip()
        if requirement.startswith("-r "):
            found |= pins(path.parent / requirement[3:])
        elif requirement:
            found.add(requirement)
    return found


def test_one_version_everywhere():
    version = mirage_ros.__version__
    assert MANIFEST.findtext("version") == version
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "mirage_ros.__version__"
    assert re.search(rf"\b{re.escape(version)}\b", (ROOT / "CHANGELOG.rst").read_text())


def test_one_license_everywhere():
    assert MANIFEST.findtext("license") == PYPROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_every_interface_is_generated():
    on_disk = {
        str(path.relative_to(ROOT))
        for pattern in ("msg/*.msg", "srv/*.srv", "action/*.action")
        for path in ROOT.glob(pattern)
    }
    assert set(re.findall(r"(?:msg|srv|action)/\w+\.(?:msg|srv|action)", CMAKE)) == on_disk


def test_manifest_names_what_cmake_looks_for():
    wanted = set(re.findall(r"find_package\((\w+)", CMAKE))
    named = {element.text for element in MANIFEST.iter() if element.tag.endswith("depend")}
    assert wanted <= named


def test_manifest_suits_an_interface_package():
    assert MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("export/build_type") == "ament_cmake"
    assert MANIFEST.findtext("member_of_group") == "rosidl_interface_packages"
    assert re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", MANIFEST.find("maintainer").get("email"))


@pytest.mark.parametrize("name", ["runtime.txt", "build.txt", "dev.txt"])
def test_requirements_are_pinned_and_name_no_host(name):
    requirements = pins(ROOT / "requirements" / name)
    assert requirements
    assert not [line for line in requirements if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)]


def test_both_ways_to_build_use_the_same_versions():
    required = {line.split(";")[0].strip() for line in PYPROJECT["build-system"]["requires"]}
    assert required <= pins(ROOT / "requirements" / "build.txt")


def test_ros_extra_asks_for_the_tested_versions():
    wanted = {
        re.sub(r"\[.*\]", "", line) for line in PYPROJECT["project"]["optional-dependencies"]["ros"]
    }
    assert wanted <= pins(ROOT / "requirements" / "runtime.txt")


def test_the_command_is_one_program_however_it_is_installed():
    entry_points = PYPROJECT["project"]["scripts"]
    assert set(entry_points) == {"mirage"}
    module, _, function = entry_points["mirage"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    # CMake's programs call `main` of their module.
    assert function == "main"
    installed = re.findall(
        r"install_program\(mirage (\S+) (\S+)", CMAKE.replace("${PROJECT_NAME}", "mirage_ros")
    )
    assert sorted(installed) == [(module, "bin"), (module, "lib/mirage_ros")]


def test_the_source_distribution_holds_what_the_build_takes():
    lines = (ROOT / "MANIFEST.in").read_text().splitlines()
    for folder in ("action", "cmake", "config", "launch", "mirage_ros", "msg", "srv"):
        assert f"graft {folder}" in lines, folder


def test_what_the_shipped_model_needs_is_installed_with_the_package():
    project = PYPROJECT["project"]
    names = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert {"torch", "diffusers", "accelerate", "safetensors"} <= names
    # Stated once: an extra adds to these.
    for extra, lines in project["optional-dependencies"].items():
        assert not names & {re.match(r"[\w-]+", line)[0] for line in lines}, extra


@pytest.mark.parametrize(
    "file",
    [
        "nano.json",
        "MODEL_CARD.md",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
    ],
)
def test_every_way_to_build_takes_the_shipped_model_along(file):
    path = Path("mirage_ros/models/nano") / file
    assert (ROOT / path).is_file()
    # The source distribution takes the whole folder but for what is excluded everywhere.
    excluded = re.findall(
        r"^(?:global-exclude|exclude|prune) (.+)$", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE
    )
    left_out = [pattern for line in excluded for pattern in line.split()]
    # So does CMake, and setup.py takes what CMake has installed.
    (installed,) = re.findall(r"install\(DIRECTORY mirage_ros/(.*?)\)", CMAKE, re.DOTALL)
    assert "FILES_MATCHING" not in installed
    left_out += re.findall(r'PATTERN "([^"]+)" EXCLUDE', installed)
    ignored = re.findall(r"ignore_patterns\((.+?)\)", (ROOT / "setup.py").read_text())
    left_out += [name for line in ignored for name in re.findall(r'"([^"]+)"', line)]
    left_out += (ROOT / ".gitignore").read_text().split() if (ROOT / ".gitignore").exists() else []
    assert {"__pycache__", "*.c"} <= set(left_out), "the patterns were found"
    for part in path.parts:
        for pattern in left_out:
            assert not fnmatch.fnmatch(part, pattern.rstrip("/")), (part, pattern)
