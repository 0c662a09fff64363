"""Lets `pip install .` run CMakeLists.txt and packs what it installs into a wheel.

The wheel is laid out as the ROS 2 wheels are: the Python package with its generated interfaces in
site-packages, and `lib`, `share` and `include` as parts of the prefix, so that a virtual
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
import zlib
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOT = Path(__file__).resolve().parent
PACKAGE = "mirage_ros"


def find_ros() -> tuple[Path, Path]:
    """Find the ROS that this interpreter sees: an environment with ROS wheels, or /opt/ros/...

    Returns:
        Its prefix and its directory of Python packages.

    Raises:
        SetupError: there is none.
    """
    spec = importlib.util.find_spec("rosidl_adapter")
    if spec is not None and spec.origin is not None:
        site_packages = Path(spec.origin).parents[1]
        for directory in site_packages.parents:
            if (directory / "share" / "ament_index").is_dir():
                return directory, site_packages
    raise SetupError(
        "No ROS 2 interface generators found (Python package rosidl_adapter in an ament prefix). "
        "Build with isolation (plain `pip install .`), or first install requirements/build.txt, "
        "or source a ROS 2 installation."
    )


def build_environment(ros_prefix: Path, site_packages: Path) -> dict[str, str]:
    """Return the environment in which CMake and the generators it starts find that ROS.

    Only that prefix counts: a ROS of another version that happens to be sourced is left out.
    """
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


def install_with_cmake(environment: dict[str, str], build_directory: Path, stage: Path) -> Path:
    """Configure, build and install into `stage`; return the directory of Python packages in it.

    Raises:
        SetupError: CMake is missing or fails.
    """
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
        """Build; the package goes to the wheel's platlib, the rest of the prefix to its data."""
        if self.editable_mode:
            raise SetupError(
                "mirage_ros cannot be installed editable: its interfaces are generated into the "
                "same package. `make install` brings an installed copy up to date in seconds."
            )
        ros_prefix, ros_packages = find_ros()
        environment = build_environment(ros_prefix, ros_packages)
        with tempfile.TemporaryDirectory(prefix="mirage_ros_build_") as scratch:
            # CMake remembers where everything was. An isolated build environment is gone after
            # the build; a build against a lasting one is kept, which makes the next incremental.
            place = f"{zlib.crc32(f'{ROOT} {ros_prefix}'.encode()):08x}"
            lasting = Path(sys.prefix).is_relative_to(ros_prefix)
            build_directory = (ROOT / "build" if lasting else Path(scratch)) / f"cmake-{place}"
            stage = build_directory / "stage"
            self._collect(stage, install_with_cmake(environment, build_directory, stage))

    def _collect(self, stage: Path, site_packages: Path) -> None:
        target = Path(self.build_lib)
        shutil.rmtree(target / PACKAGE, ignore_errors=True)
        shutil.copytree(
            site_packages / PACKAGE,
            target / PACKAGE,
            ignore=shutil.ignore_patterns("__pycache__", "*.c"),
        )
        # For chains of sourced workspaces, which a Python environment is not; they name the stage.
        share = stage / "share"
        shutil.rmtree(share / "ament_index" / "resource_index" / "parent_prefix_path")
        shutil.rmtree(share / PACKAGE / "environment")
        for script in (share / PACKAGE).glob("*.*sh"):
            script.unlink()
        for descriptor in (share / PACKAGE).glob("*.dsv"):
            descriptor.unlink()
        # pip makes these from [project.scripts], with this environment's interpreter.
        shutil.rmtree(stage / "bin")
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
