"""Write ``benchmark.md`` from the content of ``benchmark.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lung_nodule.benchmark.baselines.methods_without_network import CONSTANT
from lung_nodule.evaluation.results import SYNTHETIC
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES

MARK, READERS_MARK = "↓", "(↓)"
LEGEND = (
    f"{MARK}: at least one baseline that is given nothing by the readers but the centre, as the networks are, is as "
    f"good or better; {READERS_MARK}: only baselines that are given the readers' masks, diameters or ratings are. "
    "Brackets: 95 % intervals over patients."
)
Results = Mapping[str, Any]


def benchmark_markdown(results: Results, pictures: Sequence[tuple[str, str]]) -> str:
    """Return the report as Markdown.

    Args:
        results: content of ``benchmark.json``.
        pictures: file names and captions.
    """
    sections = [
        "# Benchmark",
        _head(results),
        LEGEND,
        _malignancy(results),
        _differences(results, "malignancy auc", "## AUC: network minus baseline"),
        _masks(results),
        _differences(results, "masks dice_voi", "## Dice on the VOI's voxels: network minus baseline"),
        _attributes(results, "mae", "## Attributes: mean absolute error on the readers' scales", ATTRIBUTES),
        _attributes(results, "spearman", "## Attributes: Spearman's correlation with the readers' mean", ATTRIBUTES),
        _attributes(results, "auc", "## Attributes: AUC of high against low", tuple(ATTRIBUTE_THRESHOLDS)),
        _uncertainty(results),
        _pictures(pictures),
        _descriptions(results),
        "## Notes\n\n" + "\n".join(f"* {note}" for note in results["notes"]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(results: Results) -> str:
    dataset, protocol = results["dataset"], results["protocol"]
    networks = [entry for entry in results["methods"].values() if entry["kind"] == "network"]
    warning = [f"**{SYNTHETIC}**\n"] if dataset.get("synthetic") else []
    counts = max(((entry["nodules"], entry["patients"]) for entry in networks), default=(0, 0))
    what = f"{dataset.get('name', 'dataset')}, {counts[0]} nodules of {counts[1]} patients tested."
    return "\n".join([*warning, what, PROTOCOLS[protocol["kind"]](protocol), _software(protocol)])


def _software(protocol: Results) -> str:
    """The version that made the tables, and those that trained or tested the networks, where they differ."""
    own = protocol["software"]["name"]
    others = {
        name: versions for name, versions in protocol.get("software_of_networks", {}).items() if versions != [own]
    }
    listed = "; ".join(f"{name} by {', '.join(versions)}" for name, versions in others.items())
    return f"Software: {own}." if not others else f"Software: {own}; networks: {listed}."


def _cross_validation(protocol: Results) -> str:
    folds, seeds = protocol["folds"], protocol["seeds"]
    return (
        f"Protocol: patient-grouped five-fold cross-validation; three folds train, the next one validates, one is "
        f"tested (folds {', '.join(map(str, folds))}); {seeds} seed{'s' if seeds > 1 else ''}. Nothing was chosen on a "
        "test fold by this command."
    )


def _given_weights(protocol: Results) -> str:
    fitted = protocol["baselines_fitted_on"]
    return "Protocol: given weights on patients that their training did not see. " + (
        "Baselines that must be fitted are left out." if fitted is None else "Baselines were fitted on another dataset."
    )


PROTOCOLS: dict[str, Callable[[Results], str]] = {
    "cross-validation": _cross_validation,
    "given weights": _given_weights,
}


def _with_mark(results: Results, entry: Results, section: str, figure: str) -> str:
    """A method's main figure with its interval, marked if a baseline reaches it."""
    return f"{_with_interval(entry, section, figure)} {_mark(results, entry, f'{section} {figure}')}".strip()


def _rows(results: Results, section: str, figures: Sequence[str]) -> list[list[str]]:
    """A row per method that has the section: its name, the first figure with its interval and mark, the others."""
    return [
        [
            _display_name(name, entry),
            _with_mark(results, entry, section, figures[0]),
            *(_figure(entry, section, figure) for figure in figures[1:]),
        ]
        for name, entry in _methods_with(results, section)
    ]


def _malignancy(results: Results) -> str:
    columns = {
        "accuracy": "accuracy at 0.5",
        "accuracy_at_threshold": "at the chosen threshold",
        "brier": "Brier",
        "calibration_error": "calibration error",
        "auc_with_3": "AUC, 3 as benign",
        "spearman": "Spearman, 3 kept",
    }
    rows = _rows(results, "malignancy", ["auc", *columns])
    methods = _methods_with(results, "malignancy")
    folds = sorted({fold for _, entry in methods for fold in entry.get("fold_auc", {})})
    for row, (_, entry) in zip(rows, methods, strict=True):
        of_folds = entry.get("fold_auc", {})
        row.insert(2, " ".join(_short(of_folds.get(fold, {}).get("mean")) for fold in folds))
    header = ["", "AUC", f"AUC of fold {', '.join(folds)}", *columns.values()]
    return f"## Malignancy\n\n{_table(header, rows)}" if rows else ""


