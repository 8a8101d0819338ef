"""Outputs about the errors of the base: probabilities, expected accuracy, explanations."""

from functools import partial

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._base_estimator.observations import Observations
from .._base_estimator.prediction import predict_base
from .._utils.indexable import indexable
from .._utils.parameter_checks import check_fraction
from .._utils.probabilities import proba_of_other_classes
from .._utils.rows import is_lazy, read_once_if_small
from ..error_model._accuracy import EstimatesAccuracy
from ..representation._choice import represent, shared_with
from ._error_classifier import ErrorClassifier


class PredictsErrors(EstimatesAccuracy):
    """Methods of a fitted `MetaErrorClassifier` that are about errors.

    They read `estimator_`, `error_model_`, `classes_`, `oof_error_proba_` and `error_threshold`.
    """

    def predict_error_proba(self, X):
        """Estimate the probability that `predict` is wrong on each sample.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        error_proba : ndarray of shape (n_samples,), in [0, 1]
            Higher = more likely wrong.
        """
        return self._predict_all(X)[2]

    def predict_error(self, X):
        """Predict which predictions are wrong.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        is_error : ndarray of bool, shape (n_samples,)
            True where the error probability is at least `error_threshold`.

        Raises
        ------
        ValueError
            If `error_threshold` is not in (0, 1].
        """
        # It may have been set after `fit`.
        check_fraction(self.error_threshold, "error_threshold")
        return self.predict_error_proba(X) >= self.error_threshold

    def predict_with_error(self, X):
        """Predict labels and their error probabilities in one pass of the base.

        A second pass is needed if the label is not always the most probable class. The kind of
        classifier and the out-of-fold predictions decide this.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Same as `predict`.
        error_proba : ndarray of shape (n_samples,), in [0, 1]
            Same as `predict_error_proba`.
        """
        labels, _, error_proba = self._predict_all(X)
        return labels, error_proba

    def estimate_accuracy(self, X, *, confidence_level=0.95):
        """Estimate the accuracy of `predict` on rows without labels.

        The estimate is 1 - the mean error probability. It decreases if the rows are harder to
        classify than the training rows. For rows that are predicted part by part, use
        `accuracy_interval`.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`. At least one row.

        confidence_level : float in (0, 1), default=0.95
            Probability of the interval.

        Returns
        -------
        estimate : AccuracyEstimate
            NamedTuple ``(accuracy, low, high, novelty)``. ``novelty`` is the share of rows that are
            more unlike the training rows than 99 % of these are (`predict_novelty`): about 0.01 on
            rows like the training rows. **From 0.1 on, a warning says that the interval does not
            hold.** NaN without the meta-features "neighbors". With ``meta_learner=None`` the
            accuracy is the mean probability of the predicted class and the other values are NaN,
            because there are no out-of-fold predictions to measure its uncertainty on.

        Raises
        ------
        ValueError
            If X has no row, or `confidence_level` is out of range.

        Notes
        -----
        The interval covers the chance in the draw of the rows and in their errors. It also covers
        the uncertainty of level and slope of the error probability, which were learned from the
        out-of-fold errors. Unequal sample weights make it wider, because fewer rows decide; rows
        that the error model did not learn from (beyond 20,000) do not make it narrower. It is an
        interval for the accuracy on the rows of X.

        **A changed relation between X and y cannot be seen without labels.** If the same X has
        another y than at training time (concept drift, other class frequencies), the estimate is
        wrong, the interval does not cover it, and no warning is possible: compare with the labels
        of some new rows. The interval does not cover rows unlike any training row either, whose
        share is `novelty`, errors of the error model in a subpopulation, or training rows that
        depend on each other (`groups`). On 14 public tables the 95 % interval held the true
        accuracy for 98 % of random batches, 93 % of batches from one cluster, 96 % of batches from
        one end of a column, and 58 % of batches with changed class frequencies.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from metaerr_sklearn import MetaErrorClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0)
        >>> _ = clf.fit(X[:900], y[:900])
        >>> accuracy, low, high, novelty = clf.estimate_accuracy(X[900:])
        >>> bool(low <= clf.score(X[900:], y[900:]) <= high)
        True
        """
        check_is_fitted(self)
        check_fraction(confidence_level, "confidence_level", closed="neither")
        if self.error_model_ is None:
            return self.accuracy_interval(self.predict_error_proba(X))
        (X,) = indexable(X)
        _, observations = self._observe(read_once_if_small(X))
        error_model, novelty = self.error_model_, None
        # Novelty and error probability both need the representation.
        observations = error_model.with_representation(observations)
        if error_model.n_novelty_rows:
            novelty = error_model.novelty_of(observations.X, observations.representation)
        return self.accuracy_interval(
            error_model.predict_observations(observations),
            novelty,
            confidence_level=confidence_level,
        )

    def predict_novelty(self, X):
        """Measure how unlike the training rows each row is.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        novelty : ndarray of shape (n_samples,), in [0, 1]
            Share of training rows that are less unlike the others than this row. About 1 % of the
            rows that come from the same source as the training rows are above 0.99. **Above 0.99,
            the row is unlike the training rows, and its error probability cannot be trusted.** How
            it is measured: `ErrorModel.predict_novelty`.

        Raises
        ------
        ValueError
            If ``meta_learner=None``, or if the meta-features do not include "neighbors".

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from metaerr_sklearn import MetaErrorClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0)
        >>> _ = clf.fit(X[:900], y[:900])
        >>> inverted = 16 - X[900:]
        >>> for rows in (X[900:], inverted):
        ...     print(bool((clf.predict_novelty(rows) > 0.99).mean() > 0.1))
        False
        True
        """
        check_is_fitted(self)
        if self.error_model_ is None:
            raise ValueError(
                "meta_learner=None learns nothing about the training rows, so the novelty of a row "
                'is unknown. Fit with meta_learner="auto".'
            )
        return self.error_model_.predict_novelty(X)

    def explain_error(self, X):
        """Explain for each row what raises or lowers the log-odds of an error.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        explanation : ErrorExplanation
            NamedTuple ``(contributions, names, base_value)``. ``contributions``, ndarray of shape
            (n_samples, n_contributions), is in log-odds relative to a typical training row: above
            0 = more likely wrong. ``names``, ndarray of str, names each column. "offset:
            confidence", "offset: second_opinion" and "offset: vote of ..." are the calibrated terms
            that the error model starts from. The others are "block: meta-feature" of the learned
            correction: "input: age" is a column of X, with all its categories; "input: component 0"
            is a component of X if X was projected. If `observed_share` is below 1, as in the
            default for images, "offset: row is observed" is the difference between the base values
            of the two error models. ``base_value`` is a float. Each row of
            ``contributions`` and ``base_value`` sum to the log-odds of `predict_error_proba`.
            ``print(explanation)`` shows the largest contributions of each row.

        Raises
        ------
        ValueError
            If the meta-learner's correction is no sum over meta-features ("mlp", or a classifier),
            or ``meta_learner=None``.

        Notes
        -----
        A contribution shows what the error model uses, not what causes the error. Trees are split
        into contributions by SHAP values [1]_, as LightGBM computes them; linear terms by
        coefficient times distance from the training mean; "auto" takes the mean of both.

        References
        ----------
        .. [1] Lundberg, Erion, Lee (2018). Consistent Individualized Feature Attribution for Tree
           Ensembles. arXiv 1802.03888.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from metaerr_sklearn import MetaErrorClassifier
        >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        >>> clf = MetaErrorClassifier(GaussianNB(), random_state=0).fit(X[:400], y[:400])
        >>> contributions, names, base_value = clf.explain_error(X[400:])
        >>> log_odds = contributions.sum(axis=1) + base_value
        >>> bool(np.allclose(1 / (1 + np.exp(-log_odds)), clf.predict_error_proba(X[400:])))
        True
        >>> doubtful = np.argmax(log_odds)
        >>> reasons = np.argsort(-contributions[doubtful])[:2]
        >>> [f"{names[j]} {contributions[doubtful, j]:+.1f}" for j in reasons]
        ['offset: confidence +2.2', 'offset: second_opinion +2.0']
        """
        check_is_fitted(self)
        if self.error_model_ is None:
            raise ValueError(
                "meta_learner=None learns no error model that could be explained: the error "
                'probability is 1 - confidence. Fit with meta_learner="auto".'
            )
        self.error_model_.check_can_explain()
        _, observations = self._observe(X)
        return self.error_model_.explain_observations(observations)

    def as_error_classifier(self):
        """Return a fitted binary classifier of the error, for any scikit-learn metric or display.

        Returns
        -------
        classifier : ErrorClassifier
            ``classes_`` is [False, True], True = the base is wrong; ``predict_proba`` has shape
            (n_samples, 2).

        Examples
        --------
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.metrics import RocCurveDisplay, roc_auc_score
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from metaerr_sklearn import MetaErrorClassifier
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0)
        >>> clf = clf.fit(X[::2], y[::2])
        >>> is_error = clf.predict(X[1::2]) != y[1::2]
        >>> proba = clf.as_error_classifier().predict_proba(X[1::2])[:, 1]
        >>> bool(roc_auc_score(is_error, proba) > 0.8)
        True
        """
        check_is_fitted(self)
        return ErrorClassifier(self)

    def _predict_all(self, X):
        """Return labels, probabilities and error probabilities in one pass of the base."""
        labels, observations = self._observe(X)
        proba = observations.proba
        if self.error_model_ is None:
            return labels, proba, proba_of_other_classes(proba, observations.pred_encoded)
        return labels, proba, self.error_model_.predict_observations(observations)

    def _observe(self, X):
        """Return the labels of new rows, and the observations for the error model.

        If a net computes the representation together with its probabilities, it is recorded.
        """
        check_is_fitted(self)
        self._check_rows(X)
        (X,) = indexable(X)
        if self.observers_:
            X = read_once_if_small(X)  # observers take the rows of a Dataset once more
        classes, embedding, steps = np.unique(self.classes_), None, None
        if self.error_model_ is not None:
            classes, representation = self.error_model_.classes_, self.error_model_.representation_
            embedding, steps = shared_with(representation, self.estimator_)
            if embedding is None and is_lazy(X):
                steps = representation
        predictions = predict_base(
            self.estimator_,
            X,
            classes,
            by_argmax=self._argmax_is_label,
            embedding=embedding,
            represent=None if steps is None else partial(represent, steps),
        )
        observations = Observations(
            X, predictions.proba, predictions.pred_encoded, representation=predictions.embedding
        )
        return predictions.labels, observations
