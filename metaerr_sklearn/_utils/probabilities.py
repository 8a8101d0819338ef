"""Arithmetic of class probabilities and of log-odds."""

import numpy as np
from scipy.special import logit


def label_positions(labels, classes):
    """Return where each label stands in the sorted classes; -1 for a label that is not there."""
    try:
        positions = np.searchsorted(classes, labels)
    except TypeError as error:
        raise ValueError(
            f"Predicted labels cannot be compared with the classes {classes[:5].tolist()}: "
            f"{error}. A base that abstains with None has no error to learn; give the classifier "
            "inside."
        ) from error
    positions[positions == len(classes)] = 0
    return np.where(classes[positions] == labels, positions, -1)


def soft_clipped_logit(proba_not, proba):
    """Return log(proba_not / proba), compressed beyond 1e-4 so that extremes keep only order.

    Parameters
    ----------
    proba_not, proba : ndarrays of shape (n_samples,)
        Probability of error and of being right, each computed without cancellation.

    Returns
    -------
    logit : ndarray of shape (n_samples,)
        Higher = more likely wrong.
    """
    tiny = 1e-30
    value = np.log(np.maximum(proba_not, tiny)) - np.log(np.maximum(proba, tiny))
    limit = -logit(1e-4)
    clipped = np.clip(value, -limit, limit)
    return clipped + 0.01 * (value - clipped)


def split_predicted(proba, pred_encoded):
    """Return the probability of the predicted class, of all others together, and the others.

    The others are summed rather than subtracted from 1: where the predicted class is at 1 in
    floating point, the sum still tells the rows apart.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities.
    predicted : ndarray of int, shape (n_samples,)
        Position of the predicted class; -1 for a class that has no column.

    Returns
    -------
    own, rest : ndarrays of shape (n_samples,)
    others : ndarray of shape (n_samples, n_classes)
        Probabilities with the predicted class at 0.
    """
    rows = np.flatnonzero(pred_encoded >= 0)
    own = np.zeros(len(proba))
    own[rows] = proba[rows, pred_encoded[rows]]
    others = np.array(proba, dtype=np.float64)
    others[rows, pred_encoded[rows]] = 0
    return own, others.sum(axis=1), others


def log_loss_of_logits(is_error, logits, sample_weight=None):
    """Return the mean logistic loss of error logits along the last axis (lower is better).

    Parameters
    ----------
    is_error : ndarray of bool, shape (n_samples,)
        True where the base is wrong.
    logits : ndarray of shape (..., n_samples)
        Log-odds of an error.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.

    Returns
    -------
    loss : ndarray of shape (...)
    """
    return np.average(log_losses_of_logits(is_error, logits), axis=-1, weights=sample_weight)


def log_losses_of_logits(is_error, logits):
    """Return the logistic loss of each row; see `log_loss_of_logits`."""
    return np.logaddexp(0, np.where(is_error, -logits, logits))


def proba_of_other_classes(pooled, pred_encoded):
    """Return the probability of all classes but the predicted one."""
    return np.clip(split_predicted(pooled, pred_encoded)[1], 0, 1)
