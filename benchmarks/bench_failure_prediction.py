"""Does the error model find the errors of a classifier better than its own confidence?

Question
    Every method scores the same predictions of the same deployed classifier on real data. How well
    does it separate wrong predictions from right ones? Are the error probabilities calibrated?

Data
    ``--part tabular``: every table of METAERR_DATA/tabular (1,500 training rows, at most 60 %; up
    to 4,000 test rows) x six bases in a Pipeline over the raw frame (impute, scale, one-hot) x
    three seeds, which draw the rows and seed all methods. Without METAERR_DATA: the tables that
    scikit-learn ships.
    ``--part vision``: Fashion-MNIST, CIFAR-10 (subset), MNIST, GTSRB (subset; frames of one track
    stay together) with 3,000 training images x a small CNN, "crossfit" (3 folds, then trained on
    all) or "prefit" (trained on two thirds, the error learned on the last third) x three seeds.

Baselines
    Scores without learning: max probability (MSP, with its order kept if p1 rounds to 1), margin,
    entropy, DOCTOR, GEN. Fitted scores: Trust Score and neighbor agreement (on scaled columns; 40
    principal components of images; the last hidden layer of a prefit net), Rel-U, Platt-scaled MSP.
    UQ360's meta-model, fitted on a hold-out of 20 % ("prefit": the rows held out) and applied to
    the deployed base. For nets also MC-dropout, energy, largest logit, and the method of the
    MetaErr paper: a CNN that learns the error from the raw images. "best simple" is the best of
    these in each cell, except UQ360 and the paper's method. It is chosen with the test labels, so
    nobody can deploy it. "augmented" is our default with four shifted views (and a mirrored one of
    photographs) of each image.

Columns
    "fit s" is the time to learn the error from given out-of-fold predictions. "predict s" is the
    time from raw test rows to error scores. Both are medians over cells. The column
    "cross_fit_seconds" of the rows has the time of all fits of the base and of calibrating it.

Claim, tabular (written before the run; a tie is a difference of at most 0.002 AUROC)
    The default beats MSP in at least 92 % of cells and loses by more than 0.02 in none, by more
    than 0.01 in none with more than 30 training errors; gains at least 0.05 on average; has at
    most 0.65 of MSP's excess AURC; a lower log-loss than Platt-MSP in at least 95 % of cells; and
    beats the best simple baseline in at least 85 % of cells.

Claim, vision
    The default is first in mean rank by AUROC among itself and all baselines, and on Fashion-MNIST
    (crossfit) at or above the best of MSP and entropy for every seed.

If the claim is lost, the exit status is 1. ``--quick`` (a minute) checks a weaker claim on small
data and keeps no rows.

Run ``python benchmarks/bench_failure_prediction.py --part tabular --n-jobs 2``. If a run is
interrupted, the next one continues it.
"""

import argparse
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from _data import SHIPPED_TABLES, data_folder, image_names, sample_images, sample_table, table_names
from _peers import platt_msp, uq360_metamodel
from _runner import format_table, run_grid
from joblib import Memory
from scipy import special
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from metaerr_sklearn import MetaErrorClassifier
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

RESULTS = Path(__file__).parent / "results"

BASES = {
    "logistic_regression": LogisticRegression(max_iter=1000),
    "gaussian_nb": GaussianNB(),
    "random_forest": RandomForestClassifier(),
    "hist_gradient_boosting": HistGradientBoostingClassifier(),
    "knn": KNeighborsClassifier(),
    "svc": SVC(),
}
FLIPPED = ("fashion-mnist", "cifar10")

