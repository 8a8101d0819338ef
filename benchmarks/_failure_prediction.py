"""What the benchmarks of failure prediction share: cells, methods, measures, tables."""

import time
import warnings
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from _peers import platt_msp, uq360_metamodel
from scipy import special
from sklearn.exceptions import ConvergenceWarning

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn._base_estimator.caching import Kept
from metaerr_sklearn._base_estimator.fitting import fit_base
from metaerr_sklearn.confidence import (
    NeighborAgreement,
    RelativeUncertainty,
    TrustScore,
    doctor,
    generalized_entropy,
    margin,
    max_probability,
    negative_entropy,
)
from metaerr_sklearn.metrics import (
    augrc,
    aurc,
    error_brier_score,
    error_log_loss,
    error_roc_auc,
    excess_aurc,
    fpr_at_tpr,
)

_keep = Kept.__call__


def _keep_fits_of_bases(self, compute, *values):
    is_fit = getattr(compute, "func", None) is fit_base
    return _keep(self, compute, *values) if is_fit else compute()


# The seconds of a fit are those of a first one: fits of the base are kept, meta-features are not.
Kept.__call__ = _keep_fits_of_bases

OURS = ("auto", "lightgbm", "mlp", "logistic", "confidence")
SIMPLE = (
    "msp",
    "margin",
    "entropy",
    "doctor",
    "gen",
    "trust_score",
    "neighbor_agreement",
    "rel_u",
    "platt_msp",
)
TIE = 0.002
KEY = ["set", "base", "form", "seed", "n_train"]


class Observed(NamedTuple):
    """Out-of-fold or test predictions, and everything else that a method may use."""

    X: object
    y: np.ndarray
    matrix: np.ndarray
    proba: np.ndarray
    is_error: np.ndarray
    y_pred: np.ndarray = None
    net: object = None


class Cell:
    """The data and the base of one cell; each fit of the base is kept in `memory`.

    A subclass sets `sample`, `base`, `cv`, `refit` and `seed`.
    """

    def __init__(self, memory):
        self.memory = memory

    def fit(self, meta_learner, *, meta_features="one_pass", cv=None, observed_share="auto"):
        """Fit a MetaErrorClassifier on the training rows."""
        clf = MetaErrorClassifier(
            self.base,
            meta_learner,
            meta_features=meta_features,
            observed_share=observed_share,
            cv=self.cv if cv is None else cv,
            refit=self.refit,
            memory=self.memory,
            random_state=self.seed,
        )
        return clf.fit(self.sample.X_train, self.sample.y_train, groups=self.sample.groups)

    def representation(self, clf, X):
        """Return a fitted transformer that turns rows into the columns of Trust Score and UQ360."""
        raise NotImplementedError

    def observe(self, cv=None):
        """Return out-of-fold predictions of the training rows and predictions of the test rows."""
        probas = []

        def record(X, proba):
            probas.append(proba)
            return np.zeros(len(proba))

        start = time.perf_counter()
        clf = self.fit("confidence", meta_features=["confidence", record], cv=cv)
        self.seconds = {"cross_fit_seconds": time.perf_counter() - start}
        X, y, X_test, y_test, _ = self.sample
        tested = np.flatnonzero(~np.isnan(clf.oof_error_proba_))
        X = X.iloc[tested] if hasattr(X, "iloc") else X[tested]
        representation = self.representation(clf, X)
        start = time.perf_counter()
        y_pred = clf.predict(X_test)
        self.base_predict_seconds = time.perf_counter() - start
        clf.predict_error_proba(X_test)
        matrix, matrix_test = representation.transform(X), representation.transform(X_test)
        train = Observed(X, y[tested], matrix, probas[0], clf.oof_error_[tested])
        proba_test = np.concatenate(probas[1:])
        is_error = y_pred != y_test
        test = Observed(X_test, y_test, matrix_test, proba_test, is_error, y_pred, clf.estimator_)
        return train, test


# Each method maps (cell, training rows) to a function of test rows that returns error scores.


def confidence_score(score, cell, train):
    return lambda test: -score(test.proba)


def msp(cell, train):
    # Called through its module, because worker processes cannot unpickle a bare ufunc of a script.
    return lambda test: special.expit(-max_probability(test.proba, log_odds=True))


