"""Train a base on the positions of the classes, for bases that want labels 0, ..., k - 1."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._utils.rows import take_rows
from .inspection import fit_itself

_VALIDATION_WEIGHTS = "sample_weight_eval_set", "eval_sample_weight"


def _has(method):
    return lambda self: hasattr(getattr(self, "estimator_", self.estimator), method)


class EncodedLabels(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Train a classifier on the positions of the classes in y, and return its labels decoded.

    XGBoost, for example, accepts labels 0, 1, 2 but not 0, 2, 3, which remain if a training part
    lacks class 1.

    Parameters
    ----------
    estimator : classifier
        A clone is fitted.
    classes : ndarray of shape (n_classes,)
        Sorted labels of all classes; y may lack some of them. A parameter of `estimator` that is a
        dict with such labels as keys, like ``class_weight``, gets their positions as keys.

    Attributes
    ----------
    estimator_ : fitted classifier
    classes_ : ndarray
        Sorted labels in y.
    """

    def __init__(self, estimator, classes):
        self.estimator = estimator
        self.classes = classes

    def fit(self, X, y, **fit_params):
        """Fit a clone on the positions of the classes.

        Labels of validation sets (``eval_set``, or ``eval_X`` and ``eval_y``) are encoded too.
        Validation rows of a class that y lacks are left out.

        Returns
        -------
        self : object
        """
        self.classes_, encoded = np.unique(y, return_inverse=True)
        position = {label: i for i, label in enumerate(self.classes_.tolist())}
        all_labels = set(np.asarray(self.classes).tolist())
        estimator = clone(self.estimator)
        by_label = {
            name: {position[label]: v for label, v in value.items() if label in position}
            for name, value in estimator.get_params(deep=True).items()
            if isinstance(value, dict) and value and set(value) <= all_labels
        }
        estimator.set_params(**by_label)
        fit_params = self._encode_validation(fit_params)
        self.estimator_ = fit_itself(estimator, X, encoded, **fit_params)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def predict(self, X):
        """Return the labels of the predicted positions; any other answer is kept."""
        check_is_fitted(self)
        return self._decode(self.estimator_.predict(X))

    @available_if(_has("predict_with_error"))
    def predict_with_error(self, X):
        """Return labels and error probabilities of a `MetaErrorClassifier`."""
        labels, error_proba = self.estimator_.predict_with_error(X)
        return self._decode(labels), error_proba

    @available_if(_has("predict_proba"))
    def predict_proba(self, X):
        """Return class probabilities, columns in the order of `classes_`."""
        return self._sorted_columns(self.estimator_.predict_proba(X))

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, X):
        """Return logarithms of class probabilities, columns in the order of `classes_`."""
        return self._sorted_columns(self.estimator_.predict_log_proba(X))

    @available_if(_has("decision_function"))
    def decision_function(self, X):
        """Return the scores of the classes, columns in the order of `classes_`."""
        scores = np.asarray(self.estimator_.decision_function(X))
        return scores if scores.ndim == 1 else self._sorted_columns(scores)

    def _sorted_columns(self, output):
        positions = np.asarray(getattr(self.estimator_, "classes_", np.arange(len(self.classes_))))
        return np.asarray(output)[:, np.argsort(positions)]

    def _decode(self, labels):
        labels = np.asarray(labels)
        is_position = np.isin(labels, np.arange(len(self.classes_)))
        if is_position.all():
            return self.classes_[labels.astype(np.intp)]
        decoded = labels.astype(object)  # the classifier abstains in some rows
        decoded[is_position] = self.classes_[labels[is_position].astype(np.intp)]
        return decoded

    def _encode_validation(self, fit_params):
        params = dict(fit_params)
        if {"eval_X", "eval_y"} <= params.keys():
            params["eval_X"], params["eval_y"], _ = self._encode(params["eval_X"], params["eval_y"])
        pairs = params.get("eval_set")
        if isinstance(pairs, tuple) and len(pairs) == 2:
            params["eval_set"] = self._encode(*pairs)[:2]
        elif isinstance(pairs, (list, tuple)):
            encoded = [self._encode(*pair) for pair in pairs]
            params["eval_set"] = [pair[:2] for pair in encoded]
            for name in _VALIDATION_WEIGHTS:
                if params.get(name) is not None:
                    params[name] = [
                        take_rows(weight, rows) for weight, (*_, rows) in zip(params[name], encoded)
                    ]
        return params

    def _encode(self, X, y):
        """Return the rows of known classes, their encoded labels, and their positions."""
        y = np.asarray(y).ravel()
        rows = np.flatnonzero(np.isin(y, self.classes_))
        return take_rows(X, rows), np.searchsorted(self.classes_, y[rows]), rows