OURS = ("auto", "lightgbm", "mlp", "logistic", "confidence")
AUGMENTED = "augmented"  # the default with test-time augmentation, for nets
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
FOR_NETS = ("mc_dropout", "energy", "max_logit")
METHODS = {
    "tabular": (*SIMPLE, "uq360", *OURS),
    "vision": (*SIMPLE, *FOR_NETS, "uq360", "paper_cnn", *OURS, AUGMENTED),
}
# The other methods only rank: log-loss and Brier score need probabilities.
PROBABILITIES = {"msp", "platt_msp", "mc_dropout", "uq360", "paper_cnn", *OURS, AUGMENTED}
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
    """The data and the base of one cell; each fit of the base is kept in `memory`."""

    def __init__(self, key, memory):
        self.is_net, self.seed = key["base"] == "cnn", key["seed"]
        self.refit = key["form"] == "crossfit"
        draw = sample_images if self.is_net else sample_table
        self.sample = draw(key["set"], n_train=key["n_train"], seed=self.seed)
        self.memory = memory
        if self.is_net:
            from _nets import make_cnn

            X, n_classes = self.sample.X_train, len(np.unique(self.sample.y_train))
            self.flip = key["set"] in FLIPPED
            self.base = make_cnn(X, n_classes, flip=self.flip)
            self.columns = make_pipeline(FunctionTransformer(flatten), PCA(40, random_state=0))
            self.cv = 3 if self.refit else 1 / 3
        else:
            numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
            one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
            self.columns = ColumnTransformer(
                [
                    ("numeric", numeric, make_column_selector(dtype_include="number")),
                    ("categorical", one_hot, make_column_selector(dtype_exclude="number")),
                ]
            )
            self.base = make_pipeline(clone(self.columns), BASES[key["base"]])
            self.cv = 5

    def fit(self, meta_learner, *, meta_features="auto", cv=None):
        """Fit a MetaErrorClassifier on the training rows."""
        clf = MetaErrorClassifier(
            self.base,
            meta_learner,
            meta_features=meta_features,
            cv=self.cv if cv is None else cv,
            refit=self.refit,
            memory=self.memory,
            random_state=self.seed,
        )
        return clf.fit(self.sample.X_train, self.sample.y_train, groups=self.sample.groups)

    def observe(self, cv=None):
        """Return out-of-fold predictions of the training rows and predictions of the test rows."""
        probas = []

        def record(X, proba):
            probas.append(proba)
            return np.zeros(len(proba))

        start = time.perf_counter()
        clf = self.fit("confidence", meta_features=["confidence", record], cv=cv)
        self.cross_fit_seconds = time.perf_counter() - start
        X, y, X_test, y_test, _ = self.sample
        tested = np.flatnonzero(~np.isnan(clf.oof_error_proba_))
        X = X.iloc[tested] if hasattr(X, "iloc") else X[tested]
        if self.is_net and not self.refit:
            # All methods may use the last hidden layer of a prefit net, as our default does.
            from metaerr_sklearn.neural import TorchEmbedding

            representation = TorchEmbedding(clf.estimator_).fit(X)
        else:
            representation = self.columns.fit(self.sample.X_train)
        start = time.perf_counter()
        y_pred = clf.predict(X_test)
        self.base_predict_seconds = time.perf_counter() - start
        clf.predict_error_proba(X_test)
        matrix, matrix_test = representation.transform(X), representation.transform(X_test)
        train = Observed(X, y[tested], matrix, probas[0], clf.oof_error_[tested])
        net = clf.estimator_ if self.is_net else None
        test = Observed(
            X_test, y_test, matrix_test, np.concatenate(probas[1:]), y_pred != y_test, y_pred, net
        )
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


def mc_dropout(cell, train):
    from metaerr_sklearn.neural import mc_dropout_proba

    def predict(test):
        proba = mc_dropout_proba(test.net, test.X, random_state=cell.seed)
        return special.expit(-max_probability(proba, log_odds=True))

    return predict


def energy(cell, train):
    from metaerr_sklearn.neural import energy_confidence

    return lambda test: -energy_confidence(test.net, test.X)


def max_logit(cell, train):
    from metaerr_sklearn.neural import max_logit_confidence

    return lambda test: -max_logit_confidence(test.net, test.X)


def paper_cnn(cell, train):
    from _nets import make_cnn

    clf = cell.fit(make_cnn(train.X, 2), meta_features="input")
    return lambda test: clf.predict_error_proba(test.X)


def ours(meta_learner, cell, train):
    clf = cell.fit(meta_learner)
    return lambda test: clf.predict_error_proba(test.X)


def augmented(cell, train):
    from metaerr_sklearn.neural import AugmentedConfidence

    views = AugmentedConfidence(flip=cell.flip)
    clf = cell.fit("auto", meta_features=["confidence", "neighbors", "second_opinion", views])
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
    "mc_dropout": mc_dropout,
    "energy": energy,
    "max_logit": max_logit,
    "paper_cnn": paper_cnn,
    **{name: partial(ours, name) for name in OURS},
    AUGMENTED: augmented,
}
# All other methods use the base's probabilities, so its prediction time is added to theirs.
PREDICT_THEMSELVES = {"mc_dropout", "energy", "max_logit", "paper_cnn", *OURS, AUGMENTED}


