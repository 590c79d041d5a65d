"""Triton server of the ``nvidia-pytriton`` wheel: paths of its parts and environment."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lung_nodule.errors import InputError

BACKENDS = Path(__file__).parent / "backends"


@dataclass(frozen=True)
class TritonRuntime:
    """Paths of the wheel's server, its Python backend, the stub of this Python, and the wheel's own libraries."""

    server: Path
    python_backend: Path
    stub: Path
    libraries: Path

    def environment(self) -> dict[str, str]:
        """Environment of the server: its libraries, this Python's libpython, this Python's ``bin`` first.

        Each step has its own process, so numpy uses one thread there unless OPENBLAS_NUM_THREADS is set.
        """
        search = [str(self.libraries), str(sysconfig.get_config_var("LIBDIR"))]
        path = [str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)]
        threads = {"OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1")}
        return {**os.environ, **threads, "LD_LIBRARY_PATH": os.pathsep.join(search), "PATH": os.pathsep.join(path)}

    def make_backends(self, home: Path) -> Path:
        """Fill ``home/backends`` with the wheel's Python backend, this Python's stub and our own backends."""
        backends = home / "backends"
        shutil.copytree(self.python_backend, backends / "python")
        shutil.copy2(self.stub, backends / "python" / self.stub.name)
        for folder in sorted(path.parent for path in BACKENDS.glob("*/model.py")):
            shutil.copytree(folder, backends / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(BACKENDS / "net_model.py", backends / folder.name)
        return backends


def find_runtime() -> TritonRuntime:
    """Locate the server and check that it can run here.

    Raises:
        InputError: ``nvidia-pytriton`` is missing, has no stub for this Python, numpy is 2 or newer, or a shared
            library (libpython most often) is not found.
    """
    _check_numpy(np.__version__)
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise InputError("the Triton server is not installed: pip install nvidia-pytriton==0.7.0")
    site = Path(spec.origin).parent.parent
    root = site / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    runtime = TritonRuntime(
        server=root / "bin" / "tritonserver",
        python_backend=root / "backends" / "python",
        stub=root / "python_backend_stubs" / version / "triton_python_backend_stub",
        libraries=site / "nvidia_pytriton.libs",
    )
    if not runtime.stub.is_file():
        raise InputError(f"nvidia-pytriton has no Triton stub for Python {version}: use Python 3.11 or 3.12")
    for program in (runtime.server, runtime.stub):
        _check_libraries(program, runtime.environment())
    return runtime


def _check_numpy(version: str) -> None:
    """Refuse numpy 2, with which Triton's stub of release 24.10 silently corrupts tensors."""
    if int(version.split(".")[0]) >= 2:
        raise InputError(f"numpy {version} corrupts tensors in this Triton server: pip install 'numpy==1.26.4'")


def _check_libraries(program: Path, environment: dict[str, str]) -> None:
    listing = subprocess.run(["ldd", str(program)], env=environment, capture_output=True, text=True, check=False)
    missing = [line.split()[0] for line in (listing.stdout + listing.stderr).splitlines() if "not found" in line]
    if not missing:
        return
    names = ", ".join(sorted(set(missing)))
    hint = "install Python's shared library" if "libpython" in names else "this server needs glibc 2.34 or newer"
    if "libpython" in names:
        hint += f" (Debian, Ubuntu: apt-get install libpython{sys.version_info.major}.{sys.version_info.minor})"
    raise InputError(f"{program.name} cannot start, {names} not found: {hint}")
