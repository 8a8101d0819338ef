"""Describe a prediction by meta-features that an observer computes from the base."""

from sklearn.base import clone

from .._base_estimator.prediction import observe
from ._base import Block


def is_observer(block):
    """Return whether a block computes meta-features from the base itself."""
    return hasattr(block, "observe")


class ObserverBlock(Block):
    """Return the meta-features of an observer, an object with ``observe(estimator, X)``.

    For a training row, the meta-features are computed in cross-fitting, from the clone that was not
    trained on this row. For a new row, they are computed from the deployed base.

    Parameters
    ----------
    observer : object
        A copy is used: a clone of an estimator, a deep copy of any other object.
    number : int
        Position among the observers, for the names of the columns.
    estimator : fitted classifier
        The deployed base.
    """

    needs_inputs = True

    def __init__(self, observer, number, estimator):
        self.observer = clone(observer, safe=False)
        self.number = number
        self.estimator = estimator

    def fit_transform(self, training):
        """Name the columns and return the meta-features that cross-fitting computed."""
        features = training.observations.observed[self.number]
        self.names_ = [f"observer{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def transform(self, observations):
        """Return the meta-features of cross-fitting, or compute those of new rows."""
        if observations.observed is not None:
            return observations.observed[self.number]
        return observe(self.estimator, observations.X, [self.observer])[0]
