"""The free-response curve and LUNA16's metric: by hand, by a slow second implementation, and by what must hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lung_nodule.evaluation.detection import detection_results, detection_summary
from lung_nodule.evaluation.free_response import (
    FALSE_POSITIVES_PER_SCAN,
    Findings,
    FreeResponse,
    Matches,
    constant_baseline,
    match,
    random_baseline,
)

NONE = Findings(np.empty(0, dtype=int), np.empty((0, 3)), np.empty(0))


def findings(rows: list[tuple[int, float, float]]) -> Findings:
    """Places on the x axis: scan, x, radius."""
    if not rows:
        return NONE
    scan, x, radius = (np.array(part) for part in zip(*rows, strict=True))
    return Findings(scan.astype(int), np.stack([x, 0 * x, 0 * x], axis=1).astype(float), radius.astype(float))


def marks(rows: list[tuple[int, float]]) -> Findings:
    return findings([(scan, x, 0.0) for scan, x in rows])


def slow_points(
    candidates: Findings, nodules: Findings, excluded: Findings, score: np.ndarray, scans: int
) -> list[tuple[float, float]]:
    """Every threshold on its own, every pair of places on its own."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(score.tolist()), reverse=True):
        found, false = set(), 0
        for index in range(len(score)):
            if score[index] < threshold:
                continue
            hit = ignored = False
            for at in range(len(nodules.scan)):
                if nodules.scan[at] == candidates.scan[index]:
                    distance = np.sqrt(sum((nodules.center[at] - candidates.center[index]) ** 2))
                    if distance < nodules.radius[at]:
                        found.add(at)
                        hit = True
            for at in range(len(excluded.scan)):
                if excluded.scan[at] == candidates.scan[index]:
                    distance = np.sqrt(sum((excluded.center[at] - candidates.center[index]) ** 2))
                    ignored |= bool(distance < excluded.radius[at])
            false += not hit and not ignored
        points.append((false / scans, len(found) / len(nodules.scan)))
    return points


def slow_at(points: list[tuple[float, float]], rate: float) -> float:
    """The highest point at or left of the rate, joined by a line to the first beyond it."""
    left = [point for point in points if point[0] <= rate]
    right = [point for point in points if point[0] > rate]
    x, y = max(left)
    if not right:
        return y
    beyond_x, beyond_y = min(right)
    return y + (beyond_y - y) * (rate - x) / (beyond_x - x)


def drawn(seed: int) -> tuple[Findings, Findings, Findings, np.ndarray, int]:
    """Random places and scores with many ties, several hits a nodule, nodules without a hit, scans without anything."""
    random = np.random.default_rng(seed)
    scans = int(random.integers(1, 7))
    count = int(random.integers(1, 80))

    def places(number: int, radius: float) -> Findings:
        return Findings(
            random.integers(scans, size=number), random.uniform(0, 20, (number, 3)), np.full(number, radius)
        )

    nodules, excluded = places(int(random.integers(1, 9)), 5.0), places(int(random.integers(0, 5)), 6.0)
    return places(count, 0.0), nodules, excluded, random.integers(0, 12, count) / 12, scans


@pytest.mark.parametrize("seed", range(60))
def test_equal_to_a_slow_second_implementation(seed: int) -> None:
    candidates, nodules, excluded, score, scans = drawn(seed)
    curve = FreeResponse(match(candidates, nodules, excluded, scans=scans), score).curve()
    slow = slow_points(candidates, nodules, excluded, score, scans)
    found = zip(curve.false_positives.round(9), curve.sensitivity.round(9), strict=True)
    assert set(found) == {(round(x, 9), round(y, 9)) for x, y in slow}
    expected = [slow_at(slow, rate) for rate in FALSE_POSITIVES_PER_SCAN]
    np.testing.assert_allclose(curve.at(), expected, atol=1e-12)
    assert curve.competition_metric() == pytest.approx(np.mean(expected))


def by_hand() -> tuple[Matches, np.ndarray]:
    """Two scans, three nodules; one nodule is hit twice, one never; one mark on an excluded finding."""
    nodules = findings([(0, 0, 3), (0, 50, 3), (1, 0, 3)])
    excluded = findings([(1, 50, 5)])
    candidates = marks([(0, 1), (0, 2), (0, 20), (1, 20), (1, 48), (1, 2.9), (1, 3.0), (0, 30)])
    score = np.array([0.6, 0.9, 0.8, 0.7, 0.95, 0.7, 0.5, 0.4])
    return match(candidates, nodules, excluded, scans=2), score


