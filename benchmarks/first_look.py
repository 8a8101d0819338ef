"""Does the error probability separate wrong predictions from right ones better than confidence?

Question
    How high is the AUROC of the error probability on test data, compared with confidence scores?
Data
    Tables and images that scikit-learn ships (breast cancer, wine, digits). If METAERR_DATA is set,
    also Fashion-MNIST (3,000 training images).
Baselines
    Max probability, margin and entropy of the same classifier.
Seeds
    Three random splits into halves; the table shows means.
Claim
    The error probability has a higher AUROC than max probability on average over the rows of the
    table.

Run ``python benchmarks/first_look.py``: two to three minutes on two cores.
"""

import sys
import warnings

import numpy as np
from _data import data_folder, sample_images
from _nets import make_cnn
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn.confidence import margin, max_probability, negative_entropy

METHODS = {
    "error probability": None,
    "max probability": lambda proba: max_probability(proba, log_odds=True),
    "margin": margin,
    "entropy": negative_entropy,
}


def tables():
    """Yield name, base, X and y of each table."""
    bases = {
        "logistic": LogisticRegression(C=0.01),
        "naive Bayes": GaussianNB(),
        "5-NN": KNeighborsClassifier(),
        "forest": RandomForestClassifier(100),
    }
    for name, load in (
        ("cancer", load_breast_cancer),
        ("wine", load_wine),
        ("digits", load_digits),
    ):
        X, y = load(return_X_y=True)
        for base_name, base in bases.items():
            yield f"{name}, {base_name}", make_pipeline(StandardScaler(), base), X, y


def aurocs(clf, X, y):
    """Return the error rate and the AUROC of each method, or None if AUROC is not defined."""
    labels, error_proba = clf.predict_with_error(X)
    is_error = labels != y
    if is_error.all() or not is_error.any():
        return None
    proba = clf.predict_proba(X)
    scores = [error_proba, *(-confidence(proba) for confidence in list(METHODS.values())[1:])]
    return [is_error.mean(), *(roc_auc_score(is_error, score) for score in scores)]


def main():
    """Fit, measure, print the table, check the claim."""
    warnings.filterwarnings("ignore", ".*fewer than the 5 that a meta-learner needs")
    tasks = [
        (name, base, split, 5, seed)
        for name, base, X, y in tables()
        for seed in range(3)
        for split in [train_test_split(X, y, train_size=0.5, stratify=y, random_state=seed)]
    ]
    X, y = load_digits(return_X_y=True)
    images = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    for seed in range(3):
        split = train_test_split(images, y, train_size=0.4, stratify=y, random_state=seed)
        tasks.append(("digits images, CNN", make_cnn(images, 10), split, 3, seed))
    if data_folder() is not None:
        split = sample_images("fashion-mnist", n_train=3000, seed=0)
        cnn = make_cnn(split.X_train, 10, flip=True)
        task = (split.X_train, split.X_test, split.y_train, split.y_test)
        tasks.append(("Fashion-MNIST, CNN", cnn, task, 3, 0))

    rows = {}
    for name, base, (X_train, X_test, y_train, y_test), cv, seed in track(tasks, "Fitting"):
        clf = MetaErrorClassifier(base, cv=cv, random_state=seed).fit(X_train, y_train)
        row = aurocs(clf, X_test, y_test)
        if row is not None:
            rows.setdefault(name, []).append(row)

    table = Table(title="AUROC of error prediction (mean over splits; best in bold)")
    for column in ("data, classifier", "error rate", *METHODS):
        table.add_column(column, justify="left" if column.startswith("data") else "right")
    means = {name: np.mean(values, axis=0) for name, values in rows.items()}
    for name, (error_rate, *values) in means.items():
        cells = [f"[bold]{v:.3f}[/]" if v == max(values) else f"{v:.3f}" for v in values]
        table.add_row(name, f"{error_rate:.3f}", *cells)
    overall = np.mean(list(means.values()), axis=0)
    table.add_section()
    table.add_row("mean", *(f"{value:.3f}" for value in overall))
    Console(width=100).print(table)
    wins = sum(row[1] > row[2] for row in means.values())
    gain = overall[1] - overall[2]
    rows_won = f"{wins} of {len(means)} rows"
    print(f"error probability above max probability on {rows_won}; mean gain {gain:+.3f}")
    return 0 if gain > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
