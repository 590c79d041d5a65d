"""Cells: kept when finished, continued when killed, named when they fail; the commands are a small program's."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lung_nodule.benchmark.cells import run_cells as module
from lung_nodule.benchmark.cells.cell import BEGUN, Cell, CellFailure
from lung_nodule.benchmark.cells.plan import trained_cells
from lung_nodule.benchmark.cells.run_cells import run_cells, side_by_side, threads_of_each
from lung_nodule.errors import InputError
from lung_nodule.runtime.lock import only_writer

FAKE = str(Path(__file__).with_name("fake_bundle.py"))
PATIENCE_S = 30
FOLDS = (0, 1)


@pytest.fixture(autouse=True)
def _fake_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MONAI", ("-S", FAKE))


def cells(out: Path, behave: str | None = None, *, fingerprint: str = "data") -> list[Cell]:
    options = {} if behave is None else {"mtcnn": {"behave": behave}}
    return trained_cells(
        ["mtcnn"], seeds=1, folds=FOLDS, dataset_dir=out, out=out, fingerprint=fingerprint, options=options
    )


def without_options(planned: list[Cell]) -> list[Cell]:
    """The same cells as far as their records are compared."""
    for cell in planned:
        cell.made_with["options"] = {}
    return planned


def calls(cell: Cell) -> list[str]:
    return (cell.folder / "calls.txt").read_text().split()


def wait_for(path: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < until, f"{path} never came"
        time.sleep(0.02)


def test_a_cell_trains_tests_and_validates_once(tmp_path: Path) -> None:
    planned = cells(tmp_path)
    assert run_cells(planned) == []
    assert run_cells(planned) == []
    for cell in planned:
        assert calls(cell) == ["training", "evaluating", "test", "evaluating", "validation"]
        record = json.loads((cell.folder / "cell.json").read_text())
        assert record["dataset"] == "data"
        assert record["fold"] == cell.fold
        assert "== training: python" in cell.log.read_text()


def test_a_finished_cell_is_kept_without_its_weights(tmp_path: Path) -> None:
    planned = cells(tmp_path)
    assert run_cells(planned) == []
    planned[0].weights.unlink()
    planned[1].predictions("validation").unlink()
    assert [cell.is_done() for cell in cells(tmp_path)] == [True, False]
    assert run_cells(planned) == []
    assert [calls(cell).count("training") for cell in planned] == [1, 2]


def test_a_failed_cell_is_named_and_the_others_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (failed,) = run_cells(without_options(cells(tmp_path, "fail 1")), processes=2)
    assert failed.cell == "mtcnn, seed 0, fold 1"
    assert failed.reason.startswith("training: error: no such scanner: choose another (")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"failed: {failed.cell}: {failed.reason}"
    ]
    planned = cells(tmp_path)
    assert [cell.is_done() for cell in planned] == [True, False]
    assert run_cells(planned) == []
    assert calls(planned[1])[:2] == ["training", "training"]
    assert calls(planned[0]).count("training") == 1


def test_a_killed_run_leaves_no_training_behind_and_is_continued(tmp_path: Path) -> None:
    """kill -9: the finished cell is kept, the training under way ends too, and goes on from its own files."""
    planned = without_options(cells(tmp_path, "hang 1"))
    run = multiprocessing.get_context("fork").Process(target=run_cells, args=(planned,))
    run.start()
    wait_for(planned[1].folder / "checkpoint")
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    assert planned[0].is_done()
    assert not planned[1].is_done()
    wait_for_the_end(planned[1].folder)
    again = cells(tmp_path)
    assert run_cells(again) == []
    assert calls(again[0]).count("training") == 1
    assert calls(again[1]).count("training") == 2


def wait_for_the_end(folder: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while running_in(folder):
        assert time.monotonic() < until, "the training outlived the run"
        time.sleep(0.02)


def running_in(folder: Path) -> list[str]:
    """Processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in path.read_bytes().decode(errors="replace"):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.fixture
def _heeding_ctrl_c() -> Iterator[None]:
    """A shell's background jobs ignore SIGINT, and the tests may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeding_ctrl_c")
def test_an_interrupted_run_ends_its_trainings(tmp_path: Path) -> None:
    planned = cells(tmp_path, "hang 0")
    outcomes = side_by_side(planned[:1], 1, lambda cell, stop: module.run_cell(cell, stop=stop))

    def interrupt() -> None:
        wait_for(planned[0].folder / "checkpoint")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    wait_for_the_end(planned[0].folder)


def test_other_settings_are_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    assert run_cells(cells(tmp_path)) == []
    with pytest.raises(InputError, match=r"begun with another dataset \(\"data\", now \"other\"\): give another --out"):
        run_cells(cells(tmp_path, fingerprint="other"))
    with pytest.raises(InputError, match="begun with another options"):
        run_cells(cells(tmp_path, "hang 0"))
    for cell in cells(tmp_path):
        (cell.folder / BEGUN).unlink()
    with pytest.raises(InputError, match="finished with another dataset"):
        run_cells(cells(tmp_path, fingerprint="other"))
    assert all(cell.is_done() for cell in cells(tmp_path))


def test_a_training_that_was_stopped_goes_on_with_the_same_dataset_only(tmp_path: Path) -> None:
    planned = cells(tmp_path, "fail 0")
    assert [failed.cell for failed in run_cells(planned)] == [planned[0].name]
    with pytest.raises(InputError, match=r"begun with another dataset \(\"data\", now \"other\"\)"):
        run_cells(cells(tmp_path, "fail 0", fingerprint="other"))


def test_a_finished_cell_without_its_table_is_run_again(tmp_path: Path) -> None:
    planned = cells(tmp_path)
    run_cells(planned)
    planned[1].predictions("validation").unlink()
    assert run_cells(planned) == []
    assert [calls(cell).count("training") for cell in planned] == [1, 2]


def test_a_cell_that_another_run_works_on_is_left_alone(tmp_path: Path) -> None:
    planned = cells(tmp_path)[:1]
    with only_writer(planned[0].folder):
        (failed,) = run_cells(planned)
    assert "another run is writing to" in failed.reason


def test_cells_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [threads_of_each(processes) for processes in (1, 3, 20)] == ["8", "2", "1"]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads_of_each(2) == "5"


def test_a_cluster_runs_the_same_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' part without a cluster: it gets whole cells, and the folder that all must see."""
    seen: dict[str, object] = {}

    def on_workers(work, tasks, address, *, folders, killed):
        seen.update(address=address, folders=set(folders), killed=killed(tasks[0], "out of memory"))
        yield from map(work, tasks)

    monkeypatch.setattr("lung_nodule.runtime.cluster.on_workers", on_workers)
    assert run_cells(cells(tmp_path), scheduler="tcp://there:1") == []
    assert seen["folders"] == {tmp_path}, "dataset and output are one folder here"
    assert seen["killed"] == CellFailure("mtcnn, seed 0, fold 0", "out of memory")
