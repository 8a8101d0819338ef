"""
Abstain, with at most 2 % wrong answers
=======================================

How can a classifier guarantee that at most 2 % of its answers are wrong? It must be allowed to
*abstain*: to give no answer. ``SelectiveClassifier`` answers if the error probability is not above
a threshold. It chooses the threshold so that this promise holds with a confidence of 95 %.
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
# The promise can be kept with any score, but with a better score more images are answered. Without
# an error model, the predictions of the same classifier are ranked by their largest class
# probability.
plain = SelectiveClassifier(base, target_risk=0.02, random_state=0).fit(X_train, y_train)
print(f"answered with the largest class probability: {plain.accepts(X_test).mean():.0%}")

# %%
# The picture shows the error rate of the answers for each share of images that is answered. The
# dashed line is the promise. The point is the result of the classifier on the new images.
_ = RiskCoverageDisplay.from_estimator(selective, X_test, y_test)

# %%
# Is the promise kept? The rows on which the threshold is chosen, the *calibration rows*, are a
# random draw. The promise should hold for 95 % of such draws. Here 400 calibration rows are drawn
# again and again from images on which the model was not trained. ``certify_threshold`` is the step
# of ``SelectiveClassifier`` that chooses the threshold.
labels, error_proba = selective.estimator_.predict_with_error(X_test)
is_wrong = labels != y_test
rng = np.random.default_rng(0)
risks = []
for _ in range(500):
    drawn = rng.integers(len(y_test), size=400)
    threshold = certify_threshold(is_wrong[drawn], error_proba[drawn], target_risk=0.02)
    risks.append(is_wrong[error_proba <= threshold].mean())
print(f"above 2 % wrong answers: in {np.mean(np.array(risks) > 0.02):.1%} of {len(risks)} draws")

# %%
# The classifier answers most images, and far less than 2 % of its answers are wrong: with a few
# hundred calibration rows, a threshold is chosen only if clearly fewer than 2 % of their answers
# are wrong. The promise is broken in less than 5 % of the draws. It holds for new rows that are
# like the calibration rows. After a drift it does not hold.
