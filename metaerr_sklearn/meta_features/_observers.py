"""Describe a prediction by what an observer computes from the base."""

from sklearn.base import clone

from .._base_estimator.prediction import observe
from ._base import Block


def is_observer(block):
    """Return whether a block computes meta-features from the base itself."""
    return hasattr(block, "observe")


class ObserverBlock(Block):
    """Return the meta-features of an observer, an object with ``observe(estimator, X)``.

    Training rows are described by the clone that was not trained on them, while it is
    cross-fitted; new rows by the deployed base.

    Parameters
    ----------
    observer : object
        Cloned if it can be cloned.
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
        """Name the columns and return what was observed of the training rows."""
        features = training.observations.observed[self.number]
        self.names_ = [f"observer{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def transform(self, observations):
        """Return what was observed of training rows; observe the deployed base for new rows."""
        if observations.observed is not None:
            return observations.observed[self.number]
        return observe(self.estimator, observations.X, [self.observer])[0]
