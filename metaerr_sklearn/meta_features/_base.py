"""What every block of meta-features declares and does."""

from typing import NamedTuple

import numpy as np

from .._base_estimator.observations import Observations


class TrainingRows(NamedTuple):
    """Rows that blocks are fitted on, and how they may be used.

    ``folds`` holds (train, test) positions if rows are related: then leaving out one row does not
    hide its label. ``reference`` holds the positions of the rows that models and neighbours are
    made of: all rows but some errors that were added because errors are rare. ``is_image`` says
    whether the representation holds principal components of images.
    """

    observations: Observations
    reference: np.ndarray
    folds: list = None
    seed: int = 0
    n_jobs: int = None
    is_image: bool = False

    def __len__(self):
        return len(self.observations)


class Block:
    """Describe each prediction by some columns of meta-features.

    A subclass has ``fit_transform(training)`` for training rows, which sets ``names_``, and
    ``transform(observations)`` for new rows; both return an array of shape (n_samples, n_columns).
    ``fit_transform`` must not use a row's own label to describe it. The attributes and methods
    below declare what the block needs and gives.
    """

    #: Whether the block uses ``observations.representation``.
    needs_representation = False
    #: Whether the block uses ``observations.X`` of new rows.
    needs_inputs = False
    #: Whether only tree learners can use the columns.
    is_for_trees = False
    #: Whether the columns hold only for the very clone that made the predictions, if it is a net.
    is_specific_to_net = False

    def offset_terms(self, features):
        """Return log-odds of an error by name, which the offset averages; none by default."""
        return {}

    def log_distance(self, features):
        """Return the log-distance to the training rows, from which novelty is found, or None."""
        return None

    def readable_names(self, X, representation):
        """Return one name for each column; columns of one name are one contribution.

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
        return list(self.names_)

    def drop_training_state(self):
        """Delete what only the description of training rows needs; nothing by default."""
