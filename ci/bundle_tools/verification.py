"""All checks of a bundle, each with its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ci.bundle_tools.built import BuiltBundle, one_line
from ci.bundle_tools.checks import CHECKS, BrokenError


@dataclass(frozen=True)
class Verdict:
    """Result of one check."""

    bundle: str
    check: str
    problem: str | None

    def line(self) -> str:
        """One line for a log."""
        return f"{'ok  ' if self.problem is None else 'FAIL'}  {self.bundle}  {self.check}" + (
            "" if self.problem is None else f": {self.problem}"
        )


def verify_bundle(bundle: Path, *, dataset: Path, output: Path) -> Iterator[Verdict]:
    """Check a bundle's files, then build it and check what it builds.

    Args:
        bundle: folder of the bundle.
        dataset: small dataset to build the bundle with.
        output: empty folder for a fresh model.
    """
    for name, check in CHECKS.items():
        yield _verdict(bundle, name, lambda check=check: check(bundle))
    built: list[BuiltBundle] = []
    yield _verdict(bundle, "builds", lambda: built.append(BuiltBundle(bundle, dataset=dataset, output=output)))
    if built:
        yield _verdict(bundle, "verify_net_in_out and ckpt_export", built[0].check_shipped)
        yield _verdict(bundle, "properties", built[0].check_properties)


def _verdict(bundle: Path, name: str, check: Callable[[], None]) -> Verdict:
    try:
        check()
    except BrokenError as error:
        return Verdict(bundle.name, name, str(error))
    except Exception as error:
        return Verdict(bundle.name, name, one_line(error))
    return Verdict(bundle.name, name, None)
