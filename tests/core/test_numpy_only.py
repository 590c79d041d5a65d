"""The core runs in a server's Python step, which has numpy and nothing else."""

from __future__ import annotations

import subprocess
import sys


def test_core_imports_nothing_but_numpy() -> None:
    program = (
        "import sys\n"
        "import numpy\n"
        "before = set(sys.modules)\n"
        "import lung_nodule.core\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['lung_nodule']"
