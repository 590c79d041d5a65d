"""Write the figures of docs/benchmark.json into the README, the cards and the metadata: python ci/write_figures.py

Everything between two comments, ``<!-- figures -->`` and ``<!-- end of figures -->``, is replaced. The
reliability tables of docs/predictions.csv go into the side files of the shipped weights (``reliability_tables.py``).
With ``--check`` nothing is written, and the status is 1 where a file has other figures than the benchmark.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script

import pandas as pd  # noqa: E402

from ci import reliability_tables  # noqa: E402
from lung_nodule.benchmark.panel.panel_rows import PANEL  # noqa: E402
from lung_nodule.lidc import ATTRIBUTES  # noqa: E402

BENCHMARK = ROOT / "docs" / "benchmark.json"
FIRST, LAST = "<!-- figures -->\n", "<!-- end of figures -->\n"
COMPARED = ("constant", "radiomics")
"""Baselines with which the errors of attributes are compared."""
BASELINES = ("diameter", "radiomics", "radiomics, four folds", "attributes, diameter", "one reader")
CLASS = ("auc", "accuracy", "sensitivity", "specificity", "brier", "calibration_error")
Results = Mapping[str, Any]

logger = logging.getLogger("write_figures")


def main(arguments: list[str]) -> int:
    """Write or check the files; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments not in ([], ["--check"]):
        logger.error("error: unknown arguments %s (python ci/write_figures.py [--check])", " ".join(arguments))
        return 2
    texts = written(json.loads(BENCHMARK.read_text(encoding="utf-8")))
    stale = [path for path, text in texts.items() if not path.is_file() or text != path.read_text(encoding="utf-8")]
    for path in stale:
        logger.info("%s: %s", path.relative_to(ROOT), "has other figures" if arguments else "written")
        if not arguments:
            path.write_text(texts[path], encoding="utf-8")
    return int(bool(stale and arguments))


def written(results: Results) -> dict[Path, str]:
    """New content of every file with figures."""
    files = {ROOT / "README.md": overview(results)}
    for name in networks(results):
        files[ROOT / "bundles" / name / "docs" / "README.md"] = of_bundle(results, name)
    texts = {path: replace_block(path.read_text(encoding="utf-8"), block, path) for path, block in files.items()}
    for name in networks(results):
        path = ROOT / "bundles" / name / "configs" / "metadata.json"
        metadata = {**json.loads(path.read_text(encoding="utf-8")), "eval_metrics": of_metadata(results, name)}
        texts[path] = json.dumps(metadata, indent=4, ensure_ascii=False) + "\n"
    predictions = pd.read_csv(BENCHMARK.with_name("predictions.csv"), low_memory=False)
    return texts | reliability_tables.written(ROOT, predictions, results)


def replace_block(text: str, block: str, path: Path) -> str:
    """Replace the block between the two comments of a text.

    Raises:
        ValueError: the text has not each comment once.
    """
    if text.count(FIRST) != 1 or text.count(LAST) != 1:
        raise ValueError(f"{path} needs the lines {FIRST.strip()} and {LAST.strip()} once each")
    before, rest = text.split(FIRST)
    return f"{before}{FIRST}{block}{LAST}{rest.split(LAST)[1]}"


def networks(results: Results) -> list[str]:
    """The bundles that were benchmarked."""
    return [name for name, entry in results["methods"].items() if entry["kind"] == "network" and name != PANEL]


def protocol(results: Results) -> str:
    """Protocol of the figures, in one sentence."""
    some = results["methods"][networks(results)[0]]
    seeds, version = results["protocol"]["seeds"], results["protocol"]["software"]["name"]
    return (
        f"{some['nodules']} nodules of {some['patients']} patients of {results['dataset']['source']}; patient-grouped "
        f"five-fold cross-validation, three folds for training, one for validation, one for the test, "
        f"{seeds} seed{'s' if seeds > 1 else ''}, `train.json` with `recommended.json` of version {version}"
    )


def overview(results: Results) -> str:
    """The README's table."""
    better = [f"attributes better than {other} (of {len(ATTRIBUTES)})" for other in COMPARED]
    head = f"| | AUC of malignancy | minus the diameter's | Brier | Dice | {' | '.join(better)} |"
    joined = [PANEL] if PANEL in results["methods"] else []
    rows = [_row(name, results) for name in (*networks(results), *joined, *BASELINES)]
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows, "", f"*{protocol(results)}.*", ""])


