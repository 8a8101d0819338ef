"""Delegate class outputs, tags, metadata and column names to the wrapped base classifier."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._utils.columns import is_frame, own_names
from .._utils.in_memory import check_in_memory
from .._utils.parameter_checks import is_word
from .adapter import adapt
from .fresh_nets import check_untrained
from .inspection import tags_of, without_wrappers
from .routing import make_router, route_output


def estimator_has(method):
    """Return a check for `available_if` that the base has a method.

    The check is made on the fitted base if there is one, else on the parameter ``estimator``.
    """

    def check(self):
        getattr(getattr(self, "estimator_", self.estimator), method)
        return True

    return check


def _names_of_columns(X):
    """Return the names of the columns of a frame; None if X is no frame or a name is no text."""
    names = own_names(X) if is_frame(X) else [None]
    is_named = all(isinstance(name, str) for name in names)
    return np.asarray(names, dtype=object) if is_named else None


def _takes_columns_by_position(estimator):
    """Return whether a base is a net that gets X itself, not the output of a transformer."""
    return adapt(estimator).is_net and not isinstance(without_wrappers(estimator), Pipeline)


class DelegatesToBase:
    """Delegate class outputs, tags, metadata and column names to the base classifier.

    A subclass has the parameter ``estimator``, and its ``fit`` calls `_set_base`.
    """

    #: Methods that pass metadata to the method of the same name of the base.
    _routed_methods = ("fit", "predict", "predict_proba", "predict_log_proba", "decision_function")

    @available_if(estimator_has("predict"))
    def predict(self, X, **params):
        """Predict class labels with the base classifier.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        **params : dict
            With metadata routing enabled: what the base requests.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        """
        params = route_output(self, "predict", params)
        check_is_fitted(self)
        self._check_rows(X)
        return adapt(self.estimator_).predict(X, self.classes_, **params)

    @available_if(estimator_has("predict_proba"))
    def predict_proba(self, X, **params):
        """Predict class probabilities with the base classifier.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        **params : dict
            With metadata routing enabled: what the base requests.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Output of the base, unchanged.
        """
        return self._call_base("predict_proba", X, params)

    @available_if(estimator_has("predict_log_proba"))
    def predict_log_proba(self, X, **params):
        """Predict logarithms of class probabilities with the base classifier.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        **params : dict
            With metadata routing enabled: what the base requests.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Output of the base, unchanged.
        """
        return self._call_base("predict_log_proba", X, params)

    @available_if(estimator_has("decision_function"))
    def decision_function(self, X, **params):
        """Compute decision scores of the classes with the base classifier.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        **params : dict
            With metadata routing enabled: what the base requests.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Output of the base, unchanged.
        """
        return self._call_base("decision_function", X, params)

    def get_metadata_routing(self):
        """Return the metadata routing of this object.

        Returns
        -------
        routing : MetadataRouter
        """
        return make_router(self, super().get_metadata_routing(), self._routed_methods)

    def _call_base(self, method, X, params):
        params = route_output(self, method, params)
        check_is_fitted(self)
        self._check_rows(X)
        return adapt(self.estimator_).call(method, X, **params)

    def _set_base(self, estimator, classes, X):
        """Set the deployed base, its classes in the order of its outputs, and the columns of X.

        An attribute of an earlier fit is deleted if this base does not have it.
        """
        self.estimator_ = estimator
        self.classes_ = classes
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(estimator, name):
                setattr(self, name, getattr(estimator, name))
            elif name in vars(self):
                delattr(self, name)
        # A net notes no names of columns, and would take columns in another order without a word.
        names = _names_of_columns(X)
        if names is not None and _takes_columns_by_position(estimator):
            self.feature_names_in_ = names

    def _check_rows(self, X):
        """Raise if X is not in memory, or if a net gets other columns of a frame than in fit."""
        check_in_memory(X)
        names, given = getattr(self, "feature_names_in_", None), _names_of_columns(X)
        if names is None or given is None or np.array_equal(names, given):
            return
        if not _takes_columns_by_position(self.estimator_):
            return  # the base checks the names itself
        missing = [name for name in names if name not in given]
        if missing:
            what = f"X lacks columns that fit got: {', '.join(map(repr, missing[:5]))}"
        elif len(given) > len(names):
            what = f"X has {len(given)} columns, but fit got {len(names)}"
        else:
            what = "X has the columns of fit in another order"
        raise ValueError(
            f"{what}. A net takes columns by position. Pass the columns of fit in their order: "
            "X[list(clf.feature_names_in_)]."
        )

    def __sklearn_clone__(self):
        """Return a clone, unless the base holds a trained module instance; see `check_untrained`.

        A clone of the net would keep the weights, but not the history that shows their training: a
        search or a cross-validation around this object would find no fault.
        """
        parameters = self.get_params(deep=False)
        is_prefit = any(is_word(parameters.get(name), "prefit") for name in ("cv", "calibration"))
        if not is_prefit and parameters.get("meta_learner", "auto") is not None:
            check_untrained(self.estimator, warn=False)  # `fit` warns
        return super().__sklearn_clone__()

    def __sklearn_is_fitted__(self):
        """Return whether `fit` has set a base."""
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self):
        """Return the tags of a classifier with the input tags of the base."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self.estimator is None:
            return tags
        base = tags_of(self.estimator)
        tags.input_tags = base.input_tags
        if base.classifier_tags is not None:
            tags.classifier_tags.multi_class = base.classifier_tags.multi_class
            tags.classifier_tags.poor_score = base.classifier_tags.poor_score
        return tags
