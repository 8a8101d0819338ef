"""
First look
==========

Which predictions of a classifier are wrong? This example estimates an *error probability* for each
prediction, and compares it with the usual score: the probability of the predicted class (*max
probability*).
"""

# %%
# ``MetaErrorClassifier`` wraps any classifier. Its ``fit`` trains the classifier. It also learns
# from cross-validated predictions where the classifier is wrong.
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

from metaerr_sklearn import (
    ErrorDistributionDisplay,
    MetaErrorClassifier,
    RiskCoverageDisplay,
    failure_report,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
clf = MetaErrorClassifier(GaussianNB(), random_state=0)
clf.fit(X_train, y_train)

# %%
# ``predict_with_error`` returns the labels of the classifier, unchanged, and the probability that
# each of them is wrong. The error probability sorts new images into safe and doubtful ones.
labels, error_proba = clf.predict_with_error(X_test)
is_wrong = labels != y_test
for low, high in [(0, 0.1), (0.1, 0.9), (0.9, 1)]:
    rows = (error_proba > low) & (error_proba <= high)
    print(f"error probability {low} to {high}: {is_wrong[rows].mean():.0%} of {rows.sum()} wrong")

# %%
# The two histograms should not overlap: right predictions on the left, wrong ones on the right.
# The axis is in log-odds, which spreads the small probabilities.
_ = ErrorDistributionDisplay.from_estimator(clf, X_test, y_test)

# %%
# The next picture keeps only the predictions with the highest confidence, and shows their error
# rate. Each curve is one score. The *oracle* sorts the predictions by their real errors: no score
# can be better.
_ = RiskCoverageDisplay.from_estimator(clf, X_test, y_test)

# %%
# The report gives the same comparison as numbers, with their intervals.
print(failure_report(clf, X_test, y_test))

# %%
# Most images have an error probability near 0, and hardly one of them is wrong; nearly all images
# with an error probability near 1 are wrong. The blue curve of the error probability almost
# reaches the oracle. Naive Bayes gives most of its wrong predictions a class probability near 1,
# so max probability finds only a part of them.
