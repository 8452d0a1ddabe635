"""What setuptools runs to build trimfit: the sparse operators are compiled into the package, so a wheel has a platform.

Named in pyproject.toml under [tool.setuptools.cmdclass]. It is loaded by its path in an environment that has only
setuptools and ziglang.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from setuptools import Command
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.command.install import install
from setuptools.errors import CompileError

__all__ = ["Build", "BuildSparse", "PlatformInstall", "PlatformWheel"]

_HERE = Path("hardware_profiles", "runtimes", "sparse")  # from the project's root, where setuptools runs


def _builder() -> ModuleType:
    """The module build.py, without the packages around it: their dependencies are not installed yet."""
    name = "trimfit_sparse_build"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("build.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


class BuildSparse(Command):
    """Compiles every target's library: into the build folder, or beside the sources for an editable installation."""

    description = "compile the sparse operators"
    user_options: ClassVar[list[tuple[str, str, str]]] = []
    editable_mode = False
    build_lib: str | None = None

    def initialize_options(self) -> None:
        """Nothing to set: the defaults are the class's."""

    def finalize_options(self) -> None:
        """Build where the Python files go."""
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        """Raises CompileError, which setuptools prints, when a library cannot be built."""
        builder = _builder()
        folder = _HERE / "lib" if self.editable_mode else self._destination()
        for target in builder.TARGETS:
            try:
                self.announce(f"compiling the sparse operators: {builder.build(target, folder)}", level=2)
            except builder.CompilationError as error:
                raise CompileError(f"trimfit cannot be built: {error}") from error

    def get_source_files(self) -> list[str]:
        """The C sources, for the source distribution."""
        return [str(file) for file in sorted((_HERE / "csrc").iterdir()) if file.is_file()]

    def get_outputs(self) -> list[str]:
        """The libraries and the digests beside them, in the build folder."""
        return list(self.get_output_mapping())

    def get_output_mapping(self) -> dict[str, str]:
        """Where each output lies in an editable installation."""
        names = [_builder().library_name(target) for target in _builder().TARGETS]
        files = [name for library in names for name in (library, str(Path(library).with_suffix(".json")))]
        return {str(self._destination() / file): str(_HERE / "lib" / file) for file in files}

    def _destination(self) -> Path:
        return Path(str(self.build_lib)) / _HERE / "lib"


class Build(build):
    """setuptools' build, and the sparse operators."""

    sub_commands: ClassVar[list[tuple[str, Any]]] = [*build.sub_commands, ("build_sparse", None)]


class PlatformInstall(install):
    """Installs among the packages that belong to a platform."""

    def finalize_options(self) -> None:
        """Choose that place, as setuptools does only for extension modules."""
        super().finalize_options()
        self.install_lib = self.install_platlib


class PlatformWheel(bdist_wheel):
    """A wheel for any Python 3 on this platform: the libraries depend on the platform and not on Python."""

    def finalize_options(self) -> None:
        """Say that the wheel is not pure."""
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        """E.g. ("py3", "none", "linux_x86_64")."""
        return "py3", "none", super().get_tag()[2]
