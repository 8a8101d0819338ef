"""Measure how unlike the training rows new rows are."""

from functools import partial

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._compat import num_samples
from .._utils import limits
from .._utils.indexable import indexable
from .._utils.rows import read_once, row_chunks, rows_at_once, take_rows
from .._utils.threads import run_in_threads
from ..representation._choice import represent
from ..representation._numeric import NumericRepresentation, UnsupportedInputError, is_projected

#: A row is novel if its novelty is above this share of training rows.
NOVEL = 0.99


class PredictsNovelty:
    """Methods of a fitted `ErrorModel` that compare rows with its training rows.

    They read `representation_`, `representation_reason_`, `n_jobs` and the blocks.
    """

    def predict_novelty(self, X):
        """Measure how unlike the training rows each row is.

        Parameters
        ----------
        X : any, of length n_samples
            As in `fit`.

        Returns
        -------
        novelty : ndarray of shape (n_samples,), in [0, 1]
            Share of training rows that are less unlike the others than this row. About 1 % of the
            rows that come from the same source as the training rows are above 0.99. **Above 0.99,
            the row is unlike the training rows, and its error probability cannot be trusted.**

        Raises
        ------
        ValueError
            If the model was fitted without the meta-features "neighbors".

        Notes
        -----
        The first measure is the mean distance to the ten nearest training rows in the
        representation. Images, texts, sparse rows and arrays of more than 200 columns have two
        more: the distance between the row and its projection on principal components, and the
        distance of the projection from its centre. They are known as the Q and T2 statistics
        [1]_. A hidden layer and a projection ignore directions in which the training rows do not
        vary; Q measures these. A value of Q or T2 can be too small, as for a blank image. The
        components are fitted on one half of at most 2,000 training rows and the other half is
        compared, so that new rows of the same source are exchangeable with it [2]_. The measures
        are compared in logarithms, each in units of its spread, and the most extreme one counts.

        References
        ----------
        .. [1] Jackson, Mudholkar (1979). Control Procedures for Residuals Associated with Principal
           Component Analysis, Technometrics.
        .. [2] Bates, Candès, Lei, Romano, Sesia (2023). Testing for Outliers with Conformal
           P-Values, Annals of Statistics.
        """
        check_is_fitted(self)
        if self._novelty is None:
            reason = self.representation_reason_ or "the model has no meta-features of neighbours"
            raise ValueError(
                f"predict_novelty needs distances between rows, but {reason}. Fit with "
                'meta_features="auto" or a list with "neighbors", on X that has a representation.'
            )
        (X,) = indexable(X)
        return self.novelty_of(X)

    def novelty_of(self, X, representation=None):
        """Measure the novelty of checked rows; NaN if it was not learned.

        Parameters
        ----------
        X : any, of length n_samples
            Rows.

        representation : ndarray of shape (n_samples, n_columns), default=None
            X as numbers, if they are already computed.

        Returns
        -------
        novelty : ndarray of shape (n_samples,)
        """
        n_samples = num_samples(X)
        if self._novelty is None:
            return np.full(n_samples, np.nan)

        def measure(batch, part):
            if representation is None:
                part = read_once(part)  # a projection takes the rows once more
                matrix = represent(self.representation_, part)
            else:
                matrix = representation[batch]
            distances = (block.log_distance_of(matrix) for block in self._blocks)
            return self._novelty.predict(part, next(d for d in distances if d is not None))

        chunks = row_chunks(X, max_rows=limits.ERROR_MODEL_CHUNK)
        parts = run_in_threads(self.n_jobs, (partial(measure, *chunk) for chunk in chunks))
        return np.concatenate(parts) if parts else np.empty(0)

    @property
    def n_novelty_rows(self):
        """Number of training rows among which new rows are ranked."""
        return 0 if self._novelty is None else len(self._novelty.known)

    def _fit_novelty(self, training, fitted, X, rows, kept):
        """Return the fitted `Novelty`, or None if no block computes distances.

        `rows` holds the positions in X of the training rows; None means all.
        """
        for block, columns, _ in fitted:
            distance = block.log_distance(columns)
            if distance is not None:
                chosen = training.reference
                positions = chosen if rows is None else rows[chosen]
                relation = training.observations.relation
                relation = None if relation is None else relation[chosen]
                known = positions, distance[chosen], relation, training.seed
                return kept(partial(Novelty().fit, X, *known), "novelty", *known)
        return None


class Novelty:
    """Rank rows among training rows by the most extreme of several measures."""

    _max_rows = 2_000
    # Components of too few rows would describe these rows only.
    _rows_per_component = 5

    def fit(self, X, rows, log_distance, relation, seed):
        """Fit on the training rows at the positions `rows`, whose log-distances are known.

        Rows of equal `relation` stay in one half: new rows are related to no row.
        """
        relation = np.arange(len(rows)) if relation is None else relation
        _, relation = np.unique(relation, return_inverse=True)
        place = np.random.default_rng(seed).permutation(relation.max() + 1)[relation]
        order = np.argsort(place, kind="stable")[: self._max_rows]
        place = place[order]
        half = np.searchsorted(place, place[len(order) // 2])
        self._projection = None
        if half >= self._rows_per_component and is_projected(X):
            fitted = order[: min(half, rows_at_once(X, bytes_per_cell=16))]
            n_components = min(40, len(fitted) // self._rows_per_component)
            projection = NumericRepresentation(max(n_components, 1), random_state=seed)
            try:
                self._projection = projection.fit(take_rows(X, np.sort(rows[fitted])))
                order = order[half:]
            except UnsupportedInputError:  # for example texts without words
                pass
        order = np.sort(order)
        parts = row_chunks(X, rows=rows[order], max_rows=limits.ERROR_MODEL_CHUNK)
        if self._projection is None:
            parts = [(slice(None), None)]
        measures = [self._measure(part, log_distance[order][batch]) for batch, part in parts]
        measures = np.concatenate(measures)
        low, self._median, high = np.quantile(measures, [0.1, 0.5, 0.9], axis=0)
        # Constant measures, for example of equal texts, have no deviation.
        self._deviation = np.maximum([self._median - low, high - self._median], 1e-3)
        self.known = np.sort(self._join(measures))
        return self

    def predict(self, X, log_distance):
        """Return the novelty of new rows with these log-distances."""
        joined = self._join(self._measure(X, log_distance))
        return np.searchsorted(self.known, joined, side="left") / len(self.known)

    def _measure(self, X, log_distance):
        """Return one column for each measure, in logarithms."""
        if self._projection is None:
            return log_distance[:, None]
        distances = np.maximum(self._projection.projection_distances(X), 1e-12)
        return np.column_stack([log_distance, np.log(distances)])

    def _join(self, measures):
        """Return the largest deviation from the median, on the scale of each measure.

        The largest of ranks would make too many rows novel if there are few training rows: each
        measure has a largest training value, and new rows exceed one of several more easily.
        """
        difference = measures - self._median
        below, above = self._deviation
        deviation = np.where(difference < 0, -difference / below, difference / above)
        # A row may not be too near to the training rows. But a blank image has a smaller distance
        # to its projection, and is nearer to the centre, than any image with content.
        deviation[:, 0] = difference[:, 0] / above[0]
        return deviation.max(axis=1)
