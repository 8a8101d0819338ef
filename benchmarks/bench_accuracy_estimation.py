"""Is the accuracy that `estimate_accuracy` estimates without labels close to the real one?

Question
    How far is the estimate from the real accuracy of a batch, also if the batch is shifted? How
    often does its 95 % interval contain the real accuracy?

Data
    Every table of METAERR_DATA/tabular (1,500 training rows, at most 60 %; up to 4,000 other rows,
    from which batches are taken) x four bases x three seeds. Without METAERR_DATA: the tables that
    scikit-learn ships.

Batches
    "random": 200 rows. Two covariate shifts, up to 500 rows each: "cluster" is one of eight k-means
    clusters, "end" is the lowest or the highest fifth of a column. "label": 500 rows, one class is
    drawn six times as often as the others; no method claims to handle this shift.

Baselines
    "training": the out-of-fold accuracy. "MSP": mean probability of the predicted class. DoC
    (Guillory et al. 2021): training accuracy + the change of the mean MSP. ATC (Garg et al. 2022):
    share of rows above an MSP threshold; the threshold is set such that the share of training rows
    above it equals the training accuracy. Both get out-of-fold probabilities.

Claim (written before the run)
    On shifted batches (cluster, end) the mean absolute error is below that of "training" and of
    "MSP" in at least 90 % of tables x bases each, and below that of DoC and of ATC on average. The
    interval contains the real accuracy of at least 95 % of random and 85 % of shifted batches.

If the claim is lost, the exit status is 1. ``--quick`` (a minute) checks the claim on few tables
and one seed, and keeps no rows. Run ``python benchmarks/bench_accuracy_estimation.py``.
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
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn.representation import NumericRepresentation

RESULTS = Path(__file__).parent / "results"
METHODS = ["ours", "training", "MSP", "DoC", "ATC"]
SHIFTED = ["cluster", "end"]
KINDS = ["random", *SHIFTED, "label"]


def make_base(name, seed):
    base = {
        "logistic": LogisticRegression(max_iter=500),
        "forest": RandomForestClassifier(100, min_samples_leaf=2, random_state=seed),
        "boosting": HistGradientBoostingClassifier(max_iter=50, random_state=seed),
        "naive Bayes": GaussianNB(var_smoothing=1e-2),
    }[name]
    return make_pipeline(NumericRepresentation(random_state=seed), base)


def draw_batches(data, seed):
    """Yield kind and positions of batches of the test rows."""
    rng = np.random.default_rng(seed)
    n_samples = len(data.y_test)
    for _ in range(10):
        yield "random", rng.choice(n_samples, min(200, n_samples // 2), replace=False)
    matrix = NumericRepresentation(random_state=seed).fit(data.X_train).transform(data.X_test)
    cluster = KMeans(8, n_init=1, random_state=seed).fit_predict(matrix)
    for number in range(8):
        rows = rng.permutation(np.flatnonzero(cluster == number))
        if len(rows) >= 50:
            yield "cluster", rows[:500]
    for column in rng.choice(matrix.shape[1], min(5, matrix.shape[1]), replace=False):
        order = np.lexsort((rng.random(n_samples), matrix[:, column]))
        fifth = n_samples // 5
        yield "end", rng.permutation(order[:fifth])[:500]
        yield "end", rng.permutation(order[-fifth:])[:500]
    for label in np.unique(data.y_test)[:5]:
        weight = np.where(data.y_test == label, 6.0, 1.0)
        size = min(500, n_samples // 3)
        yield "label", rng.choice(n_samples, size, replace=False, p=weight / weight.sum())


def compute_cell(cell, methods):
    """Return for each method its absolute error and its coverage on each kind of batch."""
    seed = int(cell["seed"])
    data = sample_table(cell["set"], n_train=1500, seed=seed)
    base = make_base(cell["base"], seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few rows in a class and few errors are expected here
        clf = MetaErrorClassifier(base, random_state=seed).fit(data.X_train, data.y_train)
        oof = cross_val_predict(
            base,
            data.X_train,
            data.y_train,
            cv=StratifiedKFold(5, shuffle=True, random_state=seed),
            method="predict_proba",
        ).max(axis=1)
    training = 1 - clf.oof_error_rate_
    threshold = np.quantile(oof, clf.oof_error_rate_)
    is_right = clf.predict(data.X_test) == data.y_test
    confidence = clf.predict_proba(data.X_test).max(axis=1)
    found = {method: {kind: [] for kind in KINDS} for method in METHODS}
    covered = {kind: [] for kind in KINDS}
    for kind, rows in draw_batches(data, seed):
        accuracy = is_right[rows].mean()
        estimate = clf.estimate_accuracy(data.X_test.iloc[rows])
        guesses = {
            "ours": estimate.accuracy,
            "training": training,
            "MSP": confidence[rows].mean(),
            "DoC": training + confidence[rows].mean() - oof.mean(),
            "ATC": (confidence[rows] >= threshold).mean(),
        }
        for method, guess in guesses.items():
            found[method][kind].append(abs(guess - accuracy))
        covered[kind].append(estimate.low <= accuracy <= estimate.high)
    rows = []
    for method in methods:
        holds = covered if method == "ours" else dict.fromkeys(KINDS)
        row = {f"error_{kind}": mean(found[method][kind]) for kind in KINDS}
        row |= {f"covered_{kind}": mean(holds[kind]) for kind in KINDS}
        rows.append({"method": method, **row})
    return rows


def mean(values):
    return np.mean(values) if values else np.nan


def report(rows):
    """Print the table, and return whether the claim holds."""
    errors = rows.groupby("method")[[f"error_{kind}" for kind in KINDS]].mean().loc[METHODS]
    table = (100 * errors).map("{:.1f}".format)
    table.columns = KINDS
    covered = rows[rows["method"] == "ours"][[f"covered_{kind}" for kind in KINDS]].mean()
    table.loc["95 % interval contains it"] = [f"{100 * value:.0f} %" for value in covered]
    print("Mean absolute error of the estimated accuracy, in percentage points\n")
    print(format_table(table.rename_axis("batches")))

    rows = rows.assign(shifted=rows[[f"error_{kind}" for kind in SHIFTED]].mean(axis=1))
    cells = rows.pivot_table(index=["set", "base"], columns="method", values="shifted")
    wins = {other: (cells["ours"] < cells[other]).mean() for other in METHODS[1:]}
    better = ", ".join(f"{name} in {100 * share:.0f} %" for name, share in wins.items())
    print(f"\nOn shifted batches closer than {better} of {len(cells)} tables x bases.")
    held = covered[[f"covered_{kind}" for kind in SHIFTED]].min()
    return bool(
        min(wins["training"], wins["MSP"]) >= 0.9
        and cells["ours"].mean() < min(cells["DoC"].mean(), cells["ATC"].mean())
        and covered["covered_random"] >= 0.95
        and held >= 0.85
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="takes a minute, keeps no rows")
    parser.add_argument("--n-jobs", type=int, default=1)
    args = parser.parse_args()
    sets, seeds = table_names(), [1, 2, 3]
    if args.quick:
        sets = ["phoneme", "satimage", "credit_g"] if data_folder() is not None else sets
        seeds = [1]
    cells = [
        {"set": name, "base": base, "seed": seed}
        for seed in seeds
        for name in sets
        for base in ("logistic", "forest", "boosting", "naive Bayes")
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = (Path(folder) if args.quick else RESULTS) / "accuracy_estimation.csv"
        rows = run_grid(cells, compute_cell, path, methods=METHODS, n_jobs=args.n_jobs)
    kept = report(pd.DataFrame(rows))
    print("Claim held." if kept else "CLAIM LOST.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
