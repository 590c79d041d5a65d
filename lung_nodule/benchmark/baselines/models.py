"""scikit-learn models of the baselines; missing measurements are imputed with the median of the training nodules."""

from __future__ import annotations

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNetCV, LassoCV, LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

INNER_FOLDS = 5
PENALTIES = 30
TOLERANCE = 1e-3
"""Duality gap of LASSO and elastic net, as a share of the ratings' variance."""


def logistic(*, strength: float = 1.0) -> Pipeline:
    """Logistic regression on standardised measurements; ``strength`` is scikit-learn's C."""
    return _scaled(LogisticRegression(C=strength, max_iter=5000))


def support_vectors() -> Pipeline:
    """Support vector regression of the median, as errors are absolute ones, with a radial kernel."""
    return _scaled(SVR(C=1.0, epsilon=0.0))


def lasso(patients: np.ndarray) -> Pipeline:
    """LASSO; the penalty is chosen by inner cross-validation grouped by patient."""
    return _scaled(LassoCV(alphas=PENALTIES, cv=_inner(patients), max_iter=20000, tol=TOLERANCE))


def elastic_net(patients: np.ndarray) -> Pipeline:
    """Elastic net with equal L1 and L2 shares; the penalty is chosen as in :func:`lasso`."""
    return _scaled(ElasticNetCV(l1_ratio=0.5, alphas=PENALTIES, cv=_inner(patients), max_iter=20000, tol=TOLERANCE))


def _scaled(model: object) -> Pipeline:
    return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), model)


def _inner(patients: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    folds = min(INNER_FOLDS, len(np.unique(patients)))
    return list(GroupKFold(folds).split(patients, groups=patients))
