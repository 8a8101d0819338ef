"""
Act on predicted errors
=======================

A wrong label costs money, and a check costs money too. Which predictions should be checked, and by
whom? If error probabilities are calibrated, the answer follows from the costs.
"""

# %%
# A fast classifier labels scanned digits. Half of them are new to it.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC

from metaerr_sklearn import MetaErrorClassifier

X, y = load_digits(return_X_y=True)
X_train, X_new, y_train, y_new = train_test_split(X, y, test_size=0.5, random_state=0)
clf = MetaErrorClassifier(GaussianNB(), random_state=0).fit(X_train, y_train)
labels, error_proba = clf.predict_with_error(X_new)
is_wrong = labels != y_new

# %%
# **A person checks.** A check costs 1, and an undetected error costs 20. A prediction with the
# error probability p costs 20 p on average if nobody checks it, so a check pays if p is above
# 1 / 20.
COST_OF_CHECK, COST_OF_ERROR = 1, 20


def cost(is_checked):
    """Return the cost of one prediction, on average."""
    return np.mean(np.where(is_checked, COST_OF_CHECK, COST_OF_ERROR * is_wrong))


threshold = COST_OF_CHECK / COST_OF_ERROR
rest = 1 - clf.predict_proba(X_new).max(axis=1)
for name, is_checked in {
    "check nothing": np.zeros(len(y_new), dtype=bool),
    "check everything": np.ones(len(y_new), dtype=bool),
    "1 - max probability above 1 / 20": rest > threshold,
    "error probability above 1 / 20": error_proba > threshold,
}.items():
    print(f"{name:>32}: {is_checked.mean():4.0%} checked, cost {cost(is_checked):.2f}")

# %%
# The picture shows the cost for other thresholds.
thresholds = np.geomspace(1e-3, 0.95, 60)
_, ax = plt.subplots(layout="constrained")
for name, score in {"error probability": error_proba, "1 - max probability": rest}.items():
    ax.plot(thresholds, [cost(score > value) for value in thresholds], label=name)
ax.axvline(threshold, color="0.5", linestyle=":", label="cost of a check / cost of an error")
ax.set(xscale="log", xlabel="Check if the score is above", ylabel="Cost of one prediction")
_ = ax.legend()

# %%
# **A slower model takes over.** The same rule hands doubtful rows to a model that is better, but
# too expensive to run on every row.
slow = SVC().fit(X_train, y_train)
is_handed_over = error_proba > threshold
combined = labels.copy()
combined[is_handed_over] = slow.predict(X_new[is_handed_over])
print(f"fast model on all rows: {is_wrong.mean():.1%} wrong")
print(f"slow model on all rows: {(slow.predict(X_new) != y_new).mean():.1%} wrong")
print(
    f"slow model on {is_handed_over.mean():.0%} of the rows: {(combined != y_new).mean():.1%} wrong"
)

# %%
# If the error probability chooses the checks, the cost is a small part of the cost of the other
# rules. The threshold that follows from the costs is close to the best one. The two models
# together are as good as the slow model, which then runs on a fifth of the rows only: those with a
# high error probability. Other examples show further actions: abstain with a guarantee, review
# images, find regions with many errors, estimate the accuracy without labels.
