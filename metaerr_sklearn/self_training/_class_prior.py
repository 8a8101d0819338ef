"""Estimate class frequencies and adjust probabilities to them."""

import numpy as np


def estimate_class_prior(proba, prior, *, n_steps=5):
    """Estimate the class shares of rows from their class probabilities.

    Rows labeled class by class do not tell how frequent the classes are. Expectation maximisation
    [1]_ climbs to the shares under which the rows are most likely, starting at those of the labels.
    It is stopped after a few steps: where the classes lie apart it has arrived by then, where they
    overlap it has hardly left, and what it would still find are the mistakes of the probabilities.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities that are right for `shares`.

    shares : ndarray of shape (n_classes,)
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
    """Tell how far estimated class shares would come out again with other labels (the jackknife).

    Each fold's classifier has learned from other labels than the next. The variance of the shares
    that they estimate, scaled up to that of independent samples [1]_, is set against how far the
    estimate is from the shares of the labels: 1 - variance / distance², as in the estimator of
    James and Stein [2]_.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities of rows from the classifier trained on all labels.

    fold_probas : iterable of ndarray of shape (n_samples, n_classes)
        Probabilities of the same rows from the classifier of each fold.

    sizes : list of (n_train, n_test)
        Labels that each fold's classifier has learned from, and has not.

    shares : ndarray of shape (n_classes,)
        Shares of the classes among the labeled rows.

    Returns
    -------
    reliability : float in [0, 1]
        0 where the estimate is all chance or tells nothing beyond `shares`, 1 where every fold
        finds the same.

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
    """Return probabilities that were right for some class shares made right for others."""
    # A class without a labeled row of positive weight has no probabilities to adapt.
    ratio = np.divide(new_prior, prior, out=np.zeros(len(prior)), where=prior > 0)
    adapted = proba * ratio
    total = adapted.sum(axis=1, keepdims=True)
    return np.where(total > 0, adapted / np.where(total > 0, total, 1), prior)
