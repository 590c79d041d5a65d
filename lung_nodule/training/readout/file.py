"""A read-out that was fitted elsewhere, and whether a network can have one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lung_nodule.core import Readout
from lung_nodule.errors import InputError
from lung_nodule.lidc import ATTRIBUTES


def require_score(has_score: bool, *, features: Sequence[str], file: str | Path | None = None) -> None:
    """Refuse a read-out of a network that gives no malignancy.

    Args:
        has_score: whether the network gives malignancy, as :attr:`lung_nodule.core.NoduleView.has_score`.
        features: features of the read-out; empty for no read-out.
        file: file of a read-out that was fitted elsewhere.

    Raises:
        InputError: there is a read-out and no malignancy.
    """
    if not has_score and (features or file):
        raise InputError(
            'a network that gives no malignancy (--multi_task False) has no read-out: use --readout_features "[]" '
            '--readout_attributes "[]", without --readout_file'
        )


def read_readout(path: str | Path) -> dict[str, Any]:
    """A fitted read-out from a file.

    Raises:
        InputError: the file is missing, or does not hold a read-out.
    """
    try:
        readout = json.loads(Path(path).read_text(encoding="utf-8"))
        Readout.from_settings(readout, complete=False)
        return {**readout, "nodules": int(readout["nodules"]), "patients": list(map(str, readout["patients"]))}
    except OSError as error:
        raise InputError(f"no read-out at {path}: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no read-out ({error!r}): name a file that the benchmark wrote") from error


def attributes_of(readout: Mapping[str, Any]) -> list[str]:
    """The attributes that a read-out rates."""
    return [name for name in readout["outputs"] if name in ATTRIBUTES]