def test_a_case_by_hand() -> None:
    """At .9 one nodule; .8 one false mark; .7 a tie of a nodule and a false mark; .5 lies exactly on the radius."""
    matches, score = by_hand()
    assert matches.hits.tolist() == [[0, 0], [1, 0], [5, 2]]
    assert matches.false.tolist() == [2, 3, 6, 7]
    assert matches.found == 2
    curve = FreeResponse(matches, score).curve()
    np.testing.assert_allclose(curve.threshold, [np.inf, 0.9, 0.8, 0.7, 0.5, 0.4])
    np.testing.assert_allclose(curve.false_positives, [0, 0, 0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(curve.sensitivity, [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3])
    expected = [1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3]
    np.testing.assert_allclose(curve.at(), expected)
    assert curve.at([0.75])[0] == pytest.approx(0.5)  # half way along the tie
    assert curve.competition_metric() == pytest.approx(np.mean(expected))


def test_a_perfect_detector_reaches_one_and_a_reversed_one_nothing_early() -> None:
    nodules = findings([(scan, 0, 4) for scan in range(10)])
    candidates = marks([(scan, x) for scan in range(10) for x in (1, *range(20, 320, 10))])
    matches = match(candidates, nodules, NONE, scans=10)
    label = candidates.center[:, 0] < 4
    assert FreeResponse(matches, label.astype(float)).curve().competition_metric() == 1.0
    assert FreeResponse(matches, 1.0 - label).curve().at([8.0])[0] < 0.3
    alone = match(marks([(scan, 1) for scan in range(10)]), nodules, NONE, scans=10)
    assert FreeResponse(alone, np.ones(10)).curve().competition_metric() == 1.0  # no false positive at all


def test_one_score_for_all_is_a_straight_line_to_the_last_point() -> None:
    nodules = findings([(0, 0, 4), (1, 0, 4)])
    candidates = marks([(0, 0), *((scan, x) for scan in range(2) for x in range(10, 42))])
    matches = match(candidates, nodules, NONE, scans=2)
    expected = np.mean([0.5 * min(rate / 32, 1) for rate in FALSE_POSITIVES_PER_SCAN])
    assert constant_baseline(matches) == pytest.approx(expected)
    assert random_baseline(matches, draws=400) == pytest.approx(expected, abs=0.02)


def test_scans_without_candidates_and_nodules_without_a_hit_count() -> None:
    matches, score = by_hand()
    wider = Matches(matches.hits, matches.false, matches.candidate_scan, np.append(matches.nodule_scan, 3), 4)
    curve, more = FreeResponse(matches, score).curve(), FreeResponse(wider, score).curve()
    np.testing.assert_allclose(more.false_positives, curve.false_positives / 2)
    np.testing.assert_allclose(more.sensitivity, curve.sensitivity * 3 / 4)


def test_only_the_order_of_the_scores_matters() -> None:
    candidates, nodules, excluded, score, scans = drawn(7)
    matches = match(candidates, nodules, excluded, scans=scans)
    one, other = (FreeResponse(matches, values).curve() for values in (score, np.exp(5 * score) - 3))
    np.testing.assert_array_equal(one.at(), other.at())


def test_scores_that_differ_in_the_last_digit_are_no_tie() -> None:
    nodules, candidates = findings([(0, 0, 4)]), marks([(0, 0), (0, 20)])
    matches = match(candidates, nodules, NONE, scans=1)
    score = np.array([np.nextafter(1.0, 2.0), 1.0])
    assert FreeResponse(matches, score).curve().competition_metric() == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_a_bootstrap_draw_is_the_curve_of_the_scans_repeated(seed: int) -> None:
    candidates, nodules, excluded, score, scans = drawn(seed)
    random = np.random.default_rng(seed)
    chosen = random.integers(scans, size=scans)

    def repeated(part: Findings) -> tuple[Findings, np.ndarray]:
        picks = [np.flatnonzero(part.scan == scan) for scan in chosen]
        rows = np.concatenate(picks)
        scan = np.repeat(np.arange(scans), [len(pick) for pick in picks])
        return Findings(scan, part.center[rows], part.radius[rows]), rows

    (cands, rows), (nods, _), (excl, _) = repeated(candidates), repeated(nodules), repeated(excluded)
    response = FreeResponse(match(candidates, nodules, excluded, scans=scans), score)
    weighted = response.curve(np.bincount(chosen, minlength=scans)).at()
    if not len(nods.scan):
        assert np.isnan(weighted).all()
        return
    np.testing.assert_allclose(weighted, FreeResponse(match(cands, nods, excl, scans=scans), score[rows]).curve().at())


@pytest.mark.parametrize("most", [3, 400])
def test_the_sensitivities_of_a_draw_are_those_of_its_whole_curve(most: int) -> None:
    """With few candidates a scan the whole curve is needed; with many, its beginning is enough."""
    random = np.random.default_rng(most)
    scans, nodules = 6, findings([(scan, 0, 4) for scan in range(6)])
    places = [(scan, float(x)) for scan in range(scans) for x in random.uniform(0, 50, size=most)]
    score = random.integers(0, 20 * most, size=len(places)) / 7.0
    response = FreeResponse(match(marks(places), nodules, NONE, scans=scans), score)
    assert (response.usual_points < len(response.ends)) == (most == 400)
    for _ in range(50):
        weight = np.bincount(random.integers(scans, size=scans), minlength=scans)
        np.testing.assert_array_equal(response.sensitivities(weight), response.curve(weight).at())


def test_the_interval_holds_the_metric_and_is_the_same_every_time() -> None:
    seed = next(seed for seed in range(100) if drawn(seed)[-1] == 6)
    candidates, nodules, excluded, score, scans = drawn(seed)
    response = FreeResponse(match(candidates, nodules, excluded, scans=scans), score)
    intervals = response.intervals(draws=300)
    assert intervals.shape == (8, 2)
    assert intervals[0, 0] <= response.curve().competition_metric() <= intervals[0, 1]
    np.testing.assert_array_equal(intervals, response.intervals(draws=300))
    assert FreeResponse(match(marks([(0, 0)]), findings([(0, 0, 3)]), NONE, scans=1), np.ones(1)).intervals() is None


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="scans 0 to 1"):
        match(marks([(2, 0)]), NONE, NONE, scans=2)
    matches = match(marks([(0, 0)]), findings([(0, 0, 3)]), NONE, scans=1)
    for score in (np.array([np.nan]), np.ones(2)):
        with pytest.raises(ValueError, match="1 candidates need one finite score each"):
            FreeResponse(matches, score)


def tables(scans: int = 4) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    scan_table = pd.DataFrame(
        {"series_uid": [f"1.{n}" for n in range(scans)], "patient_id": [f"P{n}" for n in range(scans)]}
    )
    place = {"center_y_ras": 0.0, "center_z_ras": 0.0}
    nodules = [
        {"series_uid": f"1.{n}", "center_x_ras": 0.0, **place, "diameter_mm": 6.0, "excluded": 0}
        for n in range(scans - 1)
    ]
    rows = [
        {"series_uid": f"1.{n}", "patient_id": f"P{n}", "center_x_ras": x, **place, "label": int(x == 0),
         "nodule_prob": 0.9 if x == 0 else 0.1 + 0.01 * n, "mean_prob": 0.5}
        for n in range(scans - 1) for x in (0.0, 30.0, 60.0)
    ]  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(nodules), scan_table


def test_results_stand_beside_their_baselines_and_say_that_data_are_synthetic() -> None:
    candidates, nodules, scans = tables()
    settings = {"other_scores": ["mean_prob"]}
    results, curve = detection_results(candidates, nodules, scans, dataset={"synthetic": True}, settings=settings)
    assert curve is not None
    detection = results["detection"]
    assert detection["cpm"] == 1.0
    assert results["classification"]["auc"] == 1.0
    assert detection["other_scores"]["mean_prob"] == detection["baselines"]["constant_cpm"] < 1
    assert results["counts"]["scans"] == 4
    assert results["counts"]["scans_without_candidates"] == 1
    assert results["notes"][0].startswith("SYNTHETIC DATA")
    assert detection_summary(results).startswith("SYNTHETIC DATA, no result; 9 candidates of 4 scans, 3 of nodules;")


def test_without_annotations_there_is_no_curve_and_the_notes_say_why() -> None:
    candidates, nodules, scans = tables()
    results, curve = detection_results(candidates, nodules.iloc[:0], scans, dataset={}, settings={})
    assert curve is None
    assert results["detection"] is None
    assert results["classification"]["auc"] == 1.0
    assert any("give `candidates` LUNA16's annotations.csv" in note for note in results["notes"])


def test_the_folds_of_several_models_pool() -> None:
    candidates, nodules, scans = tables()
    whole, _ = detection_results(candidates, nodules, scans, dataset={}, settings={})
    assert whole["counts"]["annotated_nodules"] == 3
    first = scans.iloc[:1]
    part, _ = detection_results(candidates[candidates["series_uid"] == "1.0"], nodules, first, dataset={}, settings={})
    assert part["counts"]["annotated_nodules"] == 1  # nodules of other scans do not count
