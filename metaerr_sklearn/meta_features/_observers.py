"""Describe a prediction by meta-features that an observer computes from the base."""

from sklearn.base import clone

from .._base_estimator.prediction import observe
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

    Parameters
    ----------
    observer : object
        A copy is used: a clone of an estimator, a deep copy of any other object.
    number : int
        Position among the observers, for the names of the columns.
    estimator : fitted classifier
        The deployed base.
    has_namesake : bool, default=False
        Whether another observer has the same class.
    """

    needs_inputs = True

    def __init__(self, observer, number, estimator, has_namesake=False):
        self.observer = clone(observer, safe=False)
        self.number = number
        self.estimator = estimator
        self.has_namesake = has_namesake

    def fit_transform(self, training):
        """Name the columns and return the meta-features that cross-fitting computed."""
        features = training.observations.observed[self.number]
        self.names_ = [f"observer{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def readable_names(self, X, representation):
        """Return the class of the observer and its own name of each column, or the number.

        An observer may name its columns by ``get_feature_names_out()``, as transformers do.
        """
        n_columns = len(self.names_)
        names = own_names(self.observer, n_columns) or range(n_columns)
        # Another observer of the same class needs another name.
        number = f" {self.number + 1}" if self.has_namesake else ""
        return [f"{type(self.observer).__name__}{number}: {name}" for name in names]

    def transform(self, observations):
        """Return the meta-features of cross-fitting, or compute those of new rows."""
        if observations.observed is not None:
            return observations.observed[self.number]
        return observe(self.estimator, observations.X, [self.observer])[0]
