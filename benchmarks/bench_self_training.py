"""Do pseudo-labels chosen by predicted error make a better model than confident ones do?

Question
    Few labels, many unlabeled rows: how accurate is the base after self-training on new rows,
    against the base trained on the labels alone and against other ways to use unlabeled rows?

Data
    ``--part tabular``: every table of METAERR_DATA/tabular and scikit-learn's digits (without
    METAERR_DATA: the tables that scikit-learn ships) x four bases in a Pipeline over the raw frame
    x 10, 25, 100 labels per class (at most a third of a class) x five seeds; 1,000 unlabeled rows
    (at most half of the rest), up to 4,000 test rows. Classes below 1 % of a table are left out.
    Labels are drawn class by class; ``--draw random`` draws as many rows as they come, at least two
    of a class.
    ``--part vision``: Fashion-MNIST, CIFAR-10 (subset), MNIST, GTSRB (subset; labeled and unlabeled
    images come from different tracks) x a small CNN (1,000 steps from scratch whatever the number
    of images, one-cycle, shifts and flips) x the same budgets x three seeds; 4,000 unlabeled
    images, 4,000 test images. ``--bases resnet`` takes a small ResNet (500 steps, images of half
    the side, because a fit takes minutes).

Rivals
    Supervised only; scikit-learn's self-training (thresholds .75, .9; k_best of 10 % a round);
    curriculum labeling by confidence, entropy and margin; UPS; FlexMatch's class thresholds; two
    rounds at a high threshold from scratch (nets); the fold ensemble's labels without a meta-model;
    LabelSpreading; and the oracle: the true labels of the unlabeled rows. The default of nets gives
    the labeled images at least half of all weight. "half labeled" is a rival that does so, too.

Claim, tabular (written before the run; default settings, test accuracy)
    With 10 labels per class, over logistic regression and random forest: mean gain over supervised
    at least +1.5 points, over self-training at .75 at least +2 points, no run below supervised by
    more than 4 points; from 25 labels on no run by more than 2 points.

Claim, vision
    The default's mean over sets and budgets is above supervised and above every rival.

A lost claim ends with exit status 1. ``--quick`` (a minute) checks on small data that the default
gains, and keeps no rows.

Run ``python benchmarks/bench_self_training.py --part tabular``. An interrupted run continues where
it stopped.
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
from _data import image_names, load_images, load_table, table_names
from _rivals import (
    class_thresholds,
    confidence_rounds,
    curriculum_labeling,
    fold_ensemble,
    label_spreading,
    oracle,
    self_training,
    supervised,
    take,
    ups,
)
from _runner import format_table, run_grid
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from metaerr_sklearn import SelfTrainingWithMetaErr
from metaerr_sklearn.confidence import margin, max_probability, negative_entropy

RESULTS = Path(__file__).parent / "results"

BASES = {
    "logistic_regression": LogisticRegression(max_iter=1000),
    "random_forest": RandomForestClassifier(),
    "hist_gradient_boosting": HistGradientBoostingClassifier(),
    "mlp": MLPClassifier((64,), max_iter=300),
}
NETS = ("cnn", "resnet")
FLIPPED = ("fashion-mnist", "cifar10")

OURS = {
    "auto": {},
    "auto, label shares": {"class_prior": "labeled"},
    "weight": {"criterion": "weight"},
    "weight, max probability": {"criterion": "weight", "meta_learner": None},
    "threshold": {"criterion": "threshold"},
    "k_best": {"criterion": "k_best", "k_best": 100},
    "certain": {"criterion": "certain"},
}
COMMON = (
    "supervised",
    "self-training .75",
    "self-training .90",
    "self-training k_best",
    "curriculum labeling",
    "entropy selection",
    "margin selection",
    "class thresholds",
    "UPS",
    "fold ensemble",
    "label spreading",
    "oracle",
)
METHODS = {
    "tabular": (*COMMON, *OURS),
    "vision": (
        *COMMON,
        "two rounds .95",
        "UPS, half labeled",
        "two rounds .95, half labeled",
        *OURS,
    ),
}


class CountFits(TransformerMixin, BaseEstimator):
    """Pass rows through and count how often the pipeline behind is fitted."""

    n_fits = 0

    def fit(self, X, y=None):
        CountFits.n_fits += 1
        return self

    def transform(self, X):
        return X

    def __sklearn_is_fitted__(self):
        return True


class Task(NamedTuple):
    """Labeled rows first, then unlabeled ones (-1 in y)."""

    X: object
    y: np.ndarray
    y_true: np.ndarray
    X_test: object
    y_test: np.ndarray


def draw_table(name, labels_per_class, seed, draw):
    """Draw labeled, unlabeled and test rows of a table."""
    X, y = load_table(name)
    labels, counts = np.unique(y, return_counts=True)
    rows = np.flatnonzero(np.isin(y, labels[counts >= 0.01 * len(y)]))
    rng = np.random.default_rng(seed)
    rows = rng.permutation(rows)
    y = np.unique(y[rows], return_inverse=True)[1]
    first = {c: np.flatnonzero(y == c) for c in range(y.max() + 1)}
    sizes = {c: min(labels_per_class, len(own) // 3) for c, own in first.items()}
    if draw == "class":
        labeled = np.concatenate([own[: sizes[c]] for c, own in first.items()])
    else:
        two = np.concatenate([own[:2] for own in first.values()])
        others = np.setdiff1d(np.arange(len(y)), two)
        labeled = np.concatenate([two, others[: sum(sizes.values()) - len(two)]])
    rest = rng.permutation(np.setdiff1d(np.arange(len(y)), labeled))
    n_unlabeled = min(1000, len(rest) // 2)
    unlabeled, test = rest[:n_unlabeled], rest[n_unlabeled : n_unlabeled + 4000]
    used = np.concatenate([labeled, unlabeled])
    partly = np.where(np.arange(len(used)) < len(labeled), y[used], -1)
    return Task(
        X.iloc[rows[used]].reset_index(drop=True),
        partly,
        y[used],
        X.iloc[rows[test]].reset_index(drop=True),
        y[test],
    )


def draw_images(name, labels_per_class, seed, draw, n_unlabeled=4000, n_test=4000):
    """Draw images; where frames belong to tracks, labeled and unlabeled tracks differ."""
    full, rng = load_images(name), np.random.default_rng(seed)
    y, groups = full.y_train, full.groups
    order = rng.permutation(len(y))
    labeled, taken = [], np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        own = order[y[order] == label]
        if groups is not None:
            tracks = rng.permutation(np.unique(groups[own]))
            tracks = tracks[: max(1, min(labels_per_class, len(tracks) // 2))]
            taken |= np.isin(groups, tracks)
            own = own[np.isin(groups[own], tracks)]
            # One frame of each track before a second one of any.
            rank = pd.Series(groups[own]).groupby(groups[own]).cumcount().to_numpy()
            own = own[np.argsort(rank, kind="stable")]
        labeled.append(own[:labels_per_class])
    labeled = np.concatenate(labeled)
    taken[labeled] = True
    unlabeled = order[~taken[order]][:n_unlabeled]
    test = rng.permutation(len(full.y_test))[:n_test]
    used = np.concatenate([labeled, unlabeled])
    partly = np.where(np.arange(len(used)) < len(labeled), y[used], -1)
    return Task(full.X_train[used], partly, y[used], full.X_test[test], full.y_test[test])


def columns():
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numeric", numeric, make_column_selector(dtype_include="number")),
            ("categorical", one_hot, make_column_selector(dtype_exclude="number")),
        ]
    )


class Cell:
    """Data and base of one cell."""

    def __init__(self, key):
        self.is_net, self.seed = key["base"] in NETS, key["seed"]
        draw = draw_images if self.is_net else draw_table
        self.task = draw(key["set"], key["labels_per_class"], self.seed, key["draw"])
        self.cv = 3 if self.is_net else 5
        self.rng = np.random.default_rng(self.seed)
        if self.is_net:
            from _nets import CountTrainings, make_cnn, make_resnet, make_step_net

            self.counter = CountTrainings
            make_net, n_steps = make_cnn, 1000
            if key["base"] == "resnet":
                X, X_test = halved(self.task.X), halved(self.task.X_test)
                self.task = self.task._replace(X=X, X_test=X_test)
                make_net, n_steps = partial(make_resnet, width=16, dropout=0.2), 500
            n_classes = self.task.y.max() + 1
            net = make_net(self.task.X, n_classes, flip=key["set"] in FLIPPED)
            self.base = make_step_net(net, n_steps=n_steps)
            self.view = make_pipeline(FunctionTransformer(flatten), PCA(40, random_state=0))
        else:
            self.counter = CountFits
            self.base = make_pipeline(CountFits(), columns(), clone(BASES[key["base"]]))
            if "random_state" in BASES[key["base"]].get_params():
                self.base[-1].set_params(random_state=self.seed)
            self.view = columns()

    def fit(self, rows, labels):
        """Train the base from scratch."""
        base = clone(self.base)
        if self.is_net:
            import torch

            torch.manual_seed(int(self.rng.integers(2**31)))
        return base.fit(take(self.task.X, rows), labels[rows])

    def fit_half_labeled(self, rows, labels):
        """Train with the labeled rows repeated until they are about half of all rows."""
        labeled = rows[self.task.y[rows] >= 0]
        n_times = max(1, round((len(rows) - len(labeled)) / len(labeled)))
        return self.fit(np.concatenate([rows, np.tile(labeled, n_times - 1)]), labels)

    def run(self, rival, *, fit=None, **params):
        return rival(fit or self.fit, self.task.X, self.task.y, self.rng, **params)

    def ours(self, **params):
        model = SelfTrainingWithMetaErr(self.base, cv=self.cv, random_state=self.seed, **params)
        model.fit(self.task.X, self.task.y)
        return model, model.transduction_

    def dropout_passes(self, net, X):
        from metaerr_sklearn.neural import mc_dropout_proba

        return mc_dropout_proba(net, X, n_passes=8, return_passes=True, random_state=0)[1]

    def splits(self):
        y = self.task.y[self.task.y >= 0]
        n_folds = min(self.cv, np.bincount(y).min())
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=self.seed)
        return [train for train, _ in folds.split(y, y)]

    def compute(self, method):
        """Return the model and its pseudo-labels."""
        if method in OURS:
            return self.ours(**OURS[method])
        nets = self.is_net
        tau, n_rounds = (0.95, 2) if nets else (0.9, 5)
        passes = {"passes": self.dropout_passes, "n_rounds": 2} if nets else {}
        return {
            "supervised": partial(self.run, supervised),
            "self-training .75": partial(self.run, self_training, threshold=0.75),
            "self-training .90": partial(self.run, self_training, threshold=0.9),
            "self-training k_best": partial(self.run, self_training, share=0.1),
            "two rounds .95": partial(self.run, confidence_rounds, threshold=0.95),
            "curriculum labeling": partial(self.run, curriculum_labeling, score=max_probability),
            "entropy selection": partial(self.run, curriculum_labeling, score=negative_entropy),
            "margin selection": partial(self.run, curriculum_labeling, score=margin),
            "class thresholds": partial(
                self.run, class_thresholds, threshold=tau, n_rounds=n_rounds
            ),
            "UPS": partial(self.run, ups, **passes),
            "UPS, half labeled": partial(self.run, ups, fit=self.fit_half_labeled, **passes),
            "two rounds .95, half labeled": partial(
                self.run, confidence_rounds, fit=self.fit_half_labeled, threshold=0.95
            ),
            "fold ensemble": lambda: self.run(fold_ensemble, splits=self.splits()),
            "label spreading": partial(self.run, label_spreading, view=self.view),
            "oracle": partial(self.run, oracle, y_true=self.task.y_true),
        }[method]()


def flatten(images):
    return images.reshape(len(images), -1)


def halved(images):
    """Return the means of squares of 2 x 2 pixels."""
    n, n_channels, height, width = images.shape
    squares = images.reshape(n, n_channels, height // 2, 2, width // 2, 2)
    return squares.mean(axis=(3, 5), dtype=images.dtype)


def mean_error_proba(model, X):
    """Return the mean predicted error probability; NaN for rivals, which predict none."""
    has_error_proba = hasattr(model, "predict_error_proba")
    return model.predict_error_proba(X).mean() if has_error_proba else np.nan


def compute_cell(key, methods):
    """Return one row of measurements per method."""
    if key["base"] in NETS:
        import torch

        torch.set_num_threads(1)  # cells run side by side; one small net does not gain by threads
    with warnings.catch_warnings():
        # Unscaled columns of one-hot codes, nearly singular graphs, rare classes: part of the grid.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        cell = Cell(key)
        task, unlabeled = cell.task, cell.task.y < 0
        rows = []
        for method in methods:
            cell.counter.n_fits, start = 0, time.perf_counter()
            model, labels = cell.compute(method)
            seconds = time.perf_counter() - start
            predicted = model.predict(task.X_test)
            used = labels[unlabeled] >= 0
            right = labels[unlabeled][used] == task.y_true[unlabeled][used]
            rows.append(
                {
                    "method": method,
                    "n_labeled": np.count_nonzero(~unlabeled),
                    "n_unlabeled": np.count_nonzero(unlabeled),
                    "n_test": len(task.y_test),
                    "accuracy": accuracy_score(task.y_test, predicted),
                    "mean_error_proba": mean_error_proba(model, task.X_test),
                    "balanced_accuracy": balanced_accuracy_score(task.y_test, predicted),
                    "label_precision": right.mean() if len(right) else np.nan,
                    "share_used": used.mean(),
                    "n_fits": cell.counter.n_fits,
                    "seconds": seconds,
                }
            )
    return rows


# --- Summary

RUN = ["set", "base", "seed"]


def pivot(rows, value="accuracy"):
    """Return runs x methods in percent."""
    return 100 * rows.pivot_table(index=RUN, columns="method", values=value)


def interval(difference, n_draws=2000):
    """Return the 95 % interval of the mean over data sets, drawn with replacement."""
    means = difference.groupby(level="set").mean().to_numpy()
    drawn = np.random.default_rng(0).choice(means, (n_draws, len(means))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"[{low:+.1f}, {high:+.1f}]"


def summary_table(rows, methods):
    """Return one line per method, best mean first."""
    accuracy, balanced = pivot(rows), pivot(rows, "balanced_accuracy")
    means = rows.groupby("method")[["label_precision", "share_used", "n_fits", "seconds"]].mean()
    table = {}
    for method in sorted(methods, key=lambda m: -accuracy[m].mean()):
        gain = accuracy[method] - accuracy["supervised"]
        line = {
            "accuracy": f"{accuracy[method].mean():.1f}",
            "gain": f"{gain.mean():+.2f}",
            "95 % over sets": interval(gain),
            "worst": f"{gain.min():+.1f}",
            "wins": f"{(gain > 0).mean():.0%}",
        }
        if "self-training .75" in accuracy:
            line["over .75"] = f"{(accuracy[method] - accuracy['self-training .75']).mean():+.2f}"
        gain = balanced[method] - balanced["supervised"]
        own = means.loc[method]
        used = own["share_used"] > 0
        table[method] = line | {
            "balanced gain": f"{gain.mean():+.2f}",
            "precision": f"{own['label_precision']:.0%}" if used else "",
            "used": f"{own['share_used']:.0%}" if used else "",
            "fits": f"{own['n_fits']:.0f}",
            "seconds": f"{own['seconds']:.1f}",
        }
    return pd.DataFrame(table).T.rename_axis("method")


def gains_by_set(rows, methods):
    accuracy = pivot(rows)
    gain = accuracy[methods].sub(accuracy["supervised"], axis=0).groupby(level="set").mean()
    return gain.map("{:+.1f}".format).rename_axis("set")


def tabular_claim(rows):
    """Return (statement, value, holds) for each part of the claim."""
    rows = rows[rows["base"].isin(["logistic_regression", "random_forest"])]
    few = pivot(rows[rows["labels_per_class"] == "10"])
    claim = []
    if len(few):
        gain = few["auto"] - few["supervised"]
        claim += [
            ("10 labels: gain over supervised >= +1.5", f"{gain.mean():+.2f}", gain.mean() >= 1.5),
            ("10 labels: worst run >= -4", f"{gain.min():+.2f}", gain.min() >= -4),
        ]
    if "self-training .75" in few:
        over = (few["auto"] - few["self-training .75"]).mean()
        claim.append(("10 labels: over self-training .75 >= +2", f"{over:+.2f}", over >= 2))
    for budget in ("25", "100"):
        more = pivot(rows[rows["labels_per_class"] == budget])
        if len(more):
            worst = (more["auto"] - more["supervised"]).min()
            claim.append((f"{budget} labels: worst run >= -2", f"{worst:+.2f}", worst >= -2))
    return claim


def vision_claim(rows):
    """Return (statement, value, holds) for each part of the claim."""
    runs = [*RUN, "labels_per_class"]
    accuracy = 100 * rows.pivot_table(index=runs, columns="method", values="accuracy")
    claim = []
    for rival in (m for m in accuracy if m not in OURS and m != "oracle"):
        # In pairs: an unfinished grid lacks some runs of some rivals.
        lead = (accuracy["auto"] - accuracy[rival]).dropna()
        shown = f"{lead.mean():+.2f}, 95 % over sets {interval(lead)}"
        claim.append((f"mean above {rival}", shown, lead.mean() > 0))
    return claim


def quick_claim(rows):
    """Return the claim that a minute on small data can carry."""
    accuracy = pivot(rows)
    gain = (accuracy["auto"] - accuracy["supervised"]).mean()
    return [("gains over supervised on average", f"{gain:+.2f}", gain > 0)]


def report(rows, methods, check):
    """Print the tables, check the claim, and return whether it holds."""
    for budget in sorted(rows["labels_per_class"].unique(), key=int):
        part = rows[rows["labels_per_class"] == budget]
        for base, own in part.groupby("base"):
            n_runs = len(own[RUN].drop_duplicates())
            print(f"\n{base}, {budget} labels per class, {n_runs} runs; gains in points.\n")
            print(format_table(summary_table(own, methods)))
            some = [m for m in methods if (m != "supervised" and len(methods) <= 6) or m in SHOWN]
            print("\n" + format_table(gains_by_set(own, some)))
    print()
    claim = check(rows)
    for statement, value, holds in claim:
        print(f"{'held' if holds else 'LOST'}  {statement}: {value}")
    return all(holds for _, _, holds in claim)


SHOWN = ("self-training .75", "self-training .90", "UPS", "weight", "auto", "oracle")


def parse_args(args=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["tabular", "vision"], default="tabular")
    parser.add_argument("--quick", action="store_true", help="small data, a minute, nothing kept")
    parser.add_argument("--sets", nargs="+", help="default: all at hand")
    parser.add_argument("--bases", nargs="+", choices=[*BASES, *NETS], default=list(BASES))
    parser.add_argument("--labels-per-class", nargs="+", type=int, default=[10, 25, 100])
    parser.add_argument("--draw", choices=["class", "random"], default="class")
    parser.add_argument("--methods", nargs="+", help="default: all of the part")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: five, three for images")
    parser.add_argument("--n-jobs", type=int, default=1, help="cells at once")
    parser.add_argument("--redo", nargs="+", default=[], metavar="METHOD", help="compute anew")
    return parser.parse_args(args)


def main(args):
    is_vision = args.part == "vision"
    sets, bases, budgets = args.sets, args.bases, args.labels_per_class
    seeds = args.seeds or range(3 if is_vision else 5)
    methods, check = METHODS[args.part], vision_claim if is_vision else tabular_claim
    if args.quick:
        check, seeds, budgets = quick_claim, [0, 1, 2], [10]
        bases = ["logistic_regression", "random_forest"]
        methods = ("supervised", "self-training .75", "weight", "auto", "oracle")
        sets = sets or (["digits"] if is_vision else ["digits", "breast_cancer", "wine"])
    if sets is None:
        sets = image_names() if is_vision else table_names()
        sets = sets if is_vision or "digits" in sets else [*sets, "digits"]
    if is_vision:
        bases = [base for base in args.bases if base in NETS] or ["cnn"]
        if args.draw != "class":
            raise SystemExit("Images are drawn class by class: --draw random is for tables.")
    methods = list(dict.fromkeys(["supervised", *(args.methods or methods), "auto"]))
    cells = [
        {"set": name, "base": base, "labels_per_class": k, "draw": args.draw, "seed": seed}
        for k in budgets
        for seed in seeds
        for base in bases
        for name in sets
    ]
    options = {"methods": methods, "redo": args.redo, "n_jobs": args.n_jobs}
    name = f"self_training_{args.part}.csv"
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            rows = run_grid(cells, compute_cell, Path(folder) / name, **options)
    else:
        rows = run_grid(cells, compute_cell, RESULTS / name, **options)
    return 0 if report(rows, methods, check) else 1


if __name__ == "__main__":
    sys.exit(main(parse_args()))
