"""Lets `pip install .` run CMakeLists.txt and packs what it installs into a wheel.

The wheel is laid out as the ROS 2 wheels are: the Python package with its generated interfaces beside
them in site-packages, and `lib`, `share` and `include` as parts of the prefix, so that a virtual
environment is one ament prefix and `ros_wheels_bootstrapper` finds the shared libraries.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOT = Path(__file__).resolve().parent
PACKAGE = "mirage_ros"


def find_ros_prefix() -> Path:
    """Return the prefix of the ROS that this interpreter sees: an environment with ROS wheels, or /opt/ros/...

    Raises:
        SetupError: there is none.
    """
    spec = importlib.util.find_spec("rosidl_adapter")
    if spec is not None and spec.origin is not None:
        for directory in Path(spec.origin).parents:
            if (directory / "share" / "ament_index").is_dir():
                return directory
    raise SetupError(
        "No ROS 2 interface generators found (Python package rosidl_adapter inside an ament prefix). "
        "Build with isolation (plain `pip install .`), or first install requirements/build.txt, "
        "or source a ROS 2 installation."
    )


def build_environment(ros_prefix: Path) -> dict[str, str]:
    """Return the environment in which CMake and the generators that it starts find the ROS at `ros_prefix`.

    Only that prefix counts: a ROS of another version that happens to be sourced is left out.
    """
    spec = importlib.util.find_spec("rosidl_adapter")
    assert spec is not None and spec.origin is not None
    site_packages = Path(spec.origin).parents[1]
    libraries = [ros_prefix / "lib", *sorted(site_packages.glob("ros_*.libs"))]

    def joined(paths: list[Path], inherited: str) -> str:
        parts = [*map(str, paths), *os.environ.get(inherited, "").split(os.pathsep)]
        return os.pathsep.join(part for part in parts if part)

    return {
        **os.environ,
        "AMENT_PREFIX_PATH": str(ros_prefix),
        "CMAKE_PREFIX_PATH": str(ros_prefix),
        "LD_LIBRARY_PATH": joined(libraries, "LD_LIBRARY_PATH"),
        # cmake and ninja of a virtual environment that is not activated.
        "PATH": joined([Path(sysconfig.get_path("scripts"))], "PATH"),
        # An isolated build environment is no prefix of the interpreter, only a path it was given.
        "PYTHONPATH": joined([site_packages], "PYTHONPATH"),
        # The libraries are named above; the generators need not start twice to find them.
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
    }


def install_with_cmake(build_directory: Path, stage: Path) -> Path:
    """Configure, build and install into `stage`; return the directory of Python packages in it.

    Raises:
        SetupError: CMake is missing or fails.
    """
    ros_prefix = find_ros_prefix()
    environment = build_environment(ros_prefix)
    cmake = shutil.which("cmake", path=environment["PATH"])
    if cmake is None:
        raise SetupError("cmake not found on PATH; `pip install cmake ninja` gives one")
    python_directory = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    configure = [
        *(cmake, "-S", str(ROOT), "-B", str(build_directory)),
        f"-DCMAKE_INSTALL_PREFIX={stage}",
        f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'cmake' / 'relocate_wheels.cmake'}",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_TESTING=OFF",
        f"-DPython3_EXECUTABLE={sys.executable}",
        f"-DPYTHON_INSTALL_DIR={python_directory}",
    ]
    if shutil.which("ninja", path=environment["PATH"]):
        configure += ["-G", "Ninja"]
    shutil.rmtree(stage, ignore_errors=True)
    for command in (
        configure,
        [cmake, "--build", str(build_directory), "--parallel"],
        [cmake, "--install", str(build_directory), "--strip"],
    ):
        try:
            subprocess.run(command, check=True, env=environment)
        except subprocess.CalledProcessError as error:
            raise SetupError(f"{' '.join(command)} ended with status {error.returncode}") from error
    return stage / python_directory


class CMakeBuildPy(build_py):
    """Takes the package's content from a CMake install instead of from the source tree."""

    def run(self) -> None:
        """Build, then hand the package to the wheel's platlib and the rest of the prefix to its data."""
        if self.editable_mode:
            raise SetupError(
                "mirage_ros cannot be installed editable: its interfaces are generated into the same package. "
                "`make install` brings an installed copy up to date in seconds."
            )
        with tempfile.TemporaryDirectory(prefix="mirage_ros_build_") as scratch:
            # CMake remembers the prefix it configured for. That of an isolated build is gone after it, so only
            # a build against a lasting environment is worth keeping, to make the next one incremental.
            isolated = not Path(sys.prefix).is_relative_to(find_ros_prefix())
            tag = f"cmake-{sys.implementation.cache_tag}"
            build_directory = Path(scratch) / tag if isolated else ROOT / "build" / tag
            stage = build_directory / "stage"
            site_packages = install_with_cmake(build_directory, stage)
            self._collect(stage, site_packages)

    def _collect(self, stage: Path, site_packages: Path) -> None:
        target = Path(self.build_lib)
        shutil.rmtree(target / PACKAGE, ignore_errors=True)
        shutil.copytree(
            site_packages / PACKAGE,
            target / PACKAGE,
            ignore=shutil.ignore_patterns("__pycache__", "*.c"),
        )
        # Names the prefix it was built against, of use to a chain of sourced workspaces only.
        shutil.rmtree(stage / "share" / "ament_index" / "resource_index" / "parent_prefix_path")
        # The stage may be gone before the wheel is packed.
        data = target.parent / f"data-{target.name}"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(stage, data, ignore=shutil.ignore_patterns(site_packages.parent.name))
        self.distribution.data_files = [
            (str(directory.relative_to(data)), [str(file) for file in sorted(files)])
            for directory in sorted(path for path in data.rglob("*") if path.is_dir())
            if (files := [file for file in directory.iterdir() if file.is_file()])
        ]


class PlatformDistribution(Distribution):
    """Marks the wheel as compiled, though setuptools itself compiles nothing."""

    def has_ext_modules(self) -> bool:
        """Return True: the wheel fits one platform and one Python."""
        return True


setup(cmdclass={"build_py": CMakeBuildPy}, distclass=PlatformDistribution)