def _masks(results: Results) -> str:
    columns = {
        "jaccard_voi": "Jaccard",
        "dice_voi_small": "Dice, small",
        "dice_voi_middle": "middle",
        "dice_voi_large": "large",
        "dice": "Dice on the own patch",
        "dice_pooled": "pooled",
        "jaccard_pooled": "Jaccard pooled",
        "threshold_dice": "threshold's Dice there",
    }
    rows = _rows(results, "masks", ["dice_voi", *columns])
    header = ["", "Dice per nodule", *columns.values()]
    sizes = "Sizes are thirds of the nodules by the readers' diameter."
    return f"## Masks\n\n{_table(header, rows)}\n\n{sizes}" if rows else ""


def _attributes(results: Results, figure: str, title: str, names: Sequence[str]) -> str:
    rows = []
    for method, entry in _methods_with(results, "attributes"):
        if figure == "spearman" and method == CONSTANT.name:
            continue  # its medians would rank the folds
        if any(f"{name}_{figure}" in entry["attributes"] for name in names):
            cells = [_figure(entry, "attributes", f"{name}_{figure}") for name in names]
            marks = [_mark(results, entry, f"attributes {name}_{figure}") for name in names]
            rows.append(
                [_display_name(method, entry), *(f"{c} {m}".strip() for c, m in zip(cells, marks, strict=True))]
            )
    return f"{title}\n\n{_table(['', *(name.replace('_', ' ') for name in names)], rows)}" if rows else ""


def _differences(results: Results, figure: str, title: str) -> str:
    networks = [(name, entry) for name, entry in results["methods"].items() if figure in entry.get("against", {})]
    baselines = list(dict.fromkeys(name for _, entry in networks for name in entry["against"][figure]))
    rows = [[name, *(_difference(entry["against"][figure].get(name)) for _, entry in networks)] for name in baselines]
    header = ["", *(f"**{name}** {_mark(results, entry, figure)}".strip() for name, entry in networks)]
    return f"{title}\n\n{_table(header, rows)}" if rows else ""


def _difference(entry: Results | None) -> str:
    if entry is None or entry["difference"] is None:
        return ""
    text = f"{entry['difference']:+.3f}"
    interval = entry["interval"]
    return text if interval is None else f"{text} ({interval[0]:+.3f} to {interval[1]:+.3f})"


def _uncertainty(results: Results) -> str:
    lines = []
    for name, entry in results["methods"].items():
        for source, found in (entry.get("uncertainty") or {}).items():
            what = "width of the score's interval" if source == "interval_width" else "spread over the seeds"
            lines.append(f"* {name}, {what}: Spearman {_short(found['spearman'])} ({found['nodules']} nodules)")
    title = "## Is a score unsure where the readers disagree?"
    text = "Correlation with the standard deviation of the readers' malignancy ratings."
    return "\n".join([title, "", text, "", *lines]) if lines else ""


def _pictures(pictures: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(f"![{caption}]({name})\n\n{caption}" for name, caption in pictures)


def _descriptions(results: Results) -> str:
    of_networks = [
        [f"**{name}**", entry["given_by_readers"]]
        for name, entry in results["methods"].items()
        if entry["kind"] == "network"
    ]
    rows = [
        [name, entry["title"], "yes" if entry["given_by_readers"] else "no"]
        for name, entry in results["methods"].items()
        if entry["kind"] == "baseline"
    ]
    networks = _table(["", "what the readers' outlines give it besides the CT"], of_networks)
    baselines = _table(["", "what it is", "given something by the readers besides the centre"], rows)
    return f"## The networks\n\n{networks}\n\n## The baselines\n\n{baselines}"


def _methods_with(results: Results, section: str) -> list[tuple[str, Any]]:
    return [(name, entry) for name, entry in results["methods"].items() if section in entry]


def _display_name(name: str, entry: Results) -> str:
    return f"**{name}**" if entry["kind"] == "network" else name


def _with_interval(entry: Results, section: str, name: str) -> str:
    interval = entry["intervals"].get(f"{section} {name}")
    text = _figure(entry, section, name)
    return text if interval is None else f"{text} ({interval[0]:.3f}-{interval[1]:.3f})"


def _mark(results: Results, entry: Results, figure: str) -> str:
    """Mark of a network's figure that at least one baseline reaches; empty otherwise."""
    names = entry.get("not_beaten", {}).get(figure, [])
    if not names:
        return ""
    return READERS_MARK if all(results["methods"][name]["given_by_readers"] for name in names) else MARK


def _figure(entry: Results, section: str, name: str) -> str:
    found = entry[section].get(name, {})
    if found.get("mean") is None:
        return ""
    spread = "" if found["spread"] is None else f" ± {found['spread']:.3f}"
    return f"{found['mean']:.3f}{spread}"


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
