"""Estimate the class prior of unlabeled rows and adjust probabilities to it."""

import numpy as np

from .._utils.parameter_checks import is_word
from .._utils.probabilities import scaled_to_sum_1


def check_class_prior(class_prior, classes, y_encoded, sample_weight=None):
    """Return the class prior that the user gives as an array, or None.

    Parameters
    ----------
    class_prior : None, "labeled" or array-like of shape (n_classes,)
        Parameter of the user.

    classes : ndarray of shape (n_classes,)
        Sorted labels.

    y_encoded : ndarray of int, shape (n_samples,)
        Positions of the classes, -1 where unlabeled.

    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.

    Returns
    -------
    prior : ndarray of shape (n_classes,) or None
    """
    if class_prior is None:
        return None
    n_classes = len(classes)
    if is_word(class_prior, "labeled"):
        labeled = y_encoded >= 0
        weight = None if sample_weight is None else sample_weight[labeled]
        counts = np.bincount(y_encoded[labeled], weight, n_classes)
        return counts / counts.sum()
    try:
        prior = np.asarray(class_prior, dtype=float)
    except (TypeError, ValueError):
        prior = np.empty(0)
    valid = prior.shape == (n_classes,) and (prior >= 0).all() and abs(prior.sum() - 1) < 1e-3
    if not valid:
        raise ValueError(
            f'class_prior must be None, "labeled" or {n_classes} shares that sum to 1, in the '
            f"order of the classes {classes}, got {class_prior!r}."
        )
    return prior


def estimate_class_prior(proba, prior, *, n_steps=5):
    """Estimate the class prior of rows from their class probabilities.

    If rows were chosen for labeling class by class, the labels do not show how frequent the classes
    are. Expectation maximisation [1]_ starts at the class prior of the labeled rows and increases
    the likelihood of the unlabeled rows. It is stopped after a few steps. With well separated
    classes it has converged by then. With overlapping classes it stays near the start, which is
    intended: further steps would fit the errors of the probabilities.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities that are right under the class prior `prior`.

    prior : ndarray of shape (n_classes,)
        Shares of the classes among the labeled rows.

    n_steps : int, default=5
        Number of steps; many give the maximum-likelihood estimate.

    Returns
    -------
    estimated : ndarray of shape (n_classes,)
        Sums to 1.

    References
    ----------
    .. [1] Saerens, Latinne, Decaestecker (2002). Adjusting the Outputs of a Classifier to New a
       Priori Probabilities, Neural Computation.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn.self_training._class_prior import estimate_class_prior
    >>> proba = np.repeat([[0.9, 0.1], [0.2, 0.8]], [90, 10], axis=0)
    >>> estimate_class_prior(proba, np.array([0.5, 0.5])).round(2)
    array([0.99, 0.01])
    """
    estimated = prior
    for _ in range(n_steps):
        estimated = adjust_to_class_prior(proba, prior, estimated).mean(axis=0)
    return estimated


def class_prior_reliability(proba, fold_probas, sizes, prior):
    """Estimate with the jackknife how reliable an estimated class prior is.

    The classifiers of the folds were trained on different labels. The variance of their estimates
    is scaled up to that of independent samples [1]_, and compared with the distance between the
    estimate and the class prior of the labeled rows: 1 - variance / distance², as in the estimator
    of James and Stein [2]_.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities of rows from the classifier trained on all labels.

    fold_probas : iterable of ndarray of shape (n_samples, n_classes)
        Probabilities of the same rows from the classifier of each fold.

    sizes : list of (n_train, n_test)
        Number of labels that the classifier of each fold was trained on, and of the others.

    prior : ndarray of shape (n_classes,)
        Shares of the classes among the labeled rows.

    Returns
    -------
    reliability : float in [0, 1]
        0 if the estimate is due to chance or equal to `prior`, 1 if all folds agree on it.

    References
    ----------
    .. [1] Shao, Wu (1989). A General Theory for Jackknife Variance Estimation, Annals of
       Statistics.
    .. [2] James, Stein (1961). Estimation with Quadratic Loss, Berkeley Symposium.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn.self_training._class_prior import class_prior_reliability
    >>> proba = np.repeat([[0.9, 0.1], [0.2, 0.8]], [90, 10], axis=0)
    >>> class_prior_reliability(proba, [proba, proba], [(5, 5), (5, 5)], np.array([0.5, 0.5]))
    1.0
    >>> class_prior_reliability(proba, [proba, 1 - proba], [(5, 5), (5, 5)], np.array([0.5, 0.5]))
    0.0
    """
    estimated = estimate_class_prior(proba, prior)
    distance = np.sum((estimated - prior) ** 2)
    if distance == 0:
        return 0.0
    variance = np.mean(
        [
            n_train / n_test * np.sum((estimate_class_prior(fold, prior) - estimated) ** 2)
            for fold, (n_train, n_test) in zip(fold_probas, sizes)
        ]
    )
    return float(max(0.0, 1 - variance / distance))


def adjust_to_class_prior(proba, prior, new_prior):
    """Adjust probabilities that are right under one class prior to another class prior."""
    # If no labeled row of a class has a positive weight, its probabilities cannot be adjusted.
    ratio = np.divide(new_prior, prior, out=np.zeros(len(prior)), where=prior > 0)
    return scaled_to_sum_1(proba * ratio, prior)
