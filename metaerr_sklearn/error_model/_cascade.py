"""Compute observers only for the rows whose error probability is high without them."""

import numpy as np
from scipy.special import expit

from ._correction import CorrectedOffset


class Cascade:
    """Error probabilities by all blocks, or without observers for rows that are hardly wrong.

    Parameters
    ----------
    observed_share : float in (0, 1]
        Share of rows for which observers are computed. With 1, or without observers, there is one
        model for all rows.

    Attributes
    ----------
    full : CorrectedOffset
        Uses all blocks.
    first : CorrectedOffset or None
        Uses the blocks that are no observers. None if all rows are observed.
    threshold : float or None
        Error probability by `first` from which a row is observed.
    """

    def __init__(self, observed_share):
        self.observed_share = observed_share

    def fit(self, training, described, make_learner, **options):
        """Fit the models on the same rows.

        Parameters
        ----------
        training : TrainingRows
        described : list of FittedBlock
            With the columns of all training rows, observers included.
        make_learner : callable
            Makes an unfitted meta-learner.
        **options : dict
            Passed to `CorrectedOffset.fit`.

        Returns
        -------
        oof : ndarray of shape (n_samples,)
            Cross-fitted log-odds of an error, of each row by the model that new rows like it get.
        """
        self.first = self.threshold = None
        self.full = CorrectedOffset()
        oof = self.full.fit(training, described, make_learner(), **options)
        unobserved = [fitted for fitted in described if not fitted.block.observes_base]
        if self.observed_share < 1 and len(unobserved) < len(described):
            self.first = CorrectedOffset()
            first = self.first.fit(training, unobserved, make_learner(), **options)
            # Rows of a rare outcome that were added to the sample are left out of the share.
            sampled = expit(first)[training.reference]
            self.threshold = float(np.quantile(sampled, 1 - self.observed_share, method="higher"))
            oof = np.where(expit(first) >= self.threshold, oof, first)
        return oof

    def predict(self, rows, blocks):
        """Return the error probabilities of new rows.

        Parameters
        ----------
        rows : Observations
            With their representation, if a block needs it.
        blocks : list of Block
            Fitted, as in `fit`.

        Returns
        -------
        error_proba : ndarray of shape (n_samples,)
        """
        described = self._describe(rows, blocks)
        if self.first is None:
            return expit(self.full.predict(rows, described))
        error_proba = expit(self.first.predict(rows, described))
        chosen = np.flatnonzero(error_proba >= self.threshold)
        if len(chosen):
            observed = self._observe(rows, chosen, blocks, described)
            error_proba[chosen] = expit(self.full.predict(*observed))
        return error_proba

    def contributions(self, rows, blocks, representation):
        """Split the log-odds of new rows into contributions; see `CorrectedOffset.contributions`.

        The base value is that of the first model. Observed rows have a contribution for the
        difference to the base value of the full model.
        """
        described = self._describe(rows, blocks)
        if self.first is None:
            return self.full.contributions(rows, described, representation)
        first, first_names, base_value = self.first.contributions(rows, described, representation)
        names = self.full.contribution_names(blocks, rows.X, representation)
        names = list(dict.fromkeys([*names, *first_names, "offset: row is observed"]))
        contributions = np.zeros((len(rows), len(names)))
        contributions[:, [names.index(name) for name in first_names]] = first
        chosen = np.flatnonzero(expit(self.first.predict(rows, described)) >= self.threshold)
        if len(chosen):
            observed = self._observe(rows, chosen, blocks, described)
            part, part_names, part_base = self.full.contributions(*observed, representation)
            contributions[chosen] = 0
            contributions[np.ix_(chosen, [names.index(name) for name in part_names])] = part
            contributions[chosen, -1] = part_base - base_value
        return contributions, names, base_value

    def _describe(self, rows, blocks):
        """Return the blocks that are used for all rows, and their columns."""
        return [
            (block, block.describe(rows))
            for block in blocks
            if self.first is None or not block.observes_base
        ]

    def _observe(self, rows, chosen, blocks, described):
        """Return the chosen rows, and all blocks with the columns of these rows."""
        observed, known = rows.take(chosen), iter(described)
        return observed, [
            (block, block.transform(observed) if block.observes_base else next(known)[1][chosen])
            for block in blocks
        ]
