"""Do folds that keep duplicated rows together give the accuracy on new rows?

Question
    A base that memorises rows scores too well on a row whose duplicate is in the training part of
    its fold. If new rows repeat training rows just as often, that score is right, and folds that
    keep duplicates together give one that is too low. Which rule makes the right choice?

Data
    Every table of METAERR_DATA/tabular (1,000 training rows, at most 60 %; up to 2,000 test rows)
    x eleven cases x two bases, seed 1. Without METAERR_DATA: the tables of scikit-learn.

Cases (training and test rows are made in the same way)
    "as it is". New rows are not training rows: "doubled" (each row twice), "oversampled" (rows of
    the rarest class drawn with replacement until it is as large as the largest), "raters" (each row
    three times, labeled by three people who are wrong on 20 %), "a quarter copied" (25 % of the
    rows once more), "rounded" (each row again, with its numbers in single precision). New rows may
    be training rows: "few columns" (the three columns with the fewest values), "grid" (five numeric
    columns in three bins each), "short list" (rows drawn from a list of 200, as products or stores
    are; 10 % of the labels differ from the label in the list), "grid, one label" and "short list,
    one label" (as before, but equal rows have equal labels).

Bases
    1-nearest neighbour; a forest of 25 trees.

Methods (each gives an out-of-fold accuracy, five folds)
    "random": folds ignore duplicates. "together": duplicates always share a fold. "one stage":
    they share a fold if most rows of a class have a duplicate. "labels": as "one stage", but not if
    more than 2 % of the pairs of equal rows disagree on the label and the number of duplicates is
    as uneven as in random draws. "package": what `MetaErrorClassifier` does.

Measured
    The out-of-fold accuracy minus the accuracy on the test rows, in percentage points.

Claim (written before the full run, after one with ``--quick``)
    The mean absolute error of "package" is at most 1.5 points above the better of "random" and
    "together" in every case, and at least 5 points below that of "random" in "doubled". In no case
    is its out-of-fold accuracy more than 2.5 points too high on average. ("together" compares rows
    as they are. In "rounded" it is therefore no better than "random".)

A lost claim ends with exit status 1. ``--quick`` (a minute) takes two tables and keeps no rows. Run
``python benchmarks/bench_duplicates.py``.
"""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _data import data_folder, sample_table, table_names
from _runner import format_table, run_grid
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn.representation import NumericRepresentation

RESULTS = Path(__file__).parent / "results"
METHODS = ["random", "together", "one stage", "labels", "package"]
CASES = [
    "as it is",
    "doubled",
    "oversampled",
    "raters",
    "a quarter copied",
    "rounded",
    "few columns",
    "grid",
    "short list",
    "grid, one label",
    "short list, one label",
]


def make_base(name, seed):
    forest = RandomForestClassifier(25, random_state=seed)
    base = {"1-NN": KNeighborsClassifier(1), "forest": forest}[name]
    return make_pipeline(NumericRepresentation(random_state=seed), base)


