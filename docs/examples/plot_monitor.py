"""
Monitor a classifier without labels
===================================

Is a classifier in use still as good as it was, although nobody labels its predictions? This example
reads scanned digits week by week. It estimates the accuracy of each week without labels, raises
alerts, and shows the one change that only labels can show.
"""

# %%
# The classifier learns from one half of the digits. The weeks are drawn from the other half, in
# four periods. In the second one the scans become fainter each week. In the third one the sheet
# lies a little too far to the right. In the last one the scans are as in training, but the customer
# files 4 and 7 under new labels.
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from metaerr_sklearn import MetaErrorClassifier

X, y = load_digits(return_X_y=True)
X = X / 16
X_train, X_new, y_train, y_new = train_test_split(X, y, test_size=0.5, random_state=0)
base = LogisticRegression(max_iter=300)
clf = MetaErrorClassifier(base, random_state=0).fit(X_train, y_train)

PERIODS = ["as in training", "fainter scans", "shifted sheet", "new labels"]
WEEKS, ROWS = np.arange(1, 21), 300


def read_week(week, rng):
    """Return the scans of a week and their labels, which arrive much later."""
    period = PERIODS[(week - 1) // 5]
    rows = rng.choice(len(y_new), ROWS)
    scans, labels = X_new[rows], y_new[rows]
    if period == "fainter scans":
        scans = scans * (1 - 0.1 * (week - 5))
    elif period == "shifted sheet":
        scans = np.roll(scans.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64)
    elif period == "new labels":
        labels = np.select([labels == 4, labels == 7], [9, 1], labels)
    return scans, labels


# %%
# **The monitor** is a function that checks one batch. Its first two alerts need no labels: the
# interval of the estimated accuracy is below what is tolerated, or more than a tenth of the rows
# are unlike the training rows (*novel*). The third alert needs some labels of the batch: clearly
# fewer predictions are right than the estimate says.
TOLERATED = 0.90


def check_batch(scans, some_labels):
    """Return the estimates and alerts for a batch. The labels are those of its first rows."""
    with warnings.catch_warnings(action="ignore"):  # the alert replaces the warning
        estimate = clf.estimate_accuracy(scans)
    right = clf.predict(scans[: len(some_labels)]) == some_labels
    test = binomtest(int(right.sum()), len(right), estimate.accuracy, alternative="less")
    return {
        **estimate._asdict(),
        "alert: interval": estimate.high < TOLERATED,
        "alert: novelty": estimate.novelty > 0.1,
        "alert: labels": test.pvalue < 0.01,
    }


rng = np.random.default_rng(0)
log = []
for week in WEEKS:
    scans, labels = read_week(week, rng)
    checked = check_batch(scans, labels[:60])  # 60 scans a week are labeled by hand
    log.append({"week": week, **checked, "real": np.mean(clf.predict(scans) == labels)})
log = pd.DataFrame(log).set_index("week")
alerts = [name for name in log if name.startswith("alert")]
log["period"] = np.repeat(PERIODS, 5)
log.groupby("period", sort=False)[["accuracy", "real", "novelty", *alerts]].mean().round(2)

# %%
# The picture shows the weeks. The real accuracy is known only here, because all labels are.
figure, (top, middle, bottom) = plt.subplots(
    3, 1, figsize=(9, 7), height_ratios=[3, 1, 1], sharex=True, layout="constrained"
)
top.fill_between(WEEKS, log["low"], log["high"], color="#0072B2", alpha=0.2, linewidth=0)
top.plot(WEEKS, log["accuracy"], color="#0072B2", label="estimated without labels, 95 % interval")
top.plot(WEEKS, log["real"], "o--", color="0.2", markersize=4, label="real")
top.axhline(TOLERATED, color="0.5", linestyle=":", label="tolerated")
top.set(ylabel="Accuracy", ylim=(0.3, 1))
top.legend(loc="lower left")
middle.bar(WEEKS, log["novelty"], color="#E69F00")
middle.axhline(0.1, color="0.5", linestyle=":")
middle.set(ylabel="Share of\nnovel rows", ylim=(0, 1))
for place, name in enumerate(alerts):
    weeks = WEEKS[log[name]]
    bottom.plot(weeks, np.full(len(weeks), -place), "s", color="#D55E00")
bottom.set(xlabel="Week", ylabel="Alerts", xticks=WEEKS, ylim=(-2.6, 0.6))
bottom.set_yticks([0, -1, -2], [name.removeprefix("alert: ") for name in alerts])
for number, period in enumerate(PERIODS):
    top.text(5 * number + 3, 1.01, period, ha="center", va="bottom")
    for ax in (top, middle, bottom):
        ax.axvline(5 * number + 5.5, color="0.8", linewidth=1)
top.set_xlim(0.5, 20.5)
figure.align_ylabels()

# %%
# - *Fainter scans*: the estimate falls with the real accuracy, and the interval raises the alert.
# - *Shifted sheet*: the estimate falls, but not far enough. Most rows are novel. This alert means
#   that estimate and interval do not hold.
# - *New labels*: the scans are as in training, so nothing that is computed from scans can change.
#   The estimate stays where it was, while a fifth of the predictions become wrong. **No estimator
#   without labels can see this.** Only the labels raise an alert.
#
# So label some rows of each batch. The guide :doc:`/guide/monitoring` shows how many, and has three
# years of an electricity market.
