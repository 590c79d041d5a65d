"""Import every module of an unzipped package's library, where nothing but its requirements.txt is.

Started in the package's root; prints the modules, one a line.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from alone import brought_by, hide_all_but

if __name__ == "__main__":
    sys.path[0] = ""
    hide_all_but(brought_by(Path("requirements.txt").read_text().splitlines()))
    for path in sorted(Path("lung_nodule").rglob("*.py")):
        module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
        if not Path(module.__file__).resolve().is_relative_to(Path.cwd()):
            sys.exit(f"{module.__name__} is {module.__file__}")
        print(module.__name__)
