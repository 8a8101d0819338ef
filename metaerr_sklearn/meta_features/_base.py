"""Base class of the blocks of meta-features, and the rows that blocks are fitted on."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from .._base_estimator.caching import Recent
from .._base_estimator.observations import Observations


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows that blocks are fitted on, and the folds in which the meta-learner is cross-fitted.

    ``reference`` holds the positions of the rows on which auxiliary models are trained and among
    which neighbours are searched: all rows except those of a rare outcome that were added to the
    sample. ``folds`` holds (train, test) positions; None if nothing is learned from the rows.
    ``part`` holds the number of the part of each row: a fold tests one or more parts.
    ``is_related`` is True if rows are related. A related row can reveal the label of a row, so a
    row is then described by models of other folds only. ``is_image`` is True if the representation
    holds principal components of images, ``is_hidden_layer`` if it is a hidden layer of the base.
    """

    observations: Observations
    reference: np.ndarray
    folds: list = None
    part: np.ndarray = None
    is_related: bool = False
    seed: int = 0
    n_jobs: int = None
    is_image: bool = False
    is_hidden_layer: bool = False

    def __len__(self):
        return len(self.observations)

    def fold_of_rows(self):
        """Return the number of the fold that tests each row; -1 without folds."""
        fold = np.full(len(self), -1)
        for number, (_, test) in enumerate(self.folds or ()):
            fold[test] = number
        return fold


class Block:
    """Describe each prediction by some columns of meta-features.

    A subclass has ``fit_transform(training)`` for training rows, which sets ``names_``, and
    ``transform(observations)`` for new rows; both return an array of shape (n_samples, n_columns).
    ``fit_transform`` must not use the label of a row to describe this row. A subclass overrides the
    attributes and methods below if their defaults do not hold for it.
    """

    #: Name by which users choose the block; None for blocks that users define.
    name = None
    #: Whether the block uses ``observations.representation``.
    needs_representation = False
    #: Whether the block uses ``observations.X`` of new rows.
    needs_inputs = False
    #: Whether only tree learners can use the columns.
    is_for_trees = False
    #: Whether the columns are computed from the base itself, which may take further passes of it.
    observes_base = False
    #: Whether the fitted block and its columns are kept in the cache, if there is one. The columns
    #: of new rows must depend on their representation and their predicted classes alone.
    is_costly = False
    #: Whether the columns of one net cannot be compared with those of another clone of the net.
    is_specific_to_net = False
    #: Key under which the fitted block is kept in the cache; None if it is not kept.
    key = None

    def describe(self, observations):
        """Return what `transform` returns; recent results of a block with a key are held."""
        depends_on = observations.representation, observations.pred_encoded
        return _RECENT(partial(self.transform, observations), self.key, *depends_on)

    def transform_fold(self, features, number):
        """Describe the training rows for a fold in which the meta-learner is trained and tested.

        A block whose columns hold labels of other rows must leave out the rows that the fold tests.
        By default, the columns stay the same.

        Parameters
        ----------
        features : ndarray of shape (n_samples, n_columns)
            Result of ``fit_transform``.
        number : int
            Position of the fold in ``training.folds``.

        Returns
        -------
        features : ndarray of shape (n_samples, n_columns)
        """
        return features

    def offset_terms(self, features):
        """Return log-odds of an error by name, which the offset averages; none by default."""
        return {}

    def log_distance(self, features):
        """Return the log-distance of each training row to the others, or None."""
        return None

    def log_distance_of(self, matrix):
        """Return the log-distance of new rows, given as numbers, to the training rows, or None."""
        return None

    def readable_names(self, X, representation):
        """Return one name for each column; columns of equal names are one contribution.

        Parameters
        ----------
        X : any
            Rows that are explained.
        representation : fitted transformer or None
            Represents X as numbers.

        Returns
        -------
        names : list of str
        """
        return [f"{self.name}: {column}" if self.name else column for column in self.names_]

    def drop_training_state(self):
        """Delete data that only training rows need; by default there are none."""


#: Columns of the rows that this process described last.
_RECENT = Recent()
