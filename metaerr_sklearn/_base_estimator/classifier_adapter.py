"""Fit a scikit-learn classifier and predict with it."""

from contextlib import nullcontext

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import clone

from .._utils.columns import is_frame
from .._utils.labels import as_array_like, as_numpy
from .._utils.messages import name_of
from .._utils.output_checks import OutputError, check_proba, class_positions
from .._utils.probabilities import label_positions
from .._utils.random import random_state_params
from .._utils.rows import own_copy, take_rows
from .encoded_labels import EncodedLabels
from .fresh_nets import nets_in
from .inspection import (
    final_estimator,
    fit_itself,
    fit_param,
    has_tag_of_classifier,
    predicts_argmax,
    tags_of,
    without_wrappers,
)


class ClassifierAdapter:
    """Fit a scikit-learn classifier and predict with it.

    Parameters
    ----------
    estimator : estimator
        The base classifier.
    """

    is_net = False
    #: Advice for a base whose ``predict_proba`` returns no probabilities.
    scores_advice = "For scores that are not probabilities, expose them as decision_function."

    def __init__(self, estimator):
        self.estimator = estimator

    @property
    def final(self):
        """The estimator that predicts, without pipelines and other wrappers."""
        return final_estimator(self.estimator)

    @property
    def name(self):
        """Name of the estimator that predicts, for messages."""
        return name_of(self.final)

    def is_classifier(self):
        """Return whether the estimator predicts classes, even if it has no tag that says so."""
        if has_tag_of_classifier(self.estimator):
            return True
        is_other = tags_of(self.estimator).estimator_type is not None
        has_scores = any(hasattr(self.estimator, m) for m in ("predict_proba", "decision_function"))
        return has_scores and not is_other

    def sample_weight_param(self):
        """Return the name under which ``fit`` takes sample weights, or None."""
        return fit_param(self.estimator, "sample_weight")

    def n_jobs(self, n_jobs):
        """Return how many clones may be fitted at once."""
        return n_jobs

    def as_input(self, X):
        """Return X as the base takes it."""
        return X

    def own_copy(self, X):
        """Return X for a call of the base, which may change it in place."""
        return own_copy(X)

    def take_rows(self, X, rows):
        """Return some rows of X for the base."""
        return take_rows(X, rows)

    def fit(self, X, y, *, classes, fit_params, seed, context):
        """Fit the estimator itself, without cloning it.

        Parameters
        ----------
        X, y : array-likes of length n_samples
            Training rows and labels.
        classes : ndarray of shape (n_classes,)
            Sorted labels of all classes; y may lack some of them.
        fit_params : dict
            Arguments of ``fit``.
        seed : int or None
            Value for the parameters ``random_state`` that are None; None does not change them.
        context : context manager
            The context in which the estimator is fitted.

        Returns
        -------
        estimator : fitted estimator
        """
        if seed is not None:
            states = random_state_params(self.estimator)
            unset = {name: seed for name, value in states.items() if value is None}
            if unset:
                self.estimator.set_params(**unset)
        lacks_class = len(np.unique(y)) < len(classes)
        with context, self._seeded_nets(seed):
            try:
                given = self.own_copy(X) if lacks_class else X  # there may be a second attempt
                own_params = {name: own_copy(value) for name, value in fit_params.items()}
                own_y = own_copy(as_array_like(X, y))
                fitted = fit_itself(self.estimator, given, own_y, **own_params)
                if lacks_class:
                    # Raises if the base has columns for labels between those in y.
                    type(self)(fitted).predict_proba(take_rows(X, [0]), classes)
                return fitted
            except Exception as error:
                encoded = self._fit_encoded(X, y, classes, fit_params, error)
                if encoded is None:
                    raise
                return encoded

    def _seeded_nets(self, seed):
        """Return a context that seeds the nets in an ensemble, and restores the generators."""
        if seed is None or not nets_in(self.estimator, with_frozen=True):
            return nullcontext()
        from ..neural import preserved_rng

        return preserved_rng(seed)

    def _fit_encoded(self, X, y, classes, fit_params, error):
        """Fit on the positions of the labels if y lacks a class; return None without success.

        `error` is the exception of the fit on the labels themselves.
        """
        labels = np.unique(y)
        if not 1 < len(labels) < len(classes):
            return None
        missing = classes[~np.isin(classes, labels)].tolist()
        error.add_note(f"The training rows lack the classes {missing}.")
        try:
            return EncodedLabels(clone(self.estimator), classes).fit(X, y, **fit_params)
        except Exception:
            return None  # the labels are not the cause

    def draws_batches_by_weight(self):
        """Return whether the training batches can be drawn in proportion to sample weights."""
        return False

    def preserved_rng(self, seed):
        """Return a context that seeds and restores the random generators used in prediction."""
        return nullcontext()

    def call(self, method, X, **params):
        """Call a method of the fitted base.

        Parameters
        ----------
        method : str
            Name of the method.
        X : array-like
            Rows; `as_input` converts them for the base.
        **params : dict
            Further arguments of the method.

        Returns
        -------
        output : ndarray
        """
        with self._own_random_states():
            return getattr(self.estimator, method)(self.own_copy(X), **params)

    def _own_random_states(self):
        """Return a context in which the nets of an ensemble predict with generators of their own.

        A DataLoader draws a number from the global generator, even if it does not shuffle.
        """
        if not nets_in(without_wrappers(self.estimator), with_frozen=True):
            return nullcontext()
        from ..neural._net import preserved_rng_of_one_thread

        return preserved_rng_of_one_thread(0)

    def predict(self, X, classes, **params):
        """Return one label for each row."""
        labels = self.call("predict", X, **params)
        return np.asarray(labels)[:, 0] if np.shape(labels)[1:] == (1,) else labels

    def predict_proba(self, X, classes):
        """Return class probabilities, one column for each class of `classes`.

        They come from ``predict_proba``, where a row of zeros becomes a row of equal probabilities.
        If the base lacks this method, they come from ``decision_function`` (softmax, or
        sigmoid(2 f) for two classes). If it lacks both, they are the one-hot labels of ``predict``.
        A class that the base was not trained on has probability 0.

        Parameters
        ----------
        X : array-like of length n_samples
            Rows; `as_input` converts them for the base.
        classes : ndarray of shape (n_classes,)
            Sorted labels.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)

        Raises
        ------
        ValueError
            If ``predict_proba`` does not return probabilities, or ``decision_function`` does not
            return one score for each class.
        """
        return self.align(*self.own_proba(X, classes), classes)

    def own_proba(self, X, classes):
        """Return the base's own probabilities, checked, and the classes of its columns.

        Parameters and exceptions are those of `predict_proba`.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_columns)
        own_classes : ndarray of shape (n_columns,)
        """
        own_classes = self.classes_of_output(classes, X)
        if hasattr(self.estimator, "predict_proba"):
            output = self.call("predict_proba", X)
            # The base may write its next output into the same memory.
            proba = np.array(as_numpy(output))
            self._check_columns("predict_proba", proba, own_classes)
            positions = class_positions(output, own_classes) if is_frame(output) else None
            proba = self.checked_proba(proba if positions is None else proba[:, positions])
        elif hasattr(self.estimator, "decision_function"):
            proba = self._proba_of_scores(X, own_classes)
        else:
            labels = np.asarray(self.predict(X, own_classes))
            proba = (labels[:, None] == own_classes).astype(float)
        return proba, own_classes

    def checked_proba(self, proba):
        """Return the output of ``predict_proba``, or raise if it holds no probabilities."""
        return check_proba(
            self.fill_zero_rows(proba),
            name=f"predict_proba of {self.name}",
            advice=self.scores_advice,
        )

    def align(self, proba, own_classes, classes):
        """Return probabilities with one column for each of the sorted classes.

        Parameters
        ----------
        proba, own_classes : ndarrays
            Result of `own_proba`.
        classes : ndarray of shape (n_classes,)
            Sorted labels.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
        """
        if np.array_equal(own_classes, classes):
            return proba
        position = label_positions(own_classes, classes)
        is_known = position >= 0
        if not is_known.all():
            proba = self.without_unknown(proba, is_known, own_classes, classes)
        aligned = np.zeros((len(proba), len(classes)), dtype=proba.dtype)
        aligned[:, position[is_known]] = proba
        return aligned

    def without_unknown(self, proba, is_known, own_classes, classes):
        """Raise: the base has classes that y does not have."""
        raise ValueError(
            f"{self.name} has the classes {own_classes[~is_known]}, which are not among the labels "
            f"of y, {classes}. Give a fitted classifier the labels that it was trained with."
        )

    def _check_columns(self, method, output, own_classes):
        if output.ndim != 2 or output.shape[1] != len(own_classes):
            raise OutputError(
                f"{method} of {self.name} has shape {output.shape}, expected one "
                f"column for each of the {len(own_classes)} classes."
            )

    def _proba_of_scores(self, X, own_classes):
        scores = np.asarray(self.call("decision_function", X), dtype=np.float64)
        if np.isnan(scores).any():
            raise OutputError(
                f"decision_function of {self.name} returns NaN. X may have NaN or infinite values: "
                "fill them, or drop these rows."
            )
        if scores.ndim == 1 and len(own_classes) == 2:
            return np.column_stack([expit(-2 * scores), expit(2 * scores)])
        if scores.ndim == 2 and scores.shape[1] == len(own_classes):
            return softmax(scores, axis=1)
        raise OutputError(
            f"decision_function of {self.name} has shape {scores.shape}, expected "
            f"one score for each of the {len(own_classes)} classes. For scores of pairs of "
            'classes, set decision_function_shape="ovr".'
        )

    def fill_zero_rows(self, proba):
        """Give every class the same probability in rows where all probabilities are 0.

        `OneVsRestClassifier` returns such a row if none of its binary classifiers predicts its
        class, and `RadiusNeighborsClassifier` for an outlier. Some versions of scikit-learn divide
        the row by its sum, 0, which gives NaN. `LabelSpreading` does so for a row that is far from
        all training rows. NaN from an estimator outside scikit-learn is a failure, and is kept.
        """
        proba = np.asarray(as_numpy(proba))
        if proba.ndim != 2:
            return proba
        is_empty = ~np.any(proba, axis=1)
        if type(self.final).__module__.startswith("sklearn."):
            is_empty |= np.isnan(proba).all(axis=1)
        if not is_empty.any():
            return proba
        proba = np.array(proba, dtype=float)
        proba[is_empty] = 1 / proba.shape[1]
        return proba

    def predicts_argmax(self):
        """Return whether the label is always the most probable class; None if it is uncertain."""
        return predicts_argmax(self.final)

    def classes_of_output(self, classes, X):
        """Return the classes in the order of the columns of the fitted base's probabilities.

        Parameters
        ----------
        classes : ndarray of shape (n_classes,)
            Sorted labels, for a base that has no ``classes_``.
        X : any
            Rows.

        Returns
        -------
        classes : ndarray
        """
        return np.asarray(getattr(self.estimator, "classes_", classes))

    def classes_of_prefit(self, X, y):
        """Return the classes of a base that was fitted elsewhere, in the order of its columns.

        Parameters
        ----------
        X : any
            Rows.
        y : ndarray of shape (n_samples,)
            Labels of the rows.

        Returns
        -------
        classes : ndarray
        """
        return self.classes_of_output(np.unique(y), X)

    def check_fit(self, X, y):
        """Raise if the base cannot be trained on these rows, before anything costly is fitted."""

    def check_training_parts(self, y, parts):
        """Raise if the base cannot be trained on the rows of a split.

        Parameters
        ----------
        y : ndarray of shape (n_samples,)
            Labels.
        parts : list of ndarray of int
            Positions of the training rows of each split.
        """

    def check_takes_table(self):
        """Raise if the base cannot be trained on a table of numbers."""
