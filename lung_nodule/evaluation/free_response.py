"""The free-response curve and LUNA16's competition performance metric (Setio et al., Med. Image Anal. 42, 2017).

LUNA16's rules: a candidate hits a nodule when it lies nearer to its centre than its radius. A nodule has the highest
score of the candidates that hit it; further hits are ignored. A candidate that hits an excluded finding and no nodule
is ignored. All others are false positives. The curve joins the points of all distinct scores and starts at (0, 0);
nodules without a hit stay missed at every threshold. (The challenge's own script also drops all but the 100 highest
scores of a scan; its published rules do not say so, and it is not done here.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FALSE_POSITIVES_PER_SCAN = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Rates at which LUNA16 reads the sensitivity; the metric is the mean of these sensitivities."""


@dataclass(frozen=True, eq=False)
class Findings:
    """Positions in scans.

    Attributes:
        scan: int [n], number of the scan.
        center: float [n, 3], mm.
        radius: float [n], mm; 0 for candidates.
    """

    scan: np.ndarray
    center: np.ndarray
    radius: np.ndarray


@dataclass(frozen=True, eq=False)
class Matches:
    """Match of each candidate, independent of its score.

    Attributes:
        hits: int [h, 2], pairs of a candidate and a nodule that it hits.
        false: int [f], candidates that hit nothing: false positives.
        candidate_scan: int [candidates].
        nodule_scan: int [nodules].
        scans: number of scans evaluated, also those without candidates.
    """

    hits: np.ndarray
    false: np.ndarray
    candidate_scan: np.ndarray
    nodule_scan: np.ndarray
    scans: int

    @property
    def found(self) -> int:
        """Nodules that some candidate hits: no score can find more."""
        return len(np.unique(self.hits[:, 1]))


def match(candidates: Findings, nodules: Findings, excluded: Findings, *, scans: int) -> Matches:
    """Match candidates to nodules by LUNA16's rules.

    Args:
        candidates: scored candidates.
        nodules: all annotated nodules of the scans.
        excluded: findings whose hits are ignored.
        scans: number of scans; they are numbered from 0.

    Raises:
        ValueError: there is no scan, or something lies in a scan of another number.
    """
    for part in (candidates, nodules, excluded):
        if scans < 1 or (len(part.scan) and not 0 <= part.scan.min() <= part.scan.max() < scans):
            raise ValueError(f"candidates, nodules and findings must lie in scans 0 to {scans - 1}")
    hits, ignored = _hits(candidates, nodules), _hits(candidates, excluded)
    counted = np.ones(len(candidates.scan), dtype=bool)
    counted[hits[:, 0]] = False
    counted[ignored[:, 0]] = False
    return Matches(hits, np.flatnonzero(counted), candidates.scan, nodules.scan, scans)


def _hits(candidates: Findings, findings: Findings) -> np.ndarray:
    """Pairs [h, 2] of a candidate and a finding of its scan that it lies nearer to than the radius."""
    order = np.argsort(candidates.scan, kind="stable")
    sorted_scan = candidates.scan[order]
    pairs = [np.empty((0, 2), dtype=int)]
    for number, (scan, center, radius) in enumerate(zip(findings.scan, findings.center, findings.radius, strict=True)):
        own = order[slice(*np.searchsorted(sorted_scan, (scan, scan + 1)))]
        near = own[((candidates.center[own] - center) ** 2).sum(axis=1) < radius**2]
        pairs.append(np.stack([near, np.full(len(near), number)], axis=1))
    return np.concatenate(pairs)


@dataclass(frozen=True, eq=False)
class Curve:
    """The free-response curve, from (0, 0) to the lowest score.

    Attributes:
        false_positives: float [n], a scan, ascending.
        sensitivity: float [n], ascending.
        threshold: float [n], the score from which on candidates count; infinite at (0, 0).
    """

    false_positives: np.ndarray
    sensitivity: np.ndarray
    threshold: np.ndarray

    def at(self, rates: Sequence[float] = FALSE_POSITIVES_PER_SCAN) -> np.ndarray:
        """The sensitivity at numbers of false positives a scan: linear between the points, level beyond the last."""
        return np.interp(rates, self.false_positives, self.sensitivity)

    def competition_metric(self) -> float:
        """LUNA16's: the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan."""
        return float(self.at().mean())


