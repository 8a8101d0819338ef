"""Predict with a fitted base, in chunks of rows."""

from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np

from .._compat import num_samples
from .._utils.output_checks import OutputError, as_columns
from .._utils.probabilities import label_positions, scaled_to_sum_1
from .._utils.rows import in_chunks, read_once, take_rows
from .adapter import adapt


class BasePredictions(NamedTuple):
    """Predictions of the base for some rows.

    ``labels`` and ``pred_encoded`` have shape (n_samples,). ``pred_encoded`` holds the positions of
    the labels among the classes, -1 for any other label. ``proba`` has shape (n_samples,
    n_classes). ``embedding`` holds the recorded hidden layer or the representation, or None.
    """

    labels: np.ndarray
    pred_encoded: np.ndarray
    proba: np.ndarray
    embedding: np.ndarray = None


def predict_with_error(estimator, X):
    """Predict labels and error probabilities in as few passes of the base as possible.

    Parameters
    ----------
    estimator : fitted estimator
        It has ``predict_error_proba``. `MetaErrorClassifier` and `SelectiveClassifier` also have
        ``_predict_all``, which is used unless a subclass of the user overrides a public method.
    X : any, of length n_samples
        Rows.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        They hold a label for every row, even if a `SelectiveClassifier` abstains.
    proba : ndarray of shape (n_samples, n_classes) or None
        None if the class probabilities were not computed.
    error_proba : ndarray of shape (n_samples,)
    """
    if hasattr(estimator, "_predict_all"):
        at_once, *single = [
            next(depth for depth, cls in enumerate(type(estimator).__mro__) if name in vars(cls))
            for name in ("_predict_all", "predict", "predict_error_proba")
        ]
        # If a classifier abstains, its `predict` does not return the labels of all rows.
        if at_once <= min(single) or hasattr(estimator, "accepts"):
            return estimator._predict_all(X)
    elif hasattr(estimator, "predict_with_error"):
        labels, error_proba = estimator.predict_with_error(X)
        return labels, None, error_proba
    return estimator.predict(X), None, estimator.predict_error_proba(X)


def predict_base(estimator, X, classes, *, by_argmax=None, embedding=None, represent=None):
    """Predict labels and probabilities in chunks, in as few passes of the base as possible.

    Parameters
    ----------
    estimator : fitted estimator
        The base classifier.
    X : any, of length n_samples
        Rows.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    by_argmax : bool, default=None
        Whether the label is always the most probable class, so that one pass is enough. None
        decides by the kind of classifier.
    embedding : object with ``record()``, default=None
        Records a hidden layer while the base computes its probabilities.
    represent : callable, default=None
        Computes a representation of each chunk: of its recorded values or, without `embedding`, of
        its rows. The rows of a Dataset are then read only once.

    Returns
    -------
    predictions : BasePredictions
    """
    base = adapt(estimator)
    if by_argmax is None:
        by_argmax = hasattr(estimator, "predict_proba") and base.predicts_argmax()

    def predict(part):
        part = part if represent is None or embedding is not None else read_once(part)
        with nullcontext() if embedding is None else embedding.record() as recorded:
            own_proba, own_classes = base.own_proba(part, classes)
        proba = base.align(own_proba, own_classes, classes)
        if by_argmax:
            labels = _argmax_labels(base, part, own_proba, own_classes)
        else:
            labels = np.array(base.predict(part, classes))
        pred_encoded = label_positions(labels, classes)
        n_rows = num_samples(part)
        if not len(proba) == len(labels) == n_rows:
            raise OutputError(
                f"{base.name} returns probabilities for {len(proba)} rows and labels for "
                f"{len(labels)}, but X has {n_rows} rows. Leave out no row in prediction."
            )
        if embedding is None and represent is None:
            return labels, pred_encoded, proba
        values = part if embedding is None else np.concatenate(recorded)
        return labels, pred_encoded, proba, values if represent is None else represent(values)

    return BasePredictions(*in_chunks(predict, X))


def without_missing_classes(predictions, is_trained):
    """Return the predictions with probability 0 for classes that the base was not trained on.

    A net, for example, has an output for each class.

    Parameters
    ----------
    predictions : BasePredictions
        Without labels.
    is_trained : ndarray of bool, shape (n_classes,)
        Mask of the classes among the training rows.

    Returns
    -------
    predictions : BasePredictions
    """
    proba, pred_encoded = predictions.proba, predictions.pred_encoded
    if not proba[:, ~is_trained].any():
        return predictions
    proba = scaled_to_sum_1(np.where(is_trained, proba, 0), is_trained / is_trained.sum())
    is_missing = np.isin(pred_encoded, np.flatnonzero(~is_trained))
    pred_encoded = np.where(is_missing, proba.argmax(axis=1), pred_encoded)
    return predictions._replace(proba=proba, pred_encoded=pred_encoded)


def _argmax_labels(base, X, proba, classes):
    """Return the most probable class of each row.

    If all classes of a row have the same probability, its label comes from ``predict``: a
    classifier may have a rule of its own for such rows, for example for outliers.
    """
    labels = classes[proba.argmax(axis=1)]
    even = np.flatnonzero(np.ptp(proba, axis=1) == 0)
    if len(even) and not base.predicts_argmax():
        own = np.asarray(base.predict(take_rows(X, even), classes))
        labels = labels.astype(np.result_type(labels, own))
        labels[even] = own
    return labels


def observe(estimator, X, observers):
    """Compute the meta-features of each observer from a fitted base, in chunks.

    Parameters
    ----------
    estimator : fitted estimator
        In training, a clone that was not trained on X. For new rows, the deployed base.
    X : any, of length n_samples
        Rows.
    observers : sequence of objects with ``observe(estimator, X)``
        ``observe`` returns one number, or one row of numbers, for each row of X.

    Returns
    -------
    observed : tuple of ndarrays of shape (n_samples, n_features)
    """
    own_copy = adapt(estimator).own_copy

    def compute(observer, part):
        features = observer.observe(estimator, own_copy(part))
        return (as_columns(features, num_samples(part), f"{type(observer).__name__}.observe"),)

    return tuple(in_chunks(partial(compute, observer), X)[0] for observer in observers)