def neighbor_score(scorer, cell, train):
    scorer.fit(train.matrix, train.y)
    return lambda test: -scorer.score_samples(test.matrix, test.y_pred)


def rel_u(cell, train):
    scorer = RelativeUncertainty().fit(train.proba, train.is_error)
    return lambda test: -scorer.score_samples(test.proba)


def platt(cell, train):
    predict = platt_msp(train.proba, train.is_error)
    return lambda test: predict(test.proba)


def uq360(cell, train):
    hold_out = cell.observe(cv=0.2)[0] if cell.refit else train
    predict = uq360_metamodel(hold_out.matrix, hold_out.proba, hold_out.is_error)
    return lambda test: predict(test.matrix, test.proba)


def ours(meta_learner, meta_features, cell, train):
    clf = cell.fit(meta_learner, meta_features=meta_features)
    return lambda test: clf.predict_error_proba(test.X)


FIT = {
    "msp": msp,
    "margin": partial(confidence_score, margin),
    "entropy": partial(confidence_score, negative_entropy),
    "doctor": partial(confidence_score, doctor),
    "gen": partial(confidence_score, generalized_entropy),
    "trust_score": partial(neighbor_score, TrustScore()),
    "neighbor_agreement": partial(neighbor_score, NeighborAgreement()),
    "rel_u": rel_u,
    "platt_msp": platt,
    "uq360": uq360,
    **{name: partial(ours, name, "one_pass") for name in OURS},
    "auto": partial(ours, "auto", "auto"),  # the default
}
# The other methods only rank: log-loss and Brier score need probabilities.
PROBABILITIES = {"msp", "platt_msp", "uq360", *OURS}
# All other methods use the base's probabilities, so its prediction time is added to theirs.
PREDICT_THEMSELVES = set(OURS)


def ignore_expected_warnings():
    """Few errors and rare classes are part of the grid."""
    warnings.simplefilter("ignore", UserWarning)
    warnings.simplefilter("ignore", ConvergenceWarning)


def score_methods(cell, methods, fit, *, probabilities, predict_themselves):
    """Return one row of measurements per method."""
    train, test = cell.observe()
    common = {
        "n_test": len(test.y),
        "n_train_errors": int(train.is_error.sum()),
        "error_rate": test.is_error.mean(),
        **cell.seconds,
    }
    base_predict_seconds = cell.base_predict_seconds
    rows = []
    for method in methods:
        start = time.perf_counter()
        score = fit[method](cell, train)
        fitted = time.perf_counter()
        error_score = score(test)
        predict_seconds = time.perf_counter() - fitted
        if method not in predict_themselves:
            predict_seconds += base_predict_seconds
        rows.append(
            {
                "method": method,
                **common,
                **measure(test.is_error, error_score, method in probabilities),
                "fit_seconds": fitted - start,
                "predict_seconds": predict_seconds,
            }
        )
    return rows


def measure(is_error, error_score, is_probability):
    return {
        "auroc": error_roc_auc(is_error, error_score),
        "aurc": aurc(is_error, error_score),
        "excess_aurc": excess_aurc(is_error, error_score),
        "augrc": augrc(is_error, error_score),
        "fpr95": fpr_at_tpr(is_error, error_score),
        "log_loss": error_log_loss(is_error, error_score) if is_probability else np.nan,
        "brier": error_brier_score(is_error, error_score) if is_probability else np.nan,
    }


class Comparison(NamedTuple):
    """Tables of cells x methods."""

    auroc: pd.DataFrame
    excess_aurc: pd.DataFrame
    fpr95: pd.DataFrame
    log_loss: pd.DataFrame
    seconds: pd.DataFrame
    predict_seconds: pd.DataFrame
    best_simple: pd.Series
    n_train_errors: pd.Series


