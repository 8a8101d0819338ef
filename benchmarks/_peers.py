"""Rival error scores that the package does not contain, after their papers or documentation.

Each is fitted on out-of-fold predictions for the training rows. It returns a function that maps new
predictions to error scores (higher = more likely wrong).
"""

import numpy as np
import sklearn
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from metaerr_sklearn.confidence import max_probability

_L1 = {"l1_ratio": 1.0}
if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 8):
    _L1 = {"penalty": "l1"}


def platt_msp(proba, is_error):
    """Fit P(error) = sigmoid(a - b log-odds(p1)) with the smoothed targets of Platt (1999).

    If confidence is misleading on the training rows (b < 0), its order is kept with a slope near 0.
    """
    log_odds = _log_odds(proba)
    n_wrong, n_right = is_error.sum(), (~is_error).sum()
    target = np.where(is_error, (n_wrong + 1) / (n_wrong + 2), 1 / (n_right + 2))
    # LogisticRegression takes no soft targets: each row enters twice, with both labels, weighted.
    line = LogisticRegression(C=1e6, max_iter=1000).fit(
        np.concatenate([log_odds, log_odds])[:, None],
        np.repeat([True, False], len(log_odds)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope, intercept = line.coef_[0, 0], line.intercept_[0]
    if slope > 0:
        slope, intercept = -1e-6, logit(target.mean())
    return lambda proba: expit(intercept + slope * _log_odds(proba))


def _log_odds(proba):
    """Return the log-odds of p1, compressed beyond 10, where their scale means nothing."""
    log_odds = max_probability(proba, log_odds=True)
    inside = np.clip(log_odds, -10, 10)
    return inside + 0.01 * (log_odds - inside)


def uq360_metamodel(X, proba, is_error):
    """Fit UQ360's MetamodelClassification on its hold-out: L1 logistic on [X, sorted p, gap].

    Defaults of UQ360 0.2: C=1, liblinear. If the hold-out has one outcome only, the original raises
    an error. Here that outcome is predicted.
    """
    if is_error.all() or not is_error.any():
        return lambda X, proba: np.full(len(proba), float(is_error[0]))
    meta_model = LogisticRegression(C=1, solver="liblinear", max_iter=1000, **_L1)
    meta_model.fit(_uq360_features(X, proba), is_error)
    return lambda X, proba: meta_model.predict_proba(_uq360_features(X, proba))[:, 1]


def _uq360_features(X, proba):
    ascending = np.sort(proba, axis=1)
    return np.column_stack([X, ascending, ascending[:, -1] - ascending[:, -2]])
