"""
Two models in one risk-coverage picture
=======================================

Which of two models is better if it may leave hard cases to a person? The *risk-coverage curve* of a
model shows the error rate of its answers (the risk) if it answers only a share of the cases (the
coverage): those with the highest confidence.
"""

# %%
# A random forest of a few shallow trees competes with a logistic regression.
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metaerr_sklearn import MetaErrorClassifier, RiskCoverageDisplay
from metaerr_sklearn.metrics import coverage_at_risk

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
forest = RandomForestClassifier(20, max_depth=4, random_state=0)
models = {
    "logistic": MetaErrorClassifier(logistic, random_state=0).fit(X_train, y_train),
    "forest": MetaErrorClassifier(forest, random_state=0).fit(X_train, y_train),
}

# %%
# Each display is drawn on the axes of the one before. ``name`` is put before the names of its
# curves.
ax = None
for name, clf in models.items():
    display = RiskCoverageDisplay.from_estimator(clf, X_test, y_test, name=name, ax=ax)
    ax = display.ax_

# %%
# All curves of a model end at its error rate, where it answers every case. A lower curve means
# that the score finds the errors better. ``coverage_at_risk`` computes one point of a curve: how
# many cases can be answered if one answer in a hundred may be wrong?
for name, clf in models.items():
    is_wrong = clf.predict(X_test) != y_test
    scores = {
        "error probability": clf.predict_error_proba(X_test),
        "max probability": 1 - clf.predict_proba(X_test).max(axis=1),
    }
    for score, values in scores.items():
        coverage = coverage_at_risk(is_wrong, values, target_risk=0.01)
        print(f"{name + ', ' + score:>28}: {coverage:.0%} answered at 1 % errors")

# %%
# The logistic regression with its error probability is the better choice. But the score matters
# more than the model. The forest makes twice as many errors. With its error probability it still
# answers more cases at 1 % errors than the logistic regression with its class probabilities.
