"""Describe a prediction by what an observer computes from the base."""

from sklearn.base import clone

from .._base_estimator.prediction import observe


class ObserverBlock:
    """Ask the base itself: what an observer hears from the clone that has not seen the row."""

    def __init__(self, observer, number, base):
        self.observer = clone(observer, safe=False)
        self.number = number
        self.base = base

    def fit_transform(self, rows, seed):
        """Name the columns of what the clones said of the rows that they had not seen."""
        features = rows.observed[self.number]
        self.names_ = [f"asked{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def transform(self, rows):
        """Ask the deployed base about new rows."""
        if rows.observed is not None:
            return rows.observed[self.number]
        return observe(self.base, rows.X, [self.observer])[0]


def is_observer(block):
    """Tell whether a block asks the base itself."""
    return hasattr(block, "observe")
