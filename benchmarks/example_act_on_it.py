"""Use predicted errors: review, abstain with a guarantee, watch the accuracy without labels.

An example on real data. If METAERR_DATA is set: will the price of electricity in New South Wales
rise? The model is trained on the first 10,000 half-hours and then used on a market that changes
(the table is in time order). Otherwise: the scanned digits that scikit-learn ships. They become
harder from batch to batch, until the scanner breaks.

The output shows three things. (1) On rows like the calibration rows the guaranteed error rate of
2 % is kept. (2) The accuracy estimate, made without labels, falls for harder batches. (3) Its
novelty is high for batches that are unlike the training rows; for these neither the estimate nor
the guarantee holds. A changed relation between X and y cannot be detected from X alone: some
batches of electricity have a low novelty and a wrong estimate.

Run ``python benchmarks/example_act_on_it.py`` (under a minute); ``--plot FILE`` draws the
risk-coverage curve and the stream.
"""

import argparse
from typing import NamedTuple

import numpy as np
import pandas as pd
from _data import data_folder, load_table
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier, failure_report
from metaerr_sklearn.metrics import risk_at_coverage
from metaerr_sklearn.slices import error_slices


class Story(NamedTuple):
    """The rows for training and calibration, and the batches that arrive later."""

    X: pd.DataFrame
    y: np.ndarray
    batches: list


def electricity():
    """Return the first 10,000 rows, and batches of all later rows in time order."""
    X, y = load_table("electricity")
    starts = range(10_000, len(y) - 2_500, 2_500)
    batches = [(X[start : start + 2_500], y[start : start + 2_500]) for start in starts]
    return Story(X[:10_000], y[:10_000], batches)


def digits():
    """Return batches of digits that become harder, with noise on the last two."""
    X, y = load_table("digits")
    X, X_stream, y, y_stream = train_test_split(X, y, train_size=1300, stratify=y, random_state=0)
    rng = np.random.default_rng(0)
    hard = np.isin(y_stream, ["1", "8", "9"])
    batches = []
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8):
        rows = np.concatenate(
            [
                rng.choice(np.flatnonzero(hard), round(150 * share), replace=False),
                rng.choice(np.flatnonzero(~hard), round(150 * (1 - share)), replace=False),
            ]
        )
        noise = rng.normal(0, 4, (150, X.shape[1])) if len(batches) >= 5 else 0
        batches.append((X_stream.iloc[rows] + noise, y_stream[rows]))
    return Story(X, y, batches)


