"""Does the error model find the errors of a classifier better than its own confidence?

Question
    Every method scores the same predictions of the same deployed classifier on real tables. How
    well does it separate wrong predictions from right ones? Are the error probabilities calibrated?
    ``bench_vision.py`` has the same question about nets on images.

Data
    Every table of METAERR_DATA/tabular (1,500 training rows, at most 60 %; up to 4,000 test rows) x
    six bases in a Pipeline over the raw frame (impute, scale, one-hot) x three seeds, which draw
    the rows and seed all methods. Without METAERR_DATA: the tables that scikit-learn ships.

Baselines
    Scores without learning: max probability (MSP, with its order kept if p1 rounds to 1), margin,
    entropy, DOCTOR, GEN. Fitted scores: Trust Score and neighbor agreement (on scaled columns),
    Rel-U, Platt-scaled MSP. UQ360's meta-model, fitted on a hold-out of 20 % and applied to the
    deployed base. "best simple" is the best of these in each cell, except UQ360. It is chosen with
    the test labels, so nobody can deploy it.

Columns
    "fit s" is the time to learn the error from given out-of-fold predictions. "predict s" is the
    time from raw test rows to error scores. Both are medians over cells. The column
    "cross_fit_seconds" of the rows has the time of all fits of the base and of calibrating it.

Claim (written before the run; a tie is a difference of at most 0.002 AUROC)
    The default beats MSP in at least 92 % of cells and loses by more than 0.02 in none, by more
    than 0.01 in none with more than 30 training errors; gains at least 0.05 on average; has at
    most 0.65 of MSP's excess AURC; a lower log-loss than Platt-MSP in at least 95 % of cells; and
    beats the best simple baseline in at least 85 % of cells.

If the claim is lost, the exit status is 1. ``--quick`` (a minute) checks a weaker claim on small
data and keeps no rows.

Run ``python benchmarks/bench_failure_prediction.py --n-jobs 2``. If a run is interrupted, the next
one continues it.
"""

import argparse
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

from _data import SHIPPED_TABLES, data_folder, sample_table, table_names
from _failure_prediction import (
    FIT,
    OURS,
    PREDICT_THEMSELVES,
    PROBABILITIES,
    SIMPLE,
    TIE,
    Cell,
    compare,
    excess_ratio,
    gains,
    ignore_expected_warnings,
    mean_rank,
    print_claim,
    score_methods,
    summary_table,
    worst_cells,
)
from _runner import format_table, run_grid
from joblib import Memory
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

RESULTS = Path(__file__).parent / "results"

BASES = {
    "logistic_regression": LogisticRegression(max_iter=1000),
    "gaussian_nb": GaussianNB(),
    "random_forest": RandomForestClassifier(),
    "hist_gradient_boosting": HistGradientBoostingClassifier(),
    "knn": KNeighborsClassifier(),
    "svc": SVC(),
}
METHODS = (*SIMPLE, "uq360", *OURS)


class TableCell(Cell):
    """A base in a Pipeline over the raw frame."""

    cv, refit = 5, True

    def __init__(self, key, memory):
        super().__init__(memory)
        self.seed = key["seed"]
        self.sample = sample_table(key["set"], n_train=key["n_train"], seed=self.seed)
        numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        self.columns = ColumnTransformer(
            [
                ("numeric", numeric, make_column_selector(dtype_include="number")),
                ("categorical", one_hot, make_column_selector(dtype_exclude="number")),
            ]
        )
        self.base = make_pipeline(clone(self.columns), BASES[key["base"]])

    def representation(self, clf, X):
        return self.columns.fit(self.sample.X_train)


def compute_cell(cache, key, methods):
    """Return one row of measurements per method."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        ignore_expected_warnings()
        return score_methods(
            TableCell(key, Memory(cache or folder, verbose=0)),
            methods,
            FIT,
            probabilities=PROBABILITIES,
            predict_themselves=PREDICT_THEMSELVES,
        )


def full_claim(c):
    """Return (statement, value, holds) for each part of the claim."""
    gain = c.auroc["auto"] - c.auroc["msp"]
    known = gain[c.n_train_errors > 30]
    wins, simple = (gain > TIE).mean(), (c.auroc["auto"] - c.best_simple > TIE).mean()
    ratio = excess_ratio(c, "auto")
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


def quick_claim(c):
    """Return a weaker claim, for a minute on small data."""
    gain = (c.auroc["auto"] - c.auroc["msp"]).mean()
    rank = mean_rank(c.auroc.drop(columns=[m for m in OURS[1:] if m in c.auroc]))
    return [
        ("gains over MSP on average", f"{gain:+.4f}", gain > 0),
        ("among the first three in mean rank", f"{rank['auto']:.2f}", "auto" in rank.index[:3]),
    ]


def report(rows, check):
    """Print the tables, check the claim, and return whether it holds."""
    c = compare(rows, METHODS)
    print(f"\n{len(c.auroc)} cells. worst: lowest AUROC gain. w/t/l: wins/ties/losses by {TIE}.\n")
    print(format_table(summary_table(c)), end="\n\n")
    for by in ("set", "base"):
        if c.auroc.index.get_level_values(by).nunique() > 1:
            print(format_table(gains(c, by)), end="\n\n")
    print(format_table(worst_cells(c, "auto")), end="\n\n")
    return print_claim(check(c))


def parse_args(args=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small data, takes a minute, keeps no rows"
    )
    parser.add_argument("--sets", nargs="+", help="default: all that are found")
    parser.add_argument("--bases", nargs="+", choices=list(BASES), default=list(BASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--n-train", type=int, default=1500)
    parser.add_argument("--n-jobs", type=int, default=1, help="cells in parallel")
    parser.add_argument("--redo", nargs="+", default=[], metavar="METHOD", help="compute again")
    parser.add_argument("--cache", help="folder that keeps the fits of the bases")
    return parser.parse_args(args)


def main(args):
    sets, seeds, bases, check = args.sets or table_names(), args.seeds, args.bases, full_claim
    if args.quick:
        check, seeds = quick_claim, seeds[:1]
        bases = ["logistic_regression", "gaussian_nb", "random_forest"]
        if not args.sets:
            with_data = data_folder() is not None
            sets = ["phoneme", "satimage", "credit_g"] if with_data else list(SHIPPED_TABLES)
    cells = [
        {"set": name, "base": base, "form": "crossfit", "seed": seed, "n_train": args.n_train}
        for seed in seeds
        for name in sets
        for base in bases
    ]
    methods = list(dict.fromkeys(["msp", "platt_msp", *args.methods, "auto"]))
    compute = partial(compute_cell, args.cache)
    options = {"methods": methods, "redo": args.redo, "n_jobs": args.n_jobs}
    name = "failure_prediction_tabular.csv"
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            rows = run_grid(cells, compute, Path(folder) / name, **options)
    else:
        rows = run_grid(cells, compute, RESULTS / name, **options)
    return 0 if report(rows, check) else 1


if __name__ == "__main__":
    sys.exit(main(parse_args()))