class FreeResponse:
    """The scores of matched candidates, sorted once, so that many bootstrap draws cost little.

    Args:
        matches: matches of the candidates.
        score: float [candidates], higher where a nodule is more likely.

    Raises:
        ValueError: not a finite score for every candidate.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.evaluation import FreeResponse, match
        >>> from lung_nodule.evaluation.free_response import Findings
        >>> scan, far = np.array([0, 0]), np.array([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
        >>> candidates = Findings(scan, far, np.zeros(2))
        >>> nodules = Findings(scan[:1], far[:1], np.array([5.0]))
        >>> nothing = Findings(scan[:0], far[:0], np.zeros(0))
        >>> matches = match(candidates, nodules, nothing, scans=1)
        >>> FreeResponse(matches, np.array([0.9, 0.1])).curve().competition_metric()
        1.0
    """

    def __init__(self, matches: Matches, score: np.ndarray) -> None:
        score = np.asarray(score, dtype=float)
        if score.shape != matches.candidate_scan.shape or not np.isfinite(score).all():
            raise ValueError(f"{len(matches.candidate_scan)} candidates need one finite score each")
        best = np.full(len(matches.nodule_scan), -np.inf)
        np.maximum.at(best, matches.hits[:, 1], score[matches.hits[:, 0]])
        found = np.flatnonzero(np.isfinite(best))
        scores = np.concatenate([best[found], score[matches.false]])
        order = np.argsort(-scores, kind="stable")
        self.score = scores[order]
        self.scan = np.concatenate([matches.nodule_scan[found], matches.candidate_scan[matches.false]])[order]
        self.nodule = (np.arange(len(scores)) < len(found))[order]
        self.ends = np.flatnonzero(np.append(np.diff(self.score) != 0, len(scores) > 0))  # ties share one point
        self.nodule_scan, self.scans = matches.nodule_scan, matches.scans
        wrong = np.cumsum(~self.nodule)[self.ends] / self.scans
        self.usual_points = int(np.searchsorted(wrong, 2 * max(FALSE_POSITIVES_PER_SCAN))) + 1

    def curve(self, weight: np.ndarray | None = None, *, points: int | None = None) -> Curve:
        """The curve with each scan counted by its weight; sensitivity is NaN without a nodule.

        Args:
            weight: [scans], how often each scan was drawn; once each when not given.
            points: number of first points to keep after (0, 0); all when not given.
        """
        weight = np.ones(self.scans) if weight is None else np.asarray(weight, dtype=float)
        ends = self.ends[:points]
        used = slice(0, int(ends[-1]) + 1 if len(ends) else 0)
        counts, nodule = weight[self.scan[used]], self.nodule[used]
        found = np.cumsum(counts * nodule)[ends] / (weight[self.nodule_scan].sum() or np.nan)
        wrong = np.cumsum(counts * ~nodule)[ends] / weight.sum()
        return Curve(np.append(0.0, wrong), np.append(0.0, found), np.append(np.inf, self.score[ends]))

    def sensitivities(self, weight: np.ndarray) -> np.ndarray:
        """:meth:`Curve.at` of a weighted curve; most of the curve lies beyond the highest rate and is left out."""
        start = self.curve(weight, points=self.usual_points)
        return (start if start.false_positives[-1] > max(FALSE_POSITIVES_PER_SCAN) else self.curve(weight)).at()

    def intervals(self, *, draws: int = 1000, level: float = 0.95, seed: int = 0) -> np.ndarray | None:
        """Percentile bootstrap over scans, as LUNA16 does it: the metric's interval, then those of its sensitivities.

        Returns:
            ``[8, 2]`` low and high, or None with fewer than two scans or where no draw holds a nodule.
        """
        if self.scans < 2:
            return None
        random = np.random.default_rng(seed)
        values = []
        for _ in range(draws):
            drawn = np.bincount(random.integers(self.scans, size=self.scans), minlength=self.scans)
            if drawn[self.nodule_scan].sum():
                at = self.sensitivities(drawn)
                values.append([at.mean(), *at])
        tail = (1 - level) / 2
        return np.quantile(values, [tail, 1 - tail], axis=0).T if values else None


def constant_baseline(matches: Matches) -> float:
    """The metric of one score for all candidates: its one tie is a straight line to (all false, all found)."""
    return FreeResponse(matches, np.zeros(len(matches.candidate_scan))).curve().competition_metric()


def random_baseline(matches: Matches, *, draws: int = 20, seed: int = 0) -> float:
    """The mean metric of random scores. Nodules with several hits are found earlier than by the constant."""
    random = np.random.default_rng(seed)
    curves = (FreeResponse(matches, random.random(len(matches.candidate_scan))).curve() for _ in range(draws))
    return float(np.mean([curve.competition_metric() for curve in curves]))
