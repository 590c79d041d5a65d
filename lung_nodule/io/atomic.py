"""Files that appear under their final name only when they are whole."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}((?:\.\w+)*)")  # the names that atomic_path gives


@contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to ``final`` that is renamed to it when the block ends without an error.

    The temporary name carries the same suffixes, so that a writer that looks at them (``.nii.gz``) behaves the same.
    Missing parent folders are made. On an error the temporary file is removed and ``final`` stays as it was.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    suffixes = "".join(final.suffixes)
    stem = final.name.removesuffix(suffixes)
    temporary = final.with_name(f".{stem}.{uuid.uuid4().hex[:12]}{suffixes}")
    try:
        yield temporary
        os.replace(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def unfinished_writes(finals: Collection[Path]) -> list[Path]:
    """Temporary files that remain of just these files after their writer was killed, ordered by path."""
    wanted = set(finals)
    found = []
    for folder in {final.parent for final in wanted}:
        for path in folder.glob(".*"):
            match = TEMPORARY.fullmatch(path.name)
            if match is not None and folder / (match[1] + match[2]) in wanted and path.is_file():
                found.append(path)
    return sorted(found)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, obj: object) -> None:
    """Write an object as indented JSON, atomically; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