def compare(rows, methods, simple=SIMPLE):
    """Return the tables; "best simple" is the best method of `simple` in each cell."""

    def pivot(value):
        table = rows.pivot_table(index=KEY, columns="method", values=value, dropna=False)
        return table.loc[has_both, [m for m in methods if m in set(rows["method"])]]

    # AUROC is not defined for a cell whose test predictions are all right or all wrong.
    has_both = rows.groupby(KEY)["auroc"].agg(lambda values: values.notna().all())
    has_both = has_both.index[has_both]
    auroc = pivot("auroc")
    return Comparison(
        auroc,
        pivot("excess_aurc"),
        pivot("fpr95"),
        pivot("log_loss"),
        pivot("fit_seconds"),
        pivot("predict_seconds"),
        auroc[[m for m in simple if m in auroc]].max(axis=1),
        rows.groupby(KEY)["n_train_errors"].first().loc[has_both],
    )


def win_tie_loss(difference):
    wins, losses = (difference > TIE).sum(), (difference < -TIE).sum()
    return f"{wins}/{len(difference) - wins - losses}/{losses}"


def mean_rank(auroc):
    """Return mean ranks, best first. Platt-MSP has the order of MSP, so it gets the same rank."""
    rank = auroc.drop(columns="platt_msp").rank(axis=1, ascending=False).mean()
    rank["platt_msp"] = rank["msp"]
    return rank.sort_values(kind="stable")


def excess_ratio(c, method):
    """Return the sum of excess AURC over the cells, as a share of that of MSP."""
    return c.excess_aurc[method].sum() / c.excess_aurc["msp"].sum()


def summary_table(c):
    """Return one line per method, best mean rank first."""
    rank = mean_rank(c.auroc)
    table = {}
    for method in rank.index:
        gain, loss = c.auroc[method] - c.auroc["msp"], c.log_loss[method] - c.log_loss["platt_msp"]
        better = "" if loss.isna().all() else f"{loss.mean():+.3f} / {(loss < 0).mean():.0%}"
        table[method] = {
            "rank": f"{rank[method]:.1f}",
            "AUROC": f"{c.auroc[method].mean():.3f}",
            "against MSP": f"{gain.mean():+.3f}",
            "worst": f"{gain.min():+.3f}",
            "w/t/l MSP": win_tie_loss(gain),
            "w/t/l best simple": win_tie_loss(c.auroc[method] - c.best_simple),
            "E-AURC / MSP": f"{excess_ratio(c, method):.2f}",
            "FPR95": f"{c.fpr95[method].mean():.3f}",
            "log-loss against Platt": better,
            "fit s": f"{c.seconds[method].median():.2f}",
            "predict s": f"{c.predict_seconds[method].median():.2f}",
        }
    return pd.DataFrame(table).T.rename_axis("method")


def gains(c, by):
    """Return the results of the default in each group of cells."""
    gain = c.auroc["auto"] - c.auroc["msp"]
    groups = gain.groupby(level=by)
    table = pd.DataFrame(
        {
            "MSP": c.auroc["msp"].groupby(level=by).mean().map("{:.3f}".format),
            "best simple": c.best_simple.groupby(level=by).mean().map("{:.3f}".format),
            "auto": c.auroc["auto"].groupby(level=by).mean().map("{:.3f}".format),
            "worst against MSP": groups.min().map("{:+.3f}".format),
            "w/t/l MSP": groups.apply(win_tie_loss),
            "w/t/l best simple": (c.auroc["auto"] - c.best_simple)
            .groupby(level=by)
            .apply(win_tie_loss),
        }
    )
    return table.rename_axis(by)


def worst_cells(c, method, n_cells=8):
    """Return the cells with the lowest gains of a method over MSP."""
    gain = (c.auroc[method] - c.auroc["msp"]).sort_values().head(n_cells)
    cells = gain.index
    return pd.DataFrame(
        {
            "cell": [" ".join(cell) for cell in cells],
            "training errors": c.n_train_errors[cells].astype(str).to_numpy(),
            "MSP": c.auroc["msp"][cells].map("{:.3f}".format).to_numpy(),
            "best simple": c.best_simple[cells].map("{:.3f}".format).to_numpy(),
            method: c.auroc[method][cells].map("{:.3f}".format).to_numpy(),
            "against MSP": gain.map("{:+.4f}".format).to_numpy(),
        }
    ).set_index("cell")


def print_claim(claim):
    """Print each (statement, value, holds), and return whether all hold."""
    for statement, value, holds in claim:
        print(f"{'held' if holds else 'LOST'}  {statement}: {value}")
    return all(holds for _, _, holds in claim)
