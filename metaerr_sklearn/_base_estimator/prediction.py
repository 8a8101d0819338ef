"""Predict with a fitted base."""

from contextlib import nullcontext

import numpy as np
from scipy.special import expit, softmax

from .._compat import num_samples, safe_indexing
from .._utils.probabilities import label_positions
from .._utils.rows import in_chunks
from .._utils.validation import check_has_rows, check_proba
from .fitting import net_input
from .inspection import final_estimator, is_net, labels_by_argmax


def call_base(estimator, method, X):
    """Call a method of a fitted base; a net's batches draw no number from the global generators.

    Parameters
    ----------
    estimator : fitted estimator
        The base.
    method : str
        Name of the method.
    X : array-like
        Passed as it is; a net gets float32.

    Returns
    -------
    output : ndarray

    Raises
    ------
    ValueError
        If X has no row and a net is asked.
    """
    if not is_net(estimator):
        return getattr(estimator, method)(X)
    check_has_rows(X, final_estimator(estimator))
    from ..neural._inputs import sliced_batches
    from ..neural._net import preserved_rng

    with sliced_batches(final_estimator(estimator)), preserved_rng(0):
        return getattr(estimator, method)(net_input(estimator, X))


def classes_of_prefit(estimator, y):
    """Return the classes that the columns of a fitted base's probabilities stand for.

    A net trained elsewhere may know only integers: its column j then stands for label j.
    """
    labels = np.unique(y)
    if not is_net(estimator):
        classes = getattr(estimator, "classes_", None)
        return labels if classes is None else np.asarray(classes)
    classes = np.asarray(getattr(final_estimator(estimator), "classes_", labels))
    if labels.dtype.kind in "iu" and classes.dtype.kind in "iu":
        return np.union1d(labels, classes)
    return labels


def classes_of_fitted(estimator, classes):
    """Return the classes in the order of the columns of the probabilities of a base fitted here.

    That of a base need not be that of the sorted labels; a net knows only their numbers.
    """
    if is_net(estimator) or not hasattr(estimator, "classes_"):
        return classes
    return np.asarray(estimator.classes_)


def predict_labels(estimator, X, classes):
    """Return the base's own labels, one per row; those of a net are decoded."""
    if not is_net(estimator):
        labels = estimator.predict(X)
        return np.asarray(labels)[:, 0] if np.shape(labels)[1:] == (1,) else labels
    pred_encoded = np.asarray(call_base(estimator, "predict", X))
    if pred_encoded.max(initial=0) >= len(classes):
        raise ValueError(
            f"The net predicts class number {pred_encoded.max()}, but only {len(classes)} classes "
            "are known. Give the module one output unit per class."
        )
    return classes[pred_encoded]


def fill_zero_rows(estimator, proba):
    """Give every class the same probability in rows where a classifier gives all of them 0.

    So does an `OneVsRestClassifier` where no class is claimed, or a `RadiusNeighborsClassifier` for
    an outlier; older versions of scikit-learn divide that by its sum, 0, as `LabelSpreading` does
    far from all rows. NaN from anything else is a failure.
    """
    proba = np.asarray(proba)
    if proba.ndim != 2 or is_net(estimator):
        return proba
    is_unknown = ~np.any(proba, axis=1)
    if type(final_estimator(estimator)).__module__.startswith("sklearn."):
        is_unknown |= np.isnan(proba).all(axis=1)
    if not is_unknown.any():
        return proba
    proba = np.array(proba, dtype=float)
    proba[is_unknown] = 1 / proba.shape[1]
    return proba


