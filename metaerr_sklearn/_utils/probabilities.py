"""Arithmetic of class probabilities and of log-odds."""

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from . import limits
from .rows import batches_of

_TINY = 1e-30


def label_positions(labels, classes):
    """Return the position of each label among the sorted classes; -1 for any other label."""
    try:
        positions = np.searchsorted(classes, labels)
    except TypeError as error:
        raise ValueError(
            f"Predicted labels cannot be compared with the classes {classes[:5].tolist()}: "
            f"{error}. A base that abstains with None makes no error in these rows: give the "
            "classifier inside it."
        ) from error
    positions[positions == len(classes)] = 0
    return np.where(classes[positions] == labels, positions, -1)


def soft_clipped_logit(proba_not, proba):
    """Return log(proba_not / proba), where values beyond the logit of 1e-4 grow 100 times slower.

    Extreme values keep their order, but do not decide a mean.

    Parameters
    ----------
    proba_not, proba : ndarrays of shape (n_samples,)
        Probability of being wrong and of being right. Both are passed, because the difference of 1
        and one of them would be rounded.

    Returns
    -------
    logit : ndarray of shape (n_samples,)
        Higher = more likely wrong.
    """
    return soft_clip(_log_ratio(proba_not, proba))


def _log_ratio(numerator, denominator):
    numerator, denominator = np.maximum(numerator, _TINY), np.maximum(denominator, _TINY)
    return np.log(numerator) - np.log(denominator)


def soft_clip(log_odds):
    """Return log-odds whose values beyond the logit of 1e-4 grow 100 times slower.

    Infinite values, of a probability of 0 or 1, become finite.
    """
    largest, limit = -np.log(_TINY), -logit(1e-4)
    value = np.clip(log_odds, -largest, largest)
    clipped = np.clip(value, -limit, limit)
    return clipped + 0.01 * (value - clipped)


def split_predicted(proba, pred_encoded):
    """Return the probability of the predicted class, of a wrong prediction, and of other classes.

    The probability of a wrong prediction is the sum over the other classes. Unlike 1 minus the
    probability of the predicted class, it keeps the order of rows whose prediction has
    probability 1 in floating point.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities.
    pred_encoded : ndarray of int, shape (n_samples,)
        Position of the predicted class; -1 for a class that has no column.

    Returns
    -------
    proba_pred, proba_wrong : ndarrays of shape (n_samples,)
    proba_other : ndarray of shape (n_samples, n_classes)
        Probabilities with the predicted class at 0.
    """
    rows = np.flatnonzero(pred_encoded >= 0)
    proba_pred = np.zeros(len(proba))
    proba_pred[rows] = proba[rows, pred_encoded[rows]]
    proba_other = np.array(proba, dtype=np.float64)
    proba_other[rows, pred_encoded[rows]] = 0
    return proba_pred, proba_other.sum(axis=1), proba_other


def scaled_to_sum_1(values, otherwise):
    """Return rows of non-negative values divided by their sum; rows of zeros become `otherwise`."""
    total, scaled = values.sum(axis=1, keepdims=True), np.empty_like(values)
    scaled[:] = otherwise
    return np.divide(values, total, out=scaled, where=total > 0)


def error_logit(proba, pred_encoded):
    """Return the log-odds of an error that the probabilities give; see `soft_clipped_logit`."""
    return soft_clip(-right_log_odds(proba, pred_encoded))


def right_log_odds(proba, pred_encoded):
    """Return the log-odds that the predictions are right; see `split_predicted`."""
    proba_pred, proba_wrong, _ = split_predicted(proba, pred_encoded)
    return _log_ratio(proba_pred, proba_wrong)


def in_batches(function, proba, pred_encoded):
    """Call a function of probabilities and predicted classes on batches of rows, and concatenate.

    The memory of the function is then bounded if there are many classes. A batch of a sparse matrix
    of probabilities is passed as an array.
    """
    n_samples, n_classes = proba.shape
    results = []
    for batch in batches_of(n_samples, max(1, limits.MAX_PROBABILITIES // n_classes)):
        part = proba[batch]
        part = part.toarray() if sparse.issparse(part) else part
        results.append(function(part, pred_encoded[batch]))
    return np.concatenate(results)


def vote_and_deviations(own, others, pred_encoded, n_voting):
    """Compare the predicted class of each row with other predictions for it.

    Parameters
    ----------
    own : ndarray of shape (n_samples, n_classes)
        Probabilities by the base.
    others : list of ndarray of shape (n_samples, n_classes)
        Other probabilities of the same rows.
    pred_encoded : ndarray of int, shape (n_samples,)
        Position of the class that the base predicts.
    n_voting : int
        Number of `others`, from the first on, that belong to the vote.

    Returns
    -------
    columns : ndarray of float64, shape (n_samples, 1 + len(others))
        The vote: log-odds that the prediction is right, by the mean of `own` and the first
        `n_voting` others. Then the log-odds by each other minus those by `own`, each cut to
        [-10, 10]: larger ones say nothing about the difference.
    """
    mean = np.mean([own, *others[:n_voting]], axis=0, dtype=np.float64)
    vote = in_batches(right_log_odds, mean, pred_encoded)
    own_log_odds, *log_odds = (
        np.clip(in_batches(right_log_odds, proba, pred_encoded), -10, 10)
        for proba in (own, *others)
    )
    return np.column_stack([vote, *(values - own_log_odds for values in log_odds)])


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


def proba_of_other_classes(proba, pred_encoded):
    """Return 1 - the probability of the predicted class, clipped to [0, 1].

    A result below 1e-4 is computed as the sum over the other classes, because rounding would make
    different results of the difference equal. A larger result is the difference, because rounding
    would make equal results of the sum differ: for shares of votes, 0.1 + 0.2 is not equal to 0.3.
    """
    proba_pred, summed, _ = split_predicted(proba, pred_encoded)
    difference = 1 - proba_pred
    return np.clip(np.where(difference < 1e-4, summed, difference), 0, 1)


def proba_not_max(proba):
    """Return 1 - max probability, by the rule of `proba_of_other_classes`."""
    return proba_of_other_classes(proba, proba.argmax(axis=1))


def clipped_logit(proba, eps):
    """Return the log-odds of probabilities that are clipped to [eps, 1 - eps]."""
    return logit(np.clip(proba, eps, 1 - eps))


def add_log_odds(proba, shift):
    """Return probabilities whose log-odds are shifted; 0 and 1 stay."""
    return proba if shift == 0 else expit(logit(proba) + shift)
