"""Start from a calibrated offset and add what a meta-learner has learned."""

from functools import partial

import numpy as np

from .._utils.output_checks import OutputError
from .._utils.probabilities import error_logit, in_batches
from .._utils.weights import weights_or_ones
from ..meta_features._blocks import columns_of_fold
from ._offset import CalibratedOffset

# With fewer errors, or fewer correct rows, nothing can be learned from them.
_MIN_ERRORS = 5


class CorrectedOffset:
    """Log-odds of an error: a calibrated offset, and the correction of a meta-learner.

    The methods take `described`, a list of tuples of a fitted block and its columns for the rows.

    Attributes
    ----------
    meta_learner : fitted meta-learner or None
        None if nothing was learned.
    fallback_reason : str or None
        Reason why no meta-learner was fitted.
    meta_feature_names : list of str
        Columns that the meta-learner was fitted on.
    """

    def fit(self, training, described, learner, *, raw_input, weight, no_folds, kept):
        """Fit offset and meta-learner.

        Parameters
        ----------
        training : TrainingRows
        described : list of FittedBlock
        learner : meta-learner
        raw_input : bool
            Whether the meta-learner is fitted on X itself.
        weight : ndarray of shape (n_samples,) or None
            Weights of the rows; None means equal weights.
        no_folds : str or None
            Reason why the rows cannot be split into folds.
        kept : Kept
            Keeps the offset, which is the same for every meta-learner.

        Returns
        -------
        oof : ndarray of shape (n_samples,)
            Cross-fitted log-odds of an error.
        """
        rows, folds = training.observations, training.folds
        is_error, sample_weight = rows.is_error, weight
        weight = weights_or_ones(weight, len(is_error))
        terms = _offset_terms(rows, described)
        self._offset, self._raw_input = CalibratedOffset(), raw_input
        self.fallback_reason = self.meta_learner = None
        self.meta_feature_names = []
        reason = _why_nothing_is_learned(is_error, folds, no_folds)
        if reason is not None:
            oof = self._offset.fit_level(terms, is_error, weight)
            self.fallback_reason = _explain_fallback(reason, self._offset.used_terms, is_error)
            return oof
        fit_offset = partial(_fit_offset, terms, is_error, weight, folds)
        self._offset, offset = kept(fit_offset, "offset", terms, weight)
        if not described and not raw_input:
            return offset
        Z, Z_folds, is_for_trees = rows.X, None, None
        if not raw_input:
            Z = self._columns(rows, described)
            Z_folds = [columns_of_fold(described, number) for number in range(len(folds))]
            is_for_trees = [block.is_for_trees for block, *_ in described for _ in block.names_]
        try:
            self.meta_learner = learner.fit(
                Z,
                is_error,
                offset,
                folds=folds,
                Z_folds=Z_folds,
                groups=rows.relation,
                is_for_trees=is_for_trees,
                sample_weight=sample_weight,
                seed=training.seed,
            )
        except OutputError as error:
            self.fallback_reason = (
                f"The meta-learner gives no probabilities: {error} Nothing is learned, and the "
                f"error probability is the calibrated one of {self._offset.used_terms} alone."
            )
            return offset
        self.meta_feature_names = [name for block, *_ in described for name in block.names_]
        oof = self.meta_learner.oof_logit_
        # The out-of-fold error probabilities of the error model hold the same numbers.
        del self.meta_learner.oof_logit_
        return oof

    def predict(self, rows, described):
        """Return the log-odds of an error of new rows."""
        logit = self._offset.predict(_offset_terms(rows, described))
        if self.meta_learner is None:
            return logit
        return self.meta_learner.decision_function(self._columns(rows, described), logit)

    def contributions(self, rows, described, representation):
        """Split the log-odds of new rows into contributions.

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_contributions)
        names : list of str
            Distinct: the one-hot columns of a category, and of the predicted class, are one
            contribution.
        base_value : float
        """
        parts, base_value = self._offset.contributions(_offset_terms(rows, described))
        if self.meta_learner is not None:
            corrections, constant = self.meta_learner.contributions(self._columns(rows, described))
            parts.append(corrections)
            base_value += constant
        names = self.contribution_names([block for block, _ in described], rows.X, representation)
        unique = list(dict.fromkeys(names))
        together = np.zeros((len(names), len(unique)))
        together[np.arange(len(names)), [unique.index(name) for name in names]] = 1
        return np.column_stack(parts) @ together, unique, float(base_value)

    def contribution_names(self, blocks, X, representation):
        """Return the names of the contributions; they may repeat."""
        names = self._offset.contribution_names
        if self.meta_learner is not None:
            for block in blocks:
                names += block.readable_names(X, representation)
        return names

    def _columns(self, rows, described):
        if self._raw_input:
            return rows.X
        return np.column_stack([columns for _, columns, *_ in described])


def _fit_offset(terms, is_error, weight, folds):
    """Return a fitted offset, and the cross-fitted log-odds of the training rows."""
    offset = CalibratedOffset()
    oof = offset.fit(terms, is_error, weight, folds)
    return offset, oof


def _offset_terms(rows, described):
    """Return log-odds of an error by name, which the offset averages."""
    terms = {"confidence": in_batches(error_logit, rows.proba, rows.pred_encoded)}
    for block, columns, *_ in described:
        terms.update(block.offset_terms(columns))
    return terms


def _why_nothing_is_learned(is_error, folds, no_folds):
    """Return the reason why no meta-learner can be fitted, or None.

    `no_folds` is the reason why the rows cannot be split into folds, or None.
    """
    if no_folds is not None:
        return no_folds
    n_errors = int(is_error.sum())
    n_rare = min(n_errors, len(is_error) - n_errors)
    rare = "errors" if n_errors == n_rare else "correct predictions"
    if n_rare < _MIN_ERRORS:
        return (
            f"{n_rare} {rare} among {len(is_error)} rows, fewer than the {_MIN_ERRORS} that a "
            "meta-learner needs"
        )
    if any(np.ptp(is_error[train].astype(int)) == 0 for train, _ in folds):
        return (
            f"The {n_rare} {rare} are related (groups, duplicates of a row), so that none is left "
            "for training when the others are tested"
        )
    return None


def _explain_fallback(reason, known, is_error):
    """Return why nothing is learned, and what the error probability is instead.

    Parameters
    ----------
    reason : str
        Result of `_why_nothing_is_learned`.
    known : str
        Names of the terms of the offset.
    is_error : ndarray of bool, shape (n_samples,)
        True where the prediction is wrong.

    Returns
    -------
    reason : str
    """
    reason += (
        f": nothing is learned, and the error probability is that of {known} alone, set to the "
        "level of the error rate."
    )
    if not is_error.any():
        reason += " If these rows trained the classifier, give rows that are new to it."
    return reason