def compute_cell(cache, key, methods):
    """Return one row of measurements per method."""
    if key["base"] == "cnn":
        import torch

        # Cells run in parallel, and a small net gains nothing from threads.
        torch.set_num_threads(1)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # Few errors and rare classes are part of the grid.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        cell = Cell(key, Memory(cache or folder, verbose=0))
        train, test = cell.observe()
        common = {
            "n_test": len(test.y),
            "n_train_errors": int(train.is_error.sum()),
            "error_rate": test.is_error.mean(),
            "cross_fit_seconds": cell.cross_fit_seconds,
        }
        base_predict_seconds = cell.base_predict_seconds
        rows = []
        for method in methods:
            start = time.perf_counter()
            score = FIT[method](cell, train)
            fitted = time.perf_counter()
            error_score = score(test)
            predict_seconds = time.perf_counter() - fitted
            if method not in PREDICT_THEMSELVES:
                predict_seconds += base_predict_seconds
            rows.append(
                {
                    "method": method,
                    **common,
                    **measure(test.is_error, error_score, method in PROBABILITIES),
                    "fit_seconds": fitted - start,
                    "predict_seconds": predict_seconds,
                }
            )
    return rows


def flatten(images):
    return images.reshape(len(images), -1)


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


def compare(rows):
    def pivot(value):
        table = rows.pivot_table(index=KEY, columns="method", values=value, dropna=False)
        return table.loc[has_both, [m for m in METHODS["vision"] if m in set(rows["method"])]]

    # AUROC is not defined for a cell whose test predictions are all right or all wrong.
    has_both = rows.groupby(KEY)["auroc"].agg(lambda values: values.notna().all())
    has_both = has_both.index[has_both]
    auroc = pivot("auroc")
    simple = [m for m in (*SIMPLE, *FOR_NETS) if m in auroc]
    return Comparison(
        auroc,
        pivot("excess_aurc"),
        pivot("fpr95"),
        pivot("log_loss"),
        pivot("fit_seconds"),
        pivot("predict_seconds"),
        auroc[simple].max(axis=1),
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
            "E-AURC / MSP": f"{c.excess_aurc[method].sum() / c.excess_aurc['msp'].sum():.2f}",
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


def worst_cells(c, n_cells=8):
    """Return the cells with the lowest gains of the default over MSP."""
    gain = (c.auroc["auto"] - c.auroc["msp"]).sort_values().head(n_cells)
    cells = gain.index
    return pd.DataFrame(
        {
            "cell": [" ".join(cell) for cell in cells],
            "training errors": c.n_train_errors[cells].astype(str).to_numpy(),
            "MSP": c.auroc["msp"][cells].map("{:.3f}".format).to_numpy(),
            "best simple": c.best_simple[cells].map("{:.3f}".format).to_numpy(),
            "auto": c.auroc["auto"][cells].map("{:.3f}".format).to_numpy(),
            "against MSP": gain.map("{:+.4f}".format).to_numpy(),
        }
    ).set_index("cell")


def tabular_claim(c):
    """Return (statement, value, holds) for each part of the claim."""
    gain = c.auroc["auto"] - c.auroc["msp"]
    known = gain[c.n_train_errors > 30]
    wins, simple = (gain > TIE).mean(), (c.auroc["auto"] - c.best_simple > TIE).mean()
    ratio = c.excess_aurc["auto"].sum() / c.excess_aurc["msp"].sum()
    calibrated = (c.log_loss["auto"] < c.log_loss["platt_msp"]).mean()
    return [
        ("beats MSP in at least 92 % of cells", f"{wins:.1%}", wins >= 0.92),
        ("loses to MSP by more than 0.02 in none", f"{gain.min():+.4f}", gain.min() >= -0.02),
        (
            "... by more than 0.01 in none with over 30 training errors",
            f"{known.min():+.4f}",
            not known.min() < -0.01,
        ),
        ("mean gain over MSP at least 0.05", f"{gain.mean():+.4f}", gain.mean() >= 0.05),
        ("excess AURC at most 0.65 of MSP's", f"{ratio:.3f}", ratio <= 0.65),
        (
            "log-loss below Platt-MSP in at least 95 % of cells",
            f"{calibrated:.1%}",
            calibrated >= 0.95,
        ),
        ("beats the best simple baseline in at least 85 %", f"{simple:.1%}", simple >= 0.85),
    ]


def vision_claim(c):
    """Return (statement, value, holds) for each part of the claim."""
    rank = mean_rank(c.auroc.drop(columns=[m for m in (*OURS[1:], AUGMENTED) if m in c.auroc]))
    claim = [
        (
            "first in mean rank among the default and all baselines",
            f"{rank['auto']:.2f}, best other {rank.drop('auto').iloc[0]:.2f}",
            rank.index[0] == "auto",
        )
    ]
    fashion = c.auroc.query("set == 'fashion-mnist' and form == 'crossfit'")
    if len(fashion):
        lead = fashion["auto"] - fashion[["msp", "entropy"]].max(axis=1)
        claim.append(
            (
                "Fashion-MNIST: at or above the best of MSP and entropy, every seed",
                f"{lead.min():+.4f}",
                lead.min() >= 0,
            )
        )
    return claim


def quick_claim(c):
    """Return a weaker claim, for a minute on small data."""
    gain = (c.auroc["auto"] - c.auroc["msp"]).mean()
    rank = mean_rank(c.auroc.drop(columns=[m for m in (*OURS[1:], AUGMENTED) if m in c.auroc]))
    return [
        ("gains over MSP on average", f"{gain:+.4f}", gain > 0),
        ("among the first three in mean rank", f"{rank['auto']:.2f}", "auto" in rank.index[:3]),
    ]


def report(rows, check):
    """Print the tables, check the claim, and return whether it holds."""
    c = compare(rows)
    print(f"\n{len(c.auroc)} cells. worst: lowest AUROC gain. w/t/l: wins/ties/losses by {TIE}.\n")
    print(format_table(summary_table(c)), end="\n\n")
    for by in ("set", "base", "form"):
        if c.auroc.index.get_level_values(by).nunique() > 1:
            print(format_table(gains(c, by)), end="\n\n")
    print(format_table(worst_cells(c)), end="\n\n")
    claim = check(c)
    for statement, value, holds in claim:
        print(f"{'held' if holds else 'LOST'}  {statement}: {value}")
    return all(holds for _, _, holds in claim)


def parse_args(args=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["tabular", "vision"], default="tabular")
    parser.add_argument(
        "--quick", action="store_true", help="small data, takes a minute, keeps no rows"
    )
    parser.add_argument("--sets", nargs="+", help="default: all that are found")
    parser.add_argument("--bases", nargs="+", choices=list(BASES), default=list(BASES))
    parser.add_argument("--forms", nargs="+", choices=["crossfit", "prefit"])
    parser.add_argument("--methods", nargs="+", help="default: all of the part")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--n-train", type=int, help="default: 1500 rows, 3000 images")
    parser.add_argument("--n-jobs", type=int, default=1, help="cells in parallel")
    parser.add_argument("--redo", nargs="+", default=[], metavar="METHOD", help="compute again")
    parser.add_argument("--cache", help="folder that keeps the predictions of the bases")
    return parser.parse_args(args)


def main(args):
    is_vision = args.part == "vision"
    sets = args.sets or (image_names() if is_vision else table_names())
    seeds, bases, forms = args.seeds, args.bases, args.forms or ["crossfit", "prefit"]
    n_train = args.n_train or (3000 if is_vision else 1500)
    check = vision_claim if is_vision else tabular_claim
    if args.quick:
        check, seeds = quick_claim, seeds[:1]
        bases = ["logistic_regression", "gaussian_nb", "random_forest"]
        if not args.sets:
            sets = ["digits"] if is_vision else list(SHIPPED_TABLES)
            if not is_vision and data_folder() is not None:
                sets = ["phoneme", "satimage", "credit_g"]
    if is_vision:
        bases = ["cnn"]
    cells = [
        {"set": name, "base": base, "form": form, "seed": seed, "n_train": n_train}
        for seed in seeds
        for name in sets
        for base in bases
        for form in (forms if is_vision else ["crossfit"])
    ]
    methods = args.methods or METHODS[args.part]
    methods = list(dict.fromkeys(["msp", "platt_msp", *methods, "auto"]))
    compute = partial(compute_cell, args.cache)
    options = {"methods": methods, "redo": args.redo, "n_jobs": args.n_jobs}
    name = f"failure_prediction_{args.part}.csv"
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            rows = run_grid(cells, compute, Path(folder) / name, **options)
    else:
        rows = run_grid(cells, compute, RESULTS / name, **options)
    return 0 if report(rows, check) else 1


if __name__ == "__main__":
    sys.exit(main(parse_args()))
