"""Correct the offset by a ridge logistic model."""

from functools import partial
from numbers import Real

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from .._utils.threads import one_thread_of_blas
from ._base import ClippedScaler, ResidualMetaLearner


class LogisticMetaLearner(ResidualMetaLearner):
    """Correct the offset by a ridge-penalised linear function of the meta-features.

    Use it as ``meta_learner=`` of `MetaErrorClassifier` or `ErrorModel`. The offset is the
    calibrated log-odds of an error, from which the error model starts; see `ErrorModel`.

    Parameters
    ----------
    alphas : sequence of float, default=(3000, 1000, 300, 100, 30, 10, 3)
        Ridge weights to choose from, besides infinity (no correction).

    Attributes
    ----------
    alpha_ : float
        Chosen ridge weight; ``inf`` if no correction was better.
    coef_ : ndarray of shape (n_meta_features,)
        Coefficients of the standardised meta-features, without the columns for trees.
    intercept_ : float
        Constant part of the correction.
    oof_logit_ : ndarray of shape (n_samples,)
        Out-of-fold log-odds of the training rows.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn import LogisticMetaLearner
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(400, 2))
    >>> is_error = rng.random(400) < 1 / (1 + np.exp(-2 * Z[:, 0]))
    >>> folds = [(np.arange(0, 200), np.arange(200, 400)), (np.arange(200, 400), np.arange(200))]
    >>> learner = LogisticMetaLearner().fit(Z, is_error, np.zeros(400), folds=folds)
    >>> bool(learner.coef_[0] > 1)
    True
    """

    def __init__(self, alphas=(3000, 1000, 300, 100, 30, 10, 3)):
        self.alphas = alphas

    def check_parameters(self):
        """Raise unless the ridge weights are a sequence of positive numbers."""
        alphas = [] if np.ndim(self.alphas) != 1 else list(self.alphas)
        if not alphas or not all(isinstance(a, Real) and 0 < a < np.inf for a in alphas):
            raise ValueError(
                "alphas of LogisticMetaLearner must be a sequence of at least one number, each "
                f"above 0, got {self.alphas!r}. Pass for example (1000, 100, 10)."
            )

    def _fit_path(self, Z, is_error, offset, folds, weight, seed):
        # With few columns, several threads of BLAS gain nothing. While they wait, they use the
        # cores of learners that are fitted at the same time, and their number changes how sums
        # are rounded.
        with one_thread_of_blas():
            path = self._path(Z, is_error, offset, folds, weight)
        return path, partial(self._fit_all, Z, is_error, offset, weight)

    def _path(self, Z, is_error, offset, folds, weight):
        alphas = self._falling_alphas()
        path = np.repeat(offset[None], len(alphas) + 1, axis=0)
        for train, test, *matrices in folds:
            scaler = ClippedScaler().fit(matrices[0], weight[train])
            Z_train, Z_test = map(scaler.transform, matrices)
            beta = np.zeros(Z.shape[1] + 1)
            for number, alpha in enumerate(alphas, start=1):
                beta = _fit_ridge(
                    Z_train, is_error[train], offset[train], weight[train], alpha, beta
                )
                path[number, test] += Z_test @ beta[1:] + beta[0]
        return path

    def _fit_all(self, Z, is_error, offset, weight, amount):
        self.alpha_ = np.inf if amount == 0 else float(self._falling_alphas()[amount - 1])
        self._scaler = ClippedScaler().fit(Z, weight)
        beta = np.zeros(Z.shape[1] + 1)
        if amount > 0:
            Z = self._scaler.transform(Z)
            with one_thread_of_blas():
                beta = _fit_ridge(Z, is_error, offset, weight, self.alpha_, beta)
        self.intercept_, self.coef_ = float(beta[0]), beta[1:]

    def _falling_alphas(self):
        return np.sort(np.asarray(self.alphas, dtype=float))[::-1]

    def _correct(self, Z):
        # BLAS is not used: its result for a row can depend on the other rows.
        parts, constant = self._contributions(Z)
        return np.ascontiguousarray(parts).sum(axis=1) + constant

    def _contributions(self, Z):
        return self._scaler.transform(Z) * self.coef_, self.intercept_


def _fit_ridge(Z, is_error, offset, weight, alpha, start):
    """Minimise the weighted logistic loss plus alpha/2 |coef|^2; the intercept is free."""
    Z1 = np.column_stack([np.ones(len(Z)), Z])
    penalty = np.full(Z1.shape[1], float(alpha))
    penalty[0] = 1e-3

    def loss(beta):
        logits = offset + Z1 @ beta
        residual = weight * (expit(logits) - is_error)
        value = weight @ np.logaddexp(0, np.where(is_error, -logits, logits))
        return value + 0.5 * penalty @ beta**2, Z1.T @ residual + penalty * beta

    def hessian(beta):
        p = expit(offset + Z1 @ beta)
        scaled = Z1 * np.sqrt(weight * p * (1 - p))[:, None]
        return scaled.T @ scaled + np.diag(penalty)  # BLAS computes half of a symmetric product

    # A trust region keeps Newton's steps finite if a column separates the errors.
    return minimize(loss, start, jac=True, hess=hessian, method="trust-exact").x
