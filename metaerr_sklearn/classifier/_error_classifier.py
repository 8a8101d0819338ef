"""Predict the errors of a fitted classifier, as a binary classifier."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class ErrorClassifier(ClassifierMixin, BaseEstimator):
    """Predict the errors of a fitted `MetaErrorClassifier` as a binary classifier.

    Parameters
    ----------
    estimator : fitted MetaErrorClassifier
        The classifier whose errors are predicted.

    Attributes
    ----------
    classes_ : ndarray of bool, shape (2,)
        False = right, True = wrong.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    @property
    def classes_(self):
        """Both outcomes: False = right, True = wrong."""
        return np.array([False, True])

    def fit(self, X, y):
        """Do nothing: the error model is already fitted.

        Parameters
        ----------
        X, y : any
            Not used.

        Returns
        -------
        self : object
        """
        return self

    def predict(self, X):
        """Predict which predictions are wrong.

        Parameters
        ----------
        X : as in the fit of the classifier
            Rows.

        Returns
        -------
        is_error : ndarray of bool, shape (n_samples,)
            True where the prediction of the classifier is probably wrong.
        """
        return self.estimator.predict_error(X)

    def predict_proba(self, X):
        """Return the probabilities of being right and of being wrong.

        Parameters
        ----------
        X : as in the fit of the classifier
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, 2)
            Columns as in `classes_`: right, wrong.
        """
        error_proba = self.estimator.predict_error_proba(X)
        return np.column_stack([1 - error_proba, error_proba])

    def __sklearn_clone__(self):
        """Return this object: `fit` cannot train a clone, so that clones stay fitted."""
        return self

    def __sklearn_is_fitted__(self):
        """Return True: nothing has to be fitted."""
        return True
