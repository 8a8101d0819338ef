"""Describe a prediction by meta-features that an observer computes from the base."""

import numpy as np

from .._base_estimator.prediction import observe
from .._utils.probabilities import soft_clip
from ._base import Block


def is_observer(block):
    """Return whether a block computes meta-features from the base itself."""
    return hasattr(block, "observe")


def own_names(source, n_columns):
    """Return the names that an object of the user gives to its columns, or None."""
    if not hasattr(source, "get_feature_names_out"):
        return None
    names = [str(name) for name in source.get_feature_names_out()]
    return names if len(names) == n_columns else None


class ObserverBlock(Block):
    """Return the meta-features of an observer, an object with ``observe(estimator, X)``.

    For a training row, the meta-features are computed in cross-fitting, from the clone that was not
    trained on this row. For a new row, they are computed from the deployed base.

    An observer may have the attribute ``votes = True``. Its first column is then the log-odds that
    the prediction is right, and becomes a term of the offset.

    Parameters
    ----------
    observer : object
        The observer of the deployed base.
    number : int
        Position among the observers, for the names of the columns.
    estimator : fitted classifier
        The deployed base.
    has_namesake : bool, default=False
        Whether another observer has the same class.
    """

    needs_inputs = True
    observes_base = True

    def __init__(self, observer, number, estimator, has_namesake=False):
        self.observer = observer
        self.number = number
        self.estimator = estimator
        self.has_namesake = has_namesake

    def fit_transform(self, training):
        """Name the columns and return the meta-features that cross-fitting computed."""
        features = self._with_vote(training.observations.observed[self.number])
        if hasattr(self.observer, "check_columns"):
            self.observer.check_columns(features)
        self.names_ = [f"observer{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def offset_terms(self, features):
        """Return the log-odds that the observer gives to an error, if it votes."""
        return {f"vote of {self._label}": -features[:, 0]} if self._votes else {}

    def readable_names(self, X, representation):
        """Return the class of the observer and its own name of each column, or the number.

        An observer may name its columns by ``get_feature_names_out()``, as transformers do.
        """
        n_columns = len(self.names_)
        names = own_names(self.observer, n_columns) or range(n_columns)
        return [f"{self._label}: {name}" for name in names]

    def transform(self, observations):
        """Return the meta-features of cross-fitting, or compute those of new rows."""
        if observations.observed is not None:
            return self._with_vote(observations.observed[self.number])
        return self._with_vote(observe(self.estimator, observations.X, [self.observer])[0])

    @property
    def _label(self):
        # Another observer of the same class needs another name.
        return type(self.observer).__name__ + f" {self.number + 1}" * self.has_namesake

    @property
    def _votes(self):
        return getattr(self.observer, "votes", False)

    def _with_vote(self, features):
        """Return the meta-features; extreme values of a vote are compressed."""
        if not self._votes:
            return features
        if not features.shape[1] or np.isnan(features[:, 0]).any():
            raise ValueError(
                f"{self._label} has votes=True: the first column of observe must hold a number for "
                "each row, the log-odds that the prediction is right, got "
                f"{'NaN' if features.shape[1] else 'no column'}. Return 0 for a row without an "
                "opinion, or leave out the attribute votes."
            )
        return np.column_stack([soft_clip(features[:, 0]), features[:, 1:]])
