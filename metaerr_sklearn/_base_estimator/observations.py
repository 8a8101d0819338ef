"""Hold rows, the predictions of the base for them and, in training, labels and errors."""

from dataclasses import dataclass, fields, replace

import numpy as np

from .._utils.rows import row_chunks, take_rows


@dataclass(frozen=True, eq=False)
class Observations:
    """Rows, the predictions of the base for them and, in training, labels, errors and weights.

    All arrays have one entry per row. An array is None if it is not available: new rows have
    predictions, but no labels.

    Parameters
    ----------
    X : any, of length n_samples, or None
        Inputs of the predictions.

    proba : ndarray of shape (n_samples, n_classes)
        Class probabilities.

    pred_encoded : ndarray of int, shape (n_samples,)
        Position of the predicted class among the columns of `proba`; -1 for any other label.

    y_encoded : ndarray of int, shape (n_samples,), default=None
        Position of the class label; -1 for a label without a column.

    is_error : ndarray of bool, shape (n_samples,), default=None
        True where the prediction is wrong.

    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.

    groups : ndarray of shape (n_samples,), default=None
        Rows of one group are related: they stay together in every split.

    duplicate_id : ndarray of int, shape (n_samples,), default=None
        Equal numbers mark rows that are duplicates of each other.

    fold : ndarray of int, shape (n_samples,), default=None
        Number of the fold whose clone of the base predicted the row. -1 if no clone predicted it:
        its prediction and error are then placeholders. None if a single classifier predicted all
        rows and was trained on none of them.

    observed : tuple of ndarray of shape (n_samples, n_features), default=None
        Meta-features that each observer computed from the clone that predicted the row.

    embedding : ndarray of shape (n_samples, n_units), default=None
        Values of the net's hidden layer, recorded while it predicted.

    representation : ndarray of shape (n_samples, n_columns), default=None
        X as numbers; see `fit_representation`.
    """

    X: object
    proba: np.ndarray
    pred_encoded: np.ndarray
    y_encoded: np.ndarray = None
    is_error: np.ndarray = None
    sample_weight: np.ndarray = None
    groups: np.ndarray = None
    duplicate_id: np.ndarray = None
    fold: np.ndarray = None
    observed: tuple = None
    embedding: np.ndarray = None
    representation: np.ndarray = None

    def __len__(self):
        return len(self.proba)

    @property
    def relation(self):
        """Equal values mark related rows: groups, else duplicates; None without these."""
        return self.duplicate_id if self.groups is None else self.groups

    @property
    def is_argmax(self):
        """True where no class is more probable than the predicted one."""
        row = np.arange(len(self))
        proba_pred = np.where(self.pred_encoded < 0, -1, self.proba[row, self.pred_encoded])
        return proba_pred >= self.proba.max(axis=1)

    def take(self, rows):
        """Return the observations of some rows, given as positions, mask or slice."""
        arrays = {
            field.name: _take(getattr(self, field.name), rows)
            for field in fields(self)
            if field.name != "X"
        }
        return Observations(None if self.X is None else take_rows(self.X, rows), **arrays)

    def without_inputs(self):
        """Return the observations without X and hidden layer, which may need much memory."""
        return replace(self, X=None, embedding=None)

    def chunks(self, max_rows, rows=None):
        """Yield the observations of all or some rows in chunks that fit into the working memory.

        Parameters
        ----------
        max_rows : int
            Largest number of rows in a chunk.
        rows : ndarray of int, default=None
            Positions of the rows; None means all rows.

        Yields
        ------
        observations : Observations
        """
        arrays, n_rows = replace(self, X=None), len(self) if rows is None else len(rows)
        for batch, X in row_chunks(self.X, n_rows, rows=rows, max_rows=max_rows):
            yield replace(arrays.take(batch if rows is None else rows[batch]), X=X)


@dataclass(frozen=True, eq=False)
class DeployedBase:
    """The fitted base whose errors an error model predicts, and its observers.

    Parameters
    ----------
    estimator : fitted classifier, default=None
        The base. None if the error model gets its predictions alone.

    observers : list of objects with ``observe(estimator, X)``, default=()
        They compute meta-features of new rows from the base.

    made_predictions : bool, default=False
        Whether the base itself made the predictions that the error model is fitted on, and no
        clones of it.
    """

    estimator: object = None
    observers: list = ()
    made_predictions: bool = False


def _take(value, rows):
    if isinstance(value, tuple):
        return tuple(part[rows] for part in value)
    return None if value is None else value[rows]