def make_rows(case, data, seed):
    """Return training and test rows of a case, as two pairs of frame and labels."""
    rng = np.random.default_rng(seed)
    parts = (data.X_train, data.y_train), (data.X_test, data.y_test)
    if case == "few columns":
        n_values = data.X_train.nunique()
        columns = n_values[n_values > 1].nsmallest(3).index
        return [(X[columns], y) for X, y in parts]
    if case.startswith("grid"):
        numbers = data.X_train.select_dtypes("number")
        columns = numbers.nunique().nlargest(5).index
        edges = {name: numbers[name].quantile([1 / 3, 2 / 3]).to_numpy() for name in columns}
        frames = [
            pd.DataFrame({name: np.searchsorted(edges[name], X[name]) for name in columns})
            for X, _ in parts
        ]
        labels = data.y_train, data.y_test
        if case.endswith("one label"):  # of the first row of each cell
            cell = pd.concat(frames).groupby(list(columns)).ngroup().to_numpy()
            first = np.unique(cell, return_index=True)[1]
            labels = np.split(np.concatenate(labels)[first][cell], [len(data.y_train)])
        return list(zip(frames, labels))
    if case.startswith("short list"):
        share = 0.0 if case.endswith("one label") else 0.1
        listed = rng.choice(len(data.y_train), min(200, len(data.y_train) // 2), replace=False)
        drawn = [rng.choice(listed, len(y)) for _, y in parts]
        return [(take(data.X_train, r), mislabel(data.y_train[r], share, rng)) for r in drawn]
    return [repeat_rows(case, X, y, rng) for X, y in parts]


def repeat_rows(case, X, y, rng):
    """Repeat rows as a case does."""
    rows = np.repeat(np.arange(len(y)), {"doubled": 2, "raters": 3}.get(case, 1))
    if case == "oversampled":
        labels, counts = np.unique(y, return_counts=True)
        rarest = np.flatnonzero(y == labels[counts.argmin()])
        n_more = max(counts.max(), 2 * counts.min()) - counts.min()
        rows = np.concatenate([rows, rng.choice(rarest, n_more)])
    elif case == "a quarter copied":
        rows = np.concatenate([rows, rng.choice(rows, len(y) // 4, replace=False)])
    elif case == "rounded":
        numbers = X.select_dtypes("number").columns
        X = pd.concat([X, X.assign(**X[numbers].astype(np.float32).astype(np.float64))])
        y, rows = np.tile(y, 2), np.arange(2 * len(y))
    rows = rng.permutation(rows)
    return take(X, rows), mislabel(y[rows], 0.2 if case == "raters" else 0.0, rng)


def take(X, rows):
    return X.iloc[rows].reset_index(drop=True)


def mislabel(y, share, rng):
    """Replace a share of the labels by labels of other rows."""
    return np.where(rng.random(len(y)) < share, rng.permutation(y), y)


def are_duplicates(method, duplicate_id, y):
    """Return whether a method keeps equal rows in one fold."""
    if method in ("random", "together"):
        return method == "together"
    n_equal = np.bincount(duplicate_id)
    repeated = pd.Series(n_equal[duplicate_id] > 1).groupby(y).agg(["mean", "size"])
    if not (repeated["mean"][repeated["size"] >= 10] > 0.5).any():
        return False
    if method == "one stage":
        return True
    n_agreeing = pd.Series(y).groupby([duplicate_id, y]).size()
    n_pairs, n_agreeing_pairs = (np.sum(n * (n - 1) / 2) for n in (n_equal, n_agreeing))
    disagree = n_pairs - n_agreeing_pairs > max(5, 0.02 * n_pairs)
    return not (disagree and n_equal.var() > 0.3 * n_equal.mean())


def compute_cell(cell, methods):
    """Return for each method its out-of-fold accuracy beside the accuracy on the test rows."""
    seed = int(cell["seed"])
    data = sample_table(cell["set"], n_train=1000, seed=seed, max_test=2000)
    (X, y), (X_test, y_test) = make_rows(cell["case"], data, seed)
    duplicate_id = X.groupby(list(X.columns), dropna=False).ngroup().to_numpy()
    base = make_base(cell["base"], seed)
    folds = {"shuffle": True, "random_state": seed}
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few rows in a class, few errors: expected here
        accuracy = clone(base).fit(X, y).score(X_test, y_test)
        predicted = {
            False: cross_val_predict(base, X, y, cv=StratifiedKFold(5, **folds)),
            True: cross_val_predict(
                base, X, y, groups=duplicate_id, cv=StratifiedGroupKFold(5, **folds)
            ),
        }
        for method in methods:
            if method == "package":
                clf = MetaErrorClassifier(
                    base, "confidence", meta_features=["confidence"], random_state=seed
                )
                oof_accuracy = 1 - clf.fit(X, y).oof_error_rate_
            else:
                oof_accuracy = np.mean(predicted[are_duplicates(method, duplicate_id, y)] == y)
            rows.append({"method": method, "accuracy": accuracy, "oof_accuracy": oof_accuracy})
    return rows


def report(rows):
    """Print the tables, and return whether the claim is kept."""
    rows["difference"] = 100 * (rows["oof_accuracy"] - rows["accuracy"])
    rows["error"] = rows["difference"].abs()
    order = {"index": CASES, "columns": METHODS}
    error, bias = (
        rows.pivot_table(index="case", columns="method", values=values).reindex(**order)
        for values in ("error", "difference")
    )
    for title, table in (("Mean absolute error", error), ("Mean difference", bias)):
        print(f"{title} of the out-of-fold accuracy, in percentage points\n")
        print(format_table(table.map("{:.1f}".format).rename_axis(columns=None)), "\n")
    excess = error["package"] - error[["random", "together"]].min(axis=1)
    gain = error.loc["doubled", "random"] - error.loc["doubled", "package"]
    return bool((excess <= 1.5).all() and gain >= 5 and (bias["package"] <= 2.5).all())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute; keeps no rows")
    parser.add_argument("--n-jobs", type=int, default=1)
    args = parser.parse_args()
    sets = table_names()
    if args.quick:
        sets = ["phoneme", "credit_g"] if data_folder() is not None else sets[:2]
    cells = [
        {"set": name, "case": case, "base": base, "seed": 1}
        for name in sets
        for case in CASES
        for base in ("1-NN", "forest")
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = (Path(folder) if args.quick else RESULTS) / "duplicates.csv"
        rows = run_grid(cells, compute_cell, path, methods=METHODS, n_jobs=args.n_jobs)
    kept = report(rows)
    print("Claim kept." if kept else "CLAIM LOST.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
