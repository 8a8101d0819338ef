"""Fit further clones of the base beside a fitted one, with other seeds."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone

from .._utils.failures import noted
from .._utils.messages import warn_caller
from .._utils.random import random_state_params
from .._utils.rows import evenly_spaced
from .adapter import adapt
from .caching import cached
from .failed_folds import MAX_SHOWN_ROWS, is_worse
from .fitting import fit_base
from .fresh_nets import own_checkpoints


@dataclass(frozen=True, eq=False)
class FurtherFits:
    """Fit further clones of the base on the rows that one of its clones was trained on.

    Parameters
    ----------
    estimator : estimator
        The unfitted base.
    fitted : fitted estimator
        Its clone.
    X, y : array-likes of length n_samples
        Training rows and labels of this clone.
    classes : ndarray of shape (n_classes,)
        Sorted labels of all classes; y may lack some of them.
    fit_params : dict
        Arguments of ``fit``. Those with one entry per row have the entries of these rows only.
    seed : int or None
        Seed of this clone, see `fit_base`.
    memory : joblib.Memory or None
        Caches each fit.
    """

    estimator: object
    fitted: object
    X: object
    y: np.ndarray
    classes: np.ndarray
    fit_params: dict
    seed: int
    memory: object

    def __call__(self, seed):
        """Return a further clone, trained with another seed than the fitted one.

        A training has failed if the clone is nearer to always predicting the most frequent class
        than to the fitted base: a net may stay there. It is then trained once more.

        Parameters
        ----------
        seed : int, at least 0
            Another number gives another clone.

        Returns
        -------
        estimator : fitted estimator
        """
        for attempt in range(2):
            further = self._fit(seed, attempt)
            if not self._has_failed(further):
                return further
        warn_caller(
            f"A further fit of {type(self.estimator).__name__} failed twice: on rows that it was "
            "trained on, it is nearer to always predicting the most frequent class than to the "
            "base. Its predictions make the error probabilities worse. Train the base longer, or "
            "leave further fits (OtherFits) out of meta_features."
        )
        return further

    def _fit(self, seed, attempt):
        estimator = clone(self.estimator)
        # Seeds that the user has set would give the fitted base once more.
        estimator.set_params(**dict.fromkeys(random_state_params(estimator)))
        entropy = [seed, attempt] if self.seed is None else [seed, attempt, self.seed]
        with noted("fitting the base once more, with another seed"):
            return cached(fit_base, self.memory)(
                estimator,
                adapt(self.estimator).own_copy(self.X),
                self.y,
                classes=self.classes,
                fit_params=self.fit_params,
                seed=int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1),
                context=own_checkpoints,
            )

    def _has_failed(self, further):
        rows = evenly_spaced(np.arange(len(self.y)), MAX_SHOWN_ROWS)
        X, y = adapt(self.fitted).take_rows(self.X, rows), self.y[rows]
        labels, counts = np.unique(y, return_counts=True)
        own, other, majority = (
            y != predicted
            for predicted in (
                np.asarray(adapt(self.fitted).predict(X, self.classes)),
                np.asarray(adapt(further).predict(X, self.classes)),
                labels[counts.argmax()],
            )
        )
        halfway = (majority.mean() - own.mean()) / 2
        return halfway > 0 and is_worse(other, own, halfway)


def fit_observers_beside(observers, fits):
    """Return the observers; those with ``fit_beside(fit)`` are fitted beside a clone of the base.

    Parameters
    ----------
    observers : sequence of objects with ``observe(estimator, X)``
        Not modified: ``fit_beside`` is called on copies.
    fits : FurtherFits
        Passed to ``fit_beside``.

    Returns
    -------
    observers : list
    """
    fitted = []
    for observer in observers:
        if hasattr(observer, "fit_beside"):
            name = type(observer).__name__
            observer = clone(observer, safe=False).fit_beside(fits)
            if not hasattr(observer, "observe"):
                raise TypeError(
                    f"fit_beside of {name} must return an object with observe(estimator, X), got "
                    f"{observer!r}. Return self."
                )
        fitted.append(observer)
    return fitted
