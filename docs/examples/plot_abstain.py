"""
Abstain, with at most 2 % wrong answers
=======================================

How can a classifier keep the promise that at most 2 % of its answers are wrong? It must be allowed
to abstain. ``SelectiveClassifier`` answers up to a threshold of the error probability, and chooses
the threshold so that the promise holds with a confidence of 95 %.
"""

# %%
# ``fit`` trains the classifier on a part of the rows, and chooses the threshold on the others.
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metaerr_sklearn import (
    MetaErrorClassifier,
    RiskCoverageDisplay,
    SelectiveClassifier,
    certify_threshold,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
base = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
clf = MetaErrorClassifier(base, random_state=0)
selective = SelectiveClassifier(clf, target_risk=0.02, random_state=0).fit(X_train, y_train)

# %%
# ``predict`` returns a label, or -1 if it abstains.
answers = selective.predict(X_test)
answered = answers != selective.reject_label_
print("answers:", answers[:20])
print(f"answered: {answered.mean():.0%} of {len(y_test)} new images")
print(f"wrong among the answers: {(answers != y_test)[answered].mean():.1%}")
print(f"wrong if all are answered: {1 - selective.estimator_.score(X_test, y_test):.1%}")

# %%
# A promise can be kept with any score, and a better score answers more. The same classifier
# without an error model is ranked by its largest class probability.
plain = SelectiveClassifier(base, target_risk=0.02, random_state=0).fit(X_train, y_train)
print(f"answered with the largest class probability: {plain.accepts(X_test).mean():.0%}")

# %%
# The dashed line is the promise. The point is what the classifier does on the new images.
_ = RiskCoverageDisplay.from_estimator(selective, X_test, y_test)

# %%
# Is the promise kept? It is about the draw of the calibration rows. Here 400 of them are drawn
# again and again from the images that a trained model has not seen. ``certify_threshold`` is the
# step of ``SelectiveClassifier`` that chooses the threshold.
clf.fit(X_train, y_train)
labels, error_proba = clf.predict_with_error(X_test)
is_wrong = labels != y_test
rng = np.random.default_rng(0)
risks = []
for _ in range(1000):
    drawn = rng.integers(len(y_test), size=400)
    threshold = certify_threshold(is_wrong[drawn], error_proba[drawn], target_risk=0.02)
    risks.append(is_wrong[error_proba <= threshold].mean())
print(f"above 2 % wrong answers: in {np.mean(np.array(risks) > 0.02):.1%} of {len(risks)} draws")

# %%
# The classifier answers most images, and far less than 2 % of its answers are wrong, because a
# few hundred calibration rows can prove 2 % only if they show clearly fewer errors. Over many
# draws, the promise is broken in less than 5 % of them. It covers new rows like the calibration
# rows, and no drift.
