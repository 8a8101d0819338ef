"""Meta-features from further fits of the base with other seeds."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator

from .._base_estimator.fresh_nets import nets_in
from .._base_estimator.inspection import final_estimator
from .._base_estimator.prediction import predict_base, without_missing_classes
from .._utils.messages import warn_caller
from .._utils.probabilities import vote_and_deviations


class OtherFits(BaseEstimator):
    """Describe each prediction by further fits of the base classifier with other seeds.

    Pass an instance in ``meta_features=`` of `MetaErrorClassifier`. A prediction with which other
    fits of the same classifier disagree is more often wrong (deep ensembles [1]_). Beside each fit
    of the base, `n_fits` further clones are fitted on the same rows with other seeds. With 5 folds
    and ``refit=True`` there are ``6 * n_fits`` further fits; with a hold-out and ``refit=False``,
    `n_fits`. The base classifier itself, and its predictions, stay the same.

    Parameters
    ----------
    n_fits : int, default=1
        Number of further fits beside each fit of the base.

    Attributes
    ----------
    votes : bool
        True: the first column of `observe` is the log-odds that the prediction is right.

    estimators_ : list of fitted classifiers
        The further fits. The fitted object is in `MetaErrorClassifier.observers_`.

    classes_ : ndarray of shape (n_classes,)
        Class labels.

    differs_ : bool
        Whether a further fit predicts other probabilities than the base for any training row. If
        it is False, there is a warning: another seed does not change the base.

    See Also
    --------
    neural.AugmentedConfidence : Predictions for altered images, without a further fit.

    Notes
    -----
    Further fits are for nets on images. **On tables they do not pay**: with 1,500 training rows and
    two draws of each table, one further fit changed the AUROC of the meta-features "auto" by less
    than .001 in the mean, for random forests and `MLPClassifier` (four tables each) and boosting
    with ``max_features=0.5`` (three tables). In a single draw the change was -.003 to +.005.
    Boosting without subsampling and early stopping is the same classifier with each seed.

    All parameters ``random_state`` of the base get another seed, also those that are set. Seeds of
    other names stay. A net starts from other weights if its module is defined by a class. A search
    is repeated as a whole. The parameter `memory` of `MetaErrorClassifier` caches each further fit.

    A further fit has failed if it is nearer to always predicting the most frequent class than to
    the base, on rows that both were trained on. It is then repeated once with another seed.

    References
    ----------
    .. [1] Lakshminarayanan, Pritzel, Blundell (2017). Simple and Scalable Predictive Uncertainty
       Estimation using Deep Ensembles, NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.neural_network import MLPClassifier
    >>> from metaerr_sklearn import MetaErrorClassifier, OtherFits
    >>> X, y = load_digits(return_X_y=True)
    >>> base = MLPClassifier([16], early_stopping=True, random_state=0)
    >>> meta_features = ["confidence", "neighbors", "second_opinion", OtherFits()]
    >>> clf = MetaErrorClassifier(base, meta_features=meta_features, cv=2, random_state=0)
    >>> labels, error_proba = clf.fit(X[:900], y[:900]).predict_with_error(X[900:])
    >>> [type(fitted).__name__ for fitted in clf.observers_[0].estimators_]
    ['MLPClassifier']
    """

    #: The first column of `observe` is a term of the offset.
    votes = True

    def __init__(self, n_fits=1):
        self.n_fits = n_fits

    def check_base(self, estimator, X):
        """Check the parameter before any fit.

        Parameters
        ----------
        estimator : Ignored
            Present for the API.

        X : Ignored
            Present for the API.

        Raises
        ------
        ValueError
            If `n_fits` is not a positive integer.
        """
        is_integer = isinstance(self.n_fits, Integral) and not isinstance(self.n_fits, bool)
        if not is_integer or self.n_fits < 1:
            raise ValueError(
                f"n_fits of OtherFits must be an integer of at least 1, got {self.n_fits!r}. "
                "OtherFits(1) fits the base once more beside each of its fits."
            )

    def fit_beside(self, fit):
        """Fit the base anew, on the rows that one of its clones was trained on.

        Parameters
        ----------
        fit : callable
            ``fit(seed)`` returns a further fitted clone of the base. ``fit.X`` and ``fit.y`` are
            its training rows and their labels, and ``fit.classes`` the sorted labels of all
            classes.

        Returns
        -------
        self : object
        """
        self.classes_ = fit.classes
        self._is_trained = np.isin(fit.classes, fit.y)
        self.estimators_ = [fit(seed) for seed in range(self.n_fits)]
        return self

    def observe(self, estimator, X):
        """Compute the columns from the predictions of the base and of the further fits.

        Parameters
        ----------
        estimator : fitted classifier
            The clone of the base beside which the further fits were made.

        X : any, of length n_samples
            Samples.

        Returns
        -------
        features : ndarray of shape (n_samples, 1 + n_fits)
            All columns concern the class that the base predicts. The first one is its log-odds by
            the mean probability over the base and all further fits. Each other column is the
            log-odds by one further fit minus that by the base, each cut to [-10, 10]. Higher means
            more trusted.
        """
        own = self._predict(estimator, X)
        others = [self._predict(fitted, X).proba for fitted in self.estimators_]
        return vote_and_deviations(own.proba, others, own.pred_encoded, n_voting=len(others))

    def check_columns(self, features):
        """Warn if the further fits predict the same as the base.

        Parameters
        ----------
        features : ndarray of shape (n_samples, 1 + n_fits)
            Columns of all training rows.
        """
        self.differs_ = bool(features[:, 1:].any())
        if not self.differs_:
            final = final_estimator(self.estimators_[0])
            name = type(final).__name__
            advice = (
                "let the training be random: set a parameter such as subsample, max_features or "
                "bootstrap, and fix no seed of another name than random_state."
            )
            for net in nets_in(final)[:1]:
                module = getattr(net.module, "__name__", type(net.module).__name__)
                advice = (
                    "let each fit start from other weights: pass the module class, "
                    f"{type(net).__name__}({module}, module__<argument>=...), not an instance, and "
                    "fix no seed in it."
                )
            warn_caller(
                "The further fits of OtherFits predict the same as the base for each training row: "
                f"another seed does not change {name}, and OtherFits adds nothing. Leave it out of "
                f"meta_features. Or {advice}"
            )

    def get_feature_names_out(self, input_features=None):
        """Name the columns of `observe`.

        Parameters
        ----------
        input_features : Ignored
            Present for the API.

        Returns
        -------
        names : ndarray of str, shape (1 + n_fits,)
        """
        others = [f"log-odds of further fit {number + 1} - own" for number in range(self.n_fits)]
        return np.array(["log-odds of the mean probability", *others], dtype=object)

    def _predict(self, estimator, X):
        return without_missing_classes(predict_base(estimator, X, self.classes_), self._is_trained)
