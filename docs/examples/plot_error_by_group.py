"""
Error rate by group
===================

Does a classifier make more errors for some groups than for others, and can this be found without
labels? Groups are sites, devices, or groups of people. Here they are three scanners: one is in
order, one is noisy, and one blurs the digits. The classifier is not given the name of the scanner.
"""

# %%
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from metaerr_sklearn import MetaErrorClassifier

X, y = load_digits(return_X_y=True)
rng = np.random.default_rng(1)
scanner = rng.choice(["in order", "noisy", "blurred"], size=len(y), p=[0.6, 0.2, 0.2])
images = X.reshape(-1, 8, 8)
images[scanner == "noisy"] += rng.normal(scale=4, size=images[scanner == "noisy"].shape)
blurred = (images + np.roll(images, 1, axis=2)) / 2
images[scanner == "blurred"] = blurred[scanner == "blurred"]

X_train, X_new, y_train, y_new, _, scanner_new = train_test_split(
    X, y, scanner, test_size=0.5, random_state=1
)
forest = RandomForestClassifier(40, random_state=0)
clf = MetaErrorClassifier(forest, random_state=0).fit(X_train, y_train)

# %%
# A frame has one row for each prediction, and ``groupby`` makes the table by group. The expected
# error rate of a group is the mean error probability of its rows. It needs no labels; the real
# error rate does. With *max probability*, the usual score, the expected error rate is the mean of
# one minus the probability of the predicted class.
labels, error_proba = clf.predict_with_error(X_new)
predictions = pd.DataFrame(
    {
        "scanner": scanner_new,
        "expected by error model": error_proba,
        "expected by max probability": 1 - clf.predict_proba(X_new).max(axis=1),
        "real error rate": labels != y_new,
    }
)
by_group = predictions.groupby("scanner")
rates = by_group.mean().assign(rows=by_group.size())
rates.round(3)

# %%
# A small group has a wide interval: compare groups only together with their intervals.
# ``estimate_accuracy`` gives an interval for the accuracy of each group, without labels. The error
# rate is one minus the accuracy.
for name, rows in by_group.groups.items():
    accuracy, low, high, _ = clf.estimate_accuracy(X_new[rows])
    print(f"{name:>8}: {1 - accuracy:.3f}, between {1 - high:.3f} and {1 - low:.3f}")

# %%
# The picture shows the real error rate of each group with its 95 % interval, and both expected
# rates.
n_errors = by_group["real error rate"].sum()
interval = [binomtest(k, n).proportion_ci() for k, n in zip(n_errors, rates["rows"])]
real = rates["real error rate"].to_numpy()
bars = np.abs(np.transpose(interval) - real)

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.errorbar(real, rates.index, xerr=bars, fmt="o", capsize=4, label="real, 95 % interval")
for name, marker in {"expected by error model": "D", "expected by max probability": "x"}.items():
    ax.plot(rates[name], rates.index, marker, label=name)
ax.set(xlabel="error rate", ylabel="scanner", xlim=(0, None))
ax.margins(y=0.3)
_ = ax.legend(loc="center right")

# %%
# The noisy and the blurred scanner cause more errors than the one in order. The error model shows
# this before the labels are known. The forest is right far more often than its probabilities
# indicate, so that max probability is far from the real rates.
#
# If the relation between the columns and the label differs between groups, the error model can
# miss a difference: compare with the labels of some rows of each group. :doc:`/guide/recipes` has
# the same table with fairlearn's ``MetricFrame``.
