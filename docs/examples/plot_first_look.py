"""
First look
==========

Which predictions of a classifier are wrong?
"""

# %%
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from metaerr_sklearn import MetaErrorClassifier, RiskCoverageDisplay

X, y = load_digits(return_X_y=True)
clf = MetaErrorClassifier(GaussianNB(), random_state=0).fit(X[:1000], y[:1000])
_ = RiskCoverageDisplay.from_estimator(clf, X[1000:], y[1000:])