def heading(text):
    print(f"\n{text}\n{'-' * len(text)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plot", metavar="FILE", help="draw a picture into this file")
    args = parser.parse_args()
    story = digits() if data_folder() is None else electricity()
    X, X_new, y, y_new = train_test_split(story.X, story.y, train_size=0.6, random_state=0)
    X_calibration, X_test, y_calibration, y_test = train_test_split(
        X_new, y_new, train_size=0.5, random_state=0
    )

    heading(f"1. Train on {len(y):,} rows, test on {len(y_test):,} others")
    base = RandomForestClassifier(100, min_samples_leaf=2, random_state=0)
    clf = MetaErrorClassifier(base, random_state=0).fit(X, y)
    print(failure_report(clf, X_test, y_test))

    labels, error_proba = clf.predict_with_error(X_test)
    is_error = labels != y_test
    heading("2. Error rate among the rows that are answered")
    coverages = np.array([1.0, 0.9, 0.8, 0.7, 0.5, 0.3])
    ranking = {"error model": error_proba, "MSP": 1 - clf.predict_proba(X_test).max(axis=1)}
    risks = {
        name: risk_at_coverage(is_error, score, target_coverage=coverages)
        for name, score in ranking.items()
    }
    print(f"{'answered':>12}" + "".join(f"{coverage:>8.0%}" for coverage in coverages))
    for name, risk in risks.items():
        print(f"{name:>12}" + "".join(f"{value:>8.1%}" for value in risk))

    heading("3. Send the 20 % with the highest error probability to a person")
    review = error_proba > np.quantile(error_proba, 0.8)
    caught = is_error[review].sum() / is_error.sum()
    print(f"They contain {caught:.0%} of all errors.")
    print(
        f"Error rate: {is_error.mean():.1%} of all, {is_error[~review].mean():.1%} of the others."
    )

    heading("4. Guarantee at most 2 % errors, with 90 % confidence")
    selective = SelectiveClassifier(
        FrozenEstimator(clf), target_risk=0.02, confidence_level=0.9, calibration="prefit"
    ).fit(X_calibration, y_calibration)
    answered = selective.accepts(X_test)
    print(f"Certified on {len(y_calibration):,} rows: answers {selective.coverage_:.0%} of them.")
    print(
        f"New rows: answers {answered.mean():.0%}, of which {is_error[answered].mean():.2%} are "
        f"wrong (without abstaining: {is_error.mean():.1%})."
    )

    heading("5. Regions with many errors, and reasons for one error")
    print(error_slices(clf, X, min_samples=len(y) // 40, n_slices=3, random_state=0))
    contributions, names, _ = clf.explain_error(X_test)
    riskiest = np.argmax(error_proba)
    reasons = np.argsort(-contributions[riskiest])[:4]
    print(f"Highest error probability of a new row: {error_proba[riskiest]:.2f}. Log-odds from:")
    print("\n".join(f"  {contributions[riskiest, j]:+.2f}  {names[j]}" for j in reasons))

    heading("6. Watch the accuracy before the labels arrive")
    print("batch  estimate (95 % interval)  novelty    real  wrong among answered")
    rows = []
    for number, (X_batch, y_batch) in enumerate(story.batches):
        accuracy, low, high, novelty = clf.estimate_accuracy(X_batch)
        wrong = clf.predict(X_batch) != y_batch
        answered = selective.accepts(X_batch)
        risk = wrong[answered].mean() if answered.any() else np.nan
        rows.append((accuracy, low, high, novelty, 1 - wrong.mean()))
        flag = "  <- unlike the training rows" if novelty > 0.1 else ""
        print(
            f"{number:5}     {accuracy:.3f} ({low:.3f} to {high:.3f})   {novelty:6.1%}   "
            f"{1 - wrong.mean():.3f}   {risk:6.1%} of {answered.mean():4.0%}{flag}"
        )
    accuracy, low, high, novelty, real = np.array(rows).T
    for name, part in (("like", novelty <= 0.1), ("unlike", novelty > 0.1)):
        if part.any():
            ours = np.abs(accuracy - real)[part].mean()
            training = np.abs(1 - clf.oof_error_rate_ - real)[part].mean()
            print(
                f"{part.sum()} batches {name} the training rows: estimate off by {ours:.3f}, "
                f"training accuracy by {training:.3f}."
            )
    if (novelty > 0.1).any():
        print("If rows are unlike the training rows, label some of them and train again.")
    if args.plot:
        draw(args.plot, selective, X_test, y_test, np.array(rows))


def draw(path, selective, X_test, y_test, rows):
    """Draw the risk-coverage curve beside the accuracy of the batches."""
    import matplotlib.pyplot as plt

    from metaerr_sklearn import RiskCoverageDisplay

    accuracy, low, high, novelty, real = rows.T
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    RiskCoverageDisplay.from_estimator(selective, X_test, y_test, ax=left)
    batch = np.arange(len(rows))
    right.fill_between(batch, low, high, color="#0072B2", alpha=0.2, linewidth=0)
    right.plot(batch, accuracy, color="#0072B2", label="estimate, without labels")
    right.plot(batch, real, color="0.2", linestyle="--", marker="o", markersize=4, label="real")
    right.bar(
        batch,
        novelty,
        color="#D55E00",
        alpha=0.3,
        zorder=0,
        label="novelty: unlike the training rows",
    )
    right.set(xlabel="batch", ylabel="accuracy, share of rows", ylim=(0, 1.02))
    figure.legend(
        *right.get_legend_handles_labels(), loc="outside lower right", ncol=3, frameon=False
    )
    right.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    print(f"\nPicture written to {path}")


if __name__ == "__main__":
    main()
