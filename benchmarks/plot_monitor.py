"""Draw a picture of a monitor: three years of an electricity market, month by month.

A gradient boosting predicts whether the price of electricity in New South Wales rises in the next
half hour (the table "electricity", which is in time order). It is trained on May to November 1996.
For each later month the script computes what `estimate_accuracy` gives without labels, the real
accuracy, and the accuracy of 200 labeled rows of the month.

An alert is raised if more than a tenth of the rows are novel, if the interval is below the
tolerated accuracy (5 points below the out-of-fold accuracy), or if fewer of the 200 labeled rows
are right than the estimate says, by a binomial test at a level of 1 %.

Run ``METAERR_DATA=folder python benchmarks/plot_monitor.py`` (a minute) to compute the rows.
Without METAERR_DATA the picture is drawn from the rows in ``results/monitor.csv``.
"""

import warnings
from pathlib import Path

import matplotlib as mpl
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from _data import data_folder, load_table
from scipy.stats import binomtest
from sklearn.ensemble import HistGradientBoostingClassifier

from metaerr_sklearn import MetaErrorClassifier

RESULTS = Path(__file__).parent / "results"
ALERTS = {"interval": "interval", "novelty": "novelty", "labels": "200 labels"}
N_LABELED = 200


def compute_rows():
    """Return one row for each month after the training months."""
    X, y = load_table("electricity")
    # The table has a row for each half hour since 7 May 1996.
    time = pd.Timestamp("1996-05-07") + pd.to_timedelta(30 * np.arange(len(y)), unit="min")
    month = time.to_period("M")
    is_training = month <= pd.Period("1996-11")
    base = HistGradientBoostingClassifier(random_state=0)
    clf = MetaErrorClassifier(base, random_state=0).fit(X[is_training], y[is_training])
    training, rng = 1 - clf.oof_error_rate_, np.random.default_rng(0)
    rows = []
    for name in month[~is_training].unique():
        part = np.flatnonzero(month == name)
        with warnings.catch_warnings(action="ignore"):  # the alert says the same
            estimate = clf.estimate_accuracy(X.iloc[part])
        is_right = clf.predict(X.iloc[part]) == y[part]
        labeled = rng.choice(is_right, N_LABELED, replace=False)
        test = binomtest(int(labeled.sum()), N_LABELED, estimate.accuracy, alternative="less")
        rows.append(
            {
                "month": name,
                "n_rows": len(part),
                **estimate._asdict(),
                "training": training,
                "real": is_right.mean(),
                "labeled": labeled.mean(),
                "alert_interval": estimate.high < training - 0.05,
                "alert_novelty": estimate.novelty > 0.1,
                "alert_labels": test.pvalue < 0.01,
            }
        )
    return pd.DataFrame(rows)


def draw(rows):
    """Return a figure of the months."""
    month = pd.PeriodIndex(rows["month"], freq="M").to_timestamp() + pd.Timedelta(days=14)
    figure, axes = plt.subplots(
        3, 1, figsize=(9, 7), height_ratios=[3, 1, 1], sharex=True, layout="constrained"
    )
    top, middle, bottom = axes
    top.fill_between(month, rows["low"], rows["high"], color="#0072B2", alpha=0.25, linewidth=0)
    label = "estimated without labels, 95 % interval"
    top.plot(month, rows["accuracy"], color="#0072B2", label=label)
    top.plot(month, rows["real"], "o--", color="0.2", markersize=4, label="real")
    top.axhline(rows["training"][0], color="0.5", linestyle=":", label="in training")
    top.set(ylabel="Accuracy of the month", ylim=(0.4, 1))
    top.legend(loc="lower right")
    middle.bar(month, rows["novelty"], width=20, color="#E69F00")
    middle.axhline(0.1, color="0.5", linestyle=":")
    middle.set(ylabel="Share of\nnovel rows", ylim=(0, 1))
    for place, name in enumerate(ALERTS):
        is_raised = rows[f"alert_{name}"]
        bottom.plot(month[is_raised], np.full(is_raised.sum(), -place), "s", color="#D55E00")
    bottom.set(ylabel="Alerts", xlabel="Month", ylim=(-2.6, 0.6))
    bottom.set_yticks([0, -1, -2], ALERTS.values())
    bottom.xaxis.set_major_locator(mdates.MonthLocator(bymonth=(1, 4, 7, 10)))
    bottom.xaxis.set_major_formatter(mdates.DateFormatter("%b %Y"))
    unseen = rows[only_labels_show(rows)]
    for ax in axes:
        for name in unseen["month"]:
            start = pd.Period(name, freq="M").to_timestamp()
            ax.axvspan(
                start, start + pd.offsets.MonthBegin(), color="#CC79A7", alpha=0.2, linewidth=0
            )
    top.text(
        pd.Period(unseen["month"].iloc[0], freq="M").to_timestamp(),
        0.98,
        " seen by\n labels only",
        va="top",
    )
    figure.align_ylabels()
    return figure


def only_labels_show(rows):
    """Return the months that are tolerated without labels, but are 5 points worse than training."""
    is_worse = rows["real"] < rows["training"] - 0.05
    return is_worse & ~rows["alert_interval"] & ~rows["alert_novelty"]


def main():
    """Compute the rows if the data are there, print them, write the picture beside them."""
    mpl.use("Agg")
    path = RESULTS / "monitor.csv"
    if data_folder() is not None:
        compute_rows().to_csv(path, index=False, float_format="%.6g")
    rows = pd.read_csv(path)
    print(rows.to_string(index=False, float_format="{:.3f}".format))
    is_worse = rows["real"] < rows["training"] - 0.05
    print(f"\n{is_worse.sum()} of {len(rows)} months are 5 points worse than training.")
    for name in ALERTS:
        raised = rows[f"alert_{name}"]
        print(
            f"{name}: {(raised & is_worse).sum()} of them, and {(raised & ~is_worse).sum()} others"
        )
    print("Seen by labels only:", ", ".join(rows["month"][only_labels_show(rows)]))
    draw(rows).savefig(RESULTS / "monitor.png", dpi=90)


if __name__ == "__main__":
    main()