def of_bundle(results: Results, name: str) -> str:
    """A card's tables."""
    entry = results["methods"][name]
    folds = " ".join(_number(entry["fold_auc"][fold]) for fold in sorted(entry["fold_auc"]))
    own = [_figure(entry, "malignancy", figure) for figure in CLASS[1:]]
    lines = [
        f"{protocol(results)} (`python -m lung_nodule benchmark`; [all figures](../../../docs/benchmark.md)).",
        "",
        f"| malignancy | AUC | minus this baseline's | {' | '.join(CLASS[1:]).replace('_', ' ')} |",
        "|---|---|---|---|---|---|---|---|",
        f"| **{name}** | {_interval(entry, 'malignancy', 'auc')} (folds {folds}) | | {' | '.join(own)} |",
        *(_baseline(results, name, other) for other in ("constant", "crop extent", *BASELINES)),
        "",
    ]
    if "masks" in entry:
        lines += _masks(results, name)
    if f"{ATTRIBUTES[0]}_mae" in entry.get("attributes", {}):
        lines += _errors(results, name)
    return "\n".join(lines)


def of_metadata(results: Results, name: str) -> dict[str, float | str]:
    """The ``eval_metrics`` of a bundle's ``metadata.json``: what its card shows, and the protocol."""
    entry = results["methods"][name]
    shown = [("malignancy", figure, figure) for figure in CLASS]
    shown += [("masks", figure, figure) for figure in ("dice_voi", "dice", "jaccard")]
    shown += [("attributes", f"{attribute}_mae", f"mae_{attribute}") for attribute in ATTRIBUTES]
    found = {label: entry.get(section, {}).get(figure) for section, figure, label in shown}
    figures = {label: round(figure["mean"], 3) for label, figure in found.items() if figure is not None}
    baseline = results["methods"]["diameter"]["malignancy"]["auc"]["mean"]
    return {**figures, "baseline_diameter_auc": round(baseline, 3), "protocol": protocol(results)}


def _row(name: str, results: Results) -> str:
    entry = results["methods"][name]
    label = f"[{name}](bundles/{name}/docs/README.md)" if name in networks(results) else name
    cells = [
        _interval(entry, "malignancy", "auc"),
        _difference(entry, "malignancy auc", "diameter") if entry["kind"] == "network" else "",
        _figure(entry, "malignancy", "brier"),
        _figure(entry, "masks", "dice_voi"),
        *_better(results, name),
    ]
    return f"| {label} | {' | '.join(cells)} |"


def _baseline(results: Results, name: str, other: str) -> str:
    entry = results["methods"][other]
    cells = [_interval(entry, "malignancy", "auc"), _difference(results["methods"][name], "malignancy auc", other)]
    cells += [_figure(entry, "malignancy", figure) for figure in CLASS[1:]]
    return f"| {other} | {' | '.join(cells)} |"


def _masks(results: Results, name: str) -> list[str]:
    shown = {"dice_voi": "Dice on the VOI's voxels", "dice": "on the patch", "jaccard": "Jaccard on the patch"}
    others = ("threshold", "region growing", "one reader")
    rows = [
        f"| {'**' + one + '**' if one == name else one} | "
        + " | ".join(_figure(results["methods"][one], "masks", figure) for figure in shown)
        + " |"
        for one in (name, *others)
    ]
    return [f"| masks, mean over the nodules | {' | '.join(shown.values())} |", "|---|---|---|---|", *rows, ""]


def _errors(results: Results, name: str) -> list[str]:
    methods = (name, "constant", "radiomics", "one reader")
    rows = []
    for attribute in ATTRIBUTES:
        figures = [_figure(results["methods"][one], "attributes", f"{attribute}_mae") for one in methods]
        rows.append(f"| {attribute.replace('_', ' ')} | {' | '.join(figures)} |")
    return [f"| mean absolute error | {' | '.join(methods)} |", "|---|---|---|---|---|", *rows, ""]


def _better(results: Results, name: str) -> list[str]:
    """Number of attributes with a smaller mean absolute error than each of :data:`COMPARED`; empty for itself."""
    own = results["methods"][name].get("attributes", {})
    if f"{ATTRIBUTES[0]}_mae" not in own:
        return ["" for _ in COMPARED]
    others = [results["methods"][other]["attributes"] for other in COMPARED]
    counts = [sum(own[f"{a}_mae"]["mean"] < other[f"{a}_mae"]["mean"] for a in ATTRIBUTES) for other in others]
    return ["" if other == name else str(count) for other, count in zip(COMPARED, counts, strict=True)]


def _figure(entry: Results, section: str, name: str) -> str:
    found = entry.get(section, {}).get(name)
    return "" if found is None or found["mean"] is None else _number(found)


def _number(found: Results) -> str:
    spread = "" if found["spread"] is None else f" ± {found['spread']:.3f}"
    return f"{found['mean']:.3f}{spread}"


def _interval(entry: Results, section: str, name: str) -> str:
    text, interval = _figure(entry, section, name), entry.get("intervals", {}).get(f"{section} {name}")
    return text if interval is None else f"{text} ({interval[0]:.3f} to {interval[1]:.3f})"


def _difference(entry: Results, figure: str, baseline: str) -> str:
    found = entry.get("against", {}).get(figure, {}).get(baseline)
    if found is None:
        return ""
    low, high = found["interval"]
    return f"{found['difference']:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
