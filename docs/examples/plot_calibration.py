"""
Calibration of error probabilities
==================================

If 100 predictions have an error probability of 30 %, are about 30 of them wrong? scikit-learn's
``CalibrationDisplay`` draws the answer, because ``as_error_classifier`` returns a binary classifier
with the classes False (the prediction is right) and True (it is wrong).
"""

# %%
# A small forest is trained on a data set in which a tenth of the labels are noise.
import matplotlib.pyplot as plt
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import train_test_split

from metaerr_sklearn import MetaErrorClassifier

X, y = make_classification(
    4000, n_features=10, n_informative=6, n_classes=3, flip_y=0.1, random_state=0
)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
forest = RandomForestClassifier(25, min_samples_leaf=5, random_state=0)
clf = MetaErrorClassifier(forest, random_state=0).fit(X_train, y_train)

# %%
# ``is_wrong`` is the target that the error probabilities should match. Most error probabilities
# are small, so most bins of equal width would be almost empty: ``strategy="quantile"`` puts the
# same number of rows into each bin.
is_wrong = clf.predict(X_test) != y_test
rest = 1 - clf.predict_proba(X_test).max(axis=1)
options = {"n_bins": 8, "strategy": "quantile"}

_, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
CalibrationDisplay.from_estimator(
    clf.as_error_classifier(), X_test, is_wrong, name="error probability", ax=ax, **options
)
CalibrationDisplay.from_predictions(is_wrong, rest, name="1 - max probability", ax=ax, **options)
_ = ax.set(xlabel="Mean predicted probability of being wrong", ylabel="Share that is wrong")

# %%
# The Brier score is a number for the same question: the mean squared difference between the
# probability and the result (1 if the prediction is wrong, else 0). Lower is better.
print(f"error probability:   {brier_score_loss(is_wrong, clf.predict_error_proba(X_test)):.3f}")
print(f"1 - max probability: {brier_score_loss(is_wrong, rest):.3f}")

# %%
# A point on the dotted diagonal is a bin whose probabilities are exact. The points of the error
# probability lie near it. Most points of 1 - max probability lie below it: the forest is wrong
# less often than its class probabilities say.
