"""
Few labels: self-training with error probabilities
==================================================

Ten labels for each class, and many rows without a label: how much do the rows without a label
help, and which method uses them better? Both methods label these rows themselves and train again.
scikit-learn's ``SelfTrainingClassifier`` takes the rows with a high probability of the predicted
class. ``SelfTrainingWithMetaErr`` estimates how probable an error is.
"""

# %%
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import SelfTrainingClassifier

from metaerr_sklearn import SelfTrainingWithMetaErr

X, y = load_digits(return_X_y=True)
X = X / 16


def keep_ten_labels(y, rng):
    """Return y with ten labels of each class; all others are -1, which means no label."""
    few = np.full(len(y), -1)
    for label in np.unique(y):
        rows = rng.choice(np.flatnonzero(y == label), 10, replace=False)
        few[rows] = label
    return few


# %%
# The choice of the labeled rows matters much if there are only ten of each class. Each comparison
# is therefore made with two draws of training rows and labels.
bases = {
    "logistic regression": LogisticRegression(max_iter=300),
    "random forest": RandomForestClassifier(15, random_state=0),
}
results = []
for draw in range(2):
    rng = np.random.default_rng(draw)
    train, test = np.split(rng.permutation(len(y)), [600])
    few = keep_ten_labels(y[train], rng)
    labeled = train[few >= 0]
    for name, base in bases.items():
        alone = clone(base).fit(X[labeled], y[labeled])
        plain = SelfTrainingClassifier(base).fit(X[train], few)
        with_errors = SelfTrainingWithMetaErr(base, random_state=0).fit(X[train], few)
        for method, model in [
            ("labels alone", alone),
            ("SelfTrainingClassifier", plain),
            ("SelfTrainingWithMetaErr", with_errors),
        ]:
            results.append((name, method, draw, model.score(X[test], y[test])))
results = pd.DataFrame(results, columns=["base", "method", "draw", "test accuracy"])
means = results.pivot_table("test accuracy", index="method", columns="base", sort=False)
means.round(3)

# %%
# Each point is a test accuracy, and each line is one draw of the labels.
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
for ax, name in zip(axes, bases):
    of_base = results[results["base"] == name]
    table = of_base.pivot_table("test accuracy", index="method", columns="draw", sort=False)
    ax.plot(table, "o-", alpha=0.8)
    ax.set_xticks(range(3), table.index.str.replace("Training", "Training\n"))
    ax.set(title=name, xlim=(-0.4, 2.4))
_ = axes[0].set_ylabel("test accuracy")

# %%
# With the random forest, ``SelfTrainingClassifier`` loses accuracy and ``SelfTrainingWithMetaErr``
# gains. With logistic regression the differences are small. The reason for the loss is not that
# the pseudo-labels are wrong: nearly all of them are right. But the probability of the digits 1 and
# 8 is hardly ever above the threshold. These digits get few pseudo-labels, and the forest predicts
# them too rarely. ``SelfTrainingWithMetaErr`` uses all rows, with weights, and estimates
# how frequent the classes are. The table counts pseudo-labels and rows of each digit in the last
# draw. ``plain`` is still the last ``SelfTrainingClassifier``, that of the random forest.
is_pseudo = (plain.transduction_ != -1) & (few == -1)
counts = pd.DataFrame(
    {
        "pseudo-labels": np.bincount(plain.transduction_[is_pseudo], minlength=10),
        "rows without label": np.bincount(y[train][few == -1]),
    }
)
is_right = (plain.transduction_ == y[train])[is_pseudo]
print(f"{is_right.mean():.1%} of the pseudo-labels of SelfTrainingClassifier are right.")
counts.rename_axis("digit").transpose()