def predict_proba(estimator, X, classes):
    """Return class probabilities of a fitted base, one column per class of `classes`.

    From ``predict_proba`` (where all are 0, every class gets the same), else from
    ``decision_function`` (softmax; two classes: sigmoid(2 f)), else one-hot labels from
    ``predict``. Classes that the base has not seen get 0.

    Parameters
    ----------
    estimator : fitted estimator
        Any classifier.
    X : array-like of length n_samples
        Passed as it is; a net gets float32.
    classes : ndarray of shape (n_classes,)
        Sorted labels.

    Returns
    -------
    proba : ndarray of shape (n_samples, n_classes)

    Raises
    ------
    ValueError
        If ``predict_proba`` does not return probabilities, or ``decision_function`` not one score
        per class.
    """
    if is_net(estimator):
        own_classes = classes
    else:
        own_classes = np.asarray(getattr(estimator, "classes_", classes))
    if hasattr(estimator, "predict_proba"):
        raw = np.asarray(call_base(estimator, "predict_proba", X))
        if raw.ndim != 2 or raw.shape[1] != len(own_classes):
            raise ValueError(
                f"predict_proba of {type(final_estimator(estimator)).__name__} has shape "
                f"{raw.shape}, expected one column for each of the {len(own_classes)} classes. "
                "A net needs as many output units as there are classes."
            )
        own_proba = check_proba(
            fill_zero_rows(estimator, raw), name="predict_proba of the base estimator"
        )
    else:
        own_proba = None
        if hasattr(estimator, "decision_function"):
            scores = np.asarray(call_base(estimator, "decision_function", X), dtype=np.float64)
            if scores.ndim == 1 and len(own_classes) == 2:
                own_proba = np.column_stack([expit(-2 * scores), expit(2 * scores)])
            elif scores.ndim == 2 and scores.shape[1] == len(own_classes):
                own_proba = softmax(scores, axis=1)
            else:
                raise ValueError(
                    f"decision_function of {type(final_estimator(estimator)).__name__} has shape "
                    f"{scores.shape}, expected one score for each of the {len(own_classes)} "
                    'classes. For scores of pairs of classes, set decision_function_shape="ovr".'
                )
        if own_proba is None:
            labels = np.asarray(predict_labels(estimator, X, own_classes))
            own_proba = (labels[:, None] == own_classes).astype(float)
    if np.array_equal(own_classes, classes):
        return own_proba
    proba = np.zeros((len(own_proba), len(classes)), dtype=own_proba.dtype)
    position = label_positions(own_classes, classes)
    if (position < 0).any():
        raise ValueError(
            f"The base estimator knows the classes {own_classes[position < 0]}, which are not "
            f"among the classes {classes}."
        )
    proba[:, position] = own_proba
    return proba


def predict_labels_and_proba(estimator, X, classes):
    """Return predicted positions in `classes` and probabilities of a fitted base, in chunks."""
    return predict_all(estimator, X, classes)[1:3]


def predict_all(estimator, X, classes, *, by_argmax=None, embedding=None, transform=None):
    """Return what a fitted base says of rows, in chunks and in as few passes as possible.

    Parameters
    ----------
    estimator : fitted estimator
        The base.
    X : any, of length n_samples
        Rows.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    by_argmax : bool, default=None
        Whether the label is known to be that of the largest probability; None asks
        `labels_by_argmax`.
    embedding : object with ``overhear()``, default=None
        Collects what the base computes on the way to its probabilities.
    transform : callable, default=None
        Applied to what `embedding` collects of each chunk.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
    predicted : ndarray of int, shape (n_samples,)
        Their positions in `classes`; -1 for a label that is not among them.
    proba : ndarray of shape (n_samples, n_classes)
    heard : ndarray of shape (n_samples, n_columns), or None
        From `embedding`.
    """
    if by_argmax is None:
        # A second forward pass of a net adds nothing.
        by_argmax = hasattr(estimator, "predict_proba") and labels_by_argmax(estimator)

    def predict(part):
        with nullcontext() if embedding is None else embedding.record() as parts:
            proba = predict_proba(estimator, part, classes)
        if by_argmax:
            pred_encoded = proba.argmax(axis=1)
            labels = classes[pred_encoded]
            even = np.flatnonzero(np.ptp(proba, axis=1) == 0)
            if len(even) and not (is_net(estimator) or labels_by_argmax(estimator)):
                # What tells nothing is that of a rule of its own, for outliers perhaps.
                own = np.asarray(predict_labels(estimator, safe_indexing(part, even), classes))
                labels = labels.astype(np.result_type(labels, own))
                labels[even], pred_encoded[even] = own, label_positions(own, classes)
        else:
            labels = np.asarray(predict_labels(estimator, part, classes))
            pred_encoded = label_positions(labels, classes)
        if embedding is None:
            return labels, pred_encoded, proba
        hidden = np.concatenate(parts)
        return labels, pred_encoded, proba, hidden if transform is None else transform(hidden)

    labels, pred_encoded, proba, *hidden = in_chunks(predict, X)
    return labels, pred_encoded, proba, hidden[0] if hidden else None


def observe(estimator, X, observers):
    """Return what each observer finds when it asks a fitted base about X, in chunks.

    Parameters
    ----------
    estimator : fitted estimator
        A base that has not seen X, or the deployed one on new rows.
    X : any, of length n_samples
        Rows.
    observers : sequence of objects with ``observe(estimator, X)``
        They return one number, or one row of numbers, per row.

    Returns
    -------
    asked : list of ndarrays of shape (n_samples, n_features)
    """

    def answer(observer, part):
        features = np.asarray(observer.observe(estimator, part), dtype=float)
        features = features[:, None] if features.ndim == 1 else features
        if features.ndim != 2 or len(features) != num_samples(part):
            raise ValueError(
                f"{type(observer).__name__}.observe must return one row of numbers per sample, got "
                f"shape {features.shape} for {num_samples(part)} samples."
            )
        return features

    return [in_chunks(lambda part, o=observer: (answer(o, part),), X)[0] for observer in observers]
