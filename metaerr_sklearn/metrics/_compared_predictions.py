"""Predict with a model and compare with the labels.

This is the only file of `metrics` that handles an estimator. Any classifier can be measured by its
public methods. A classifier that abstains also has ``accepts``, and answers if
``error_proba <= threshold_``.
"""

from typing import NamedTuple

import numpy as np

from .._base_estimator.adapter import adapt
from .._base_estimator.inspection import (
    final_estimator,
    unwrap,
    warn_of_hidden_error_model,
    warn_of_unlabeled,
)
from .._base_estimator.prediction import predict_with_error
from .._utils.indexable import indexable
from .._utils.label_checks import check_has_target, check_labels, check_true_labels
from .._utils.labels import read_labels
from .._utils.output_checks import check_proba
from .._utils.parameter_checks import check_not_a_module
from .._utils.probabilities import proba_not_max
from ..confidence import margin, negative_entropy


class ComparedPredictions(NamedTuple):
    """Predictions of an estimator, and where they are wrong.

    ``is_error``, ``labels`` and ``error_proba`` have shape (n_samples,). ``is_error`` is None
    without true labels. ``proba`` has shape (n_samples, n_classes), or is None if the estimator has
    no class probabilities. ``has_error_proba`` is True if the estimator predicts error
    probabilities, False if ``error_proba`` is 1 - max probability. ``accepted`` is True where a
    selective classifier answers, and ``target_risk`` is its parameter of this name. Both are None
    for other estimators.
    """

    is_error: np.ndarray | None
    labels: np.ndarray
    error_proba: np.ndarray
    proba: np.ndarray | None
    has_error_proba: bool
    accepted: np.ndarray | None
    target_risk: float | None

    def scores(self):
        """Return ``{row of the report: (score, whether it is a probability)}``."""
        scores = {"error probability": (self.error_proba, True)} if self.has_error_proba else {}
        if self.proba is not None:
            scores["max probability"] = (proba_not_max(self.proba), True)
            scores["margin"] = (-margin(self.proba), False)
            scores["entropy"] = (-negative_entropy(self.proba), False)
        return scores


def predict_and_compare(estimator, X, y, *, with_proba=True, needs_labels=True):
    """Predict once and compare with the true labels, for the report, the scorers and the displays.

    Parameters
    ----------
    estimator : fitted classifier
        With ``predict_error_proba``, ``predict_proba`` or ``decision_function``.

    X : array-like of length n_samples
        Rows, passed to the estimator unchanged.

    y : array-like of shape (n_samples,) or None
        True labels; without them ``is_error`` is None.

    with_proba : bool, default=True
        Whether class probabilities are needed beside the error probability.

    needs_labels : bool, default=True
        Whether y must be given.

    Returns
    -------
    predictions : ComparedPredictions

    Raises
    ------
    TypeError
        If the estimator has no score of confidence.
    ValueError
        If labels are missing, or of another type than the predicted labels.
    """
    (X,) = indexable(X)
    if needs_labels:
        check_has_target(y, "An evaluation")
        y = check_labels(y, X)
    check_not_a_module(final_estimator(estimator))
    estimator, X = unwrap(estimator, X)
    if isinstance(estimator, type) or not hasattr(estimator, "predict"):
        given = estimator if isinstance(estimator, type) else type(estimator)
        raise TypeError(
            f"An evaluation needs a fitted classifier with predict, got {given.__name__}"
            f"{', the class itself' if given is estimator else ''}. For predictions that were made "
            "elsewhere there are functions of arrays: those of metaerr_sklearn.metrics, such as "
            "error_roc_auc(is_error, error_proba), and from_predictions of the displays."
        )
    has_error_proba = hasattr(estimator, "predict_error_proba")
    proba = accepted = target_risk = None
    if not has_error_proba:
        proba = _class_proba(estimator, X)
        if proba is None:
            raise TypeError(
                f"{type(estimator).__name__} has none of predict_error_proba, predict_proba and "
                "decision_function, so its predictions cannot be ranked. Wrap it in "
                "MetaErrorClassifier, which works with labels alone."
            )
        warn_of_hidden_error_model(estimator)
        labels, error_proba = adapt(estimator).call("predict", X), proba_not_max(proba)
    else:
        labels, proba, error_proba = predict_with_error(estimator, X)
        if hasattr(estimator, "accepts"):
            accepted = error_proba <= estimator.threshold_
            target_risk = estimator.target_risk
            # Around a plain classifier, SelectiveClassifier ranks by the class probabilities.
            has_error_proba = hasattr(final_estimator(estimator.estimator_), "predict_with_error")
    if with_proba and proba is None:
        proba = _class_proba(estimator, X)
    if not (hasattr(estimator, "predict_proba") or hasattr(estimator, "decision_function")):
        proba = None  # One-hot labels cannot rank the rows.
    # The label decides what is an error. With a tuned decision threshold it need not be the most
    # probable class.
    labels = read_labels(labels)
    is_error = None
    if y is not None:
        check_true_labels(y, getattr(estimator, "classes_", labels[:0]))
        warn_of_unlabeled(estimator, y)
        is_error = labels != y
    return ComparedPredictions(
        is_error, labels, np.asarray(error_proba), proba, has_error_proba, accepted, target_risk
    )


def _class_proba(estimator, X):
    """Return class probabilities, from decision scores if there are no others; else None."""
    base = adapt(estimator)
    if hasattr(estimator, "predict_proba"):
        name = f"predict_proba of {type(estimator).__name__}"
        proba = base.fill_zero_rows(base.call("predict_proba", X))
        return check_proba(proba, name=name, advice=base.scores_advice)
    if hasattr(estimator, "decision_function"):
        if not hasattr(estimator, "classes_"):
            raise TypeError(
                f"{type(estimator).__name__} has decision_function, but no classes_: its scores "
                "are not those of classes. An evaluation needs a classifier."
            )
        return base.predict_proba(X, np.unique(estimator.classes_))
    return None
