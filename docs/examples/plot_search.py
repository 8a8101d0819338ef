"""
Search over meta-learners
=========================

Which meta-learner predicts the errors best, and what does it cost to try several? A grid search
compares them. With ``memory=`` the fits of the base classifier and the meta-features are computed
once and reused.
"""

# %%
from tempfile import TemporaryDirectory

import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from metaerr_sklearn import ERROR_SCORERS, MetaErrorClassifier

X, y = load_digits(n_class=5, return_X_y=True)
X, y = X[:500, ::4], y[:500]  # a quarter of the pixels, so that there are errors to predict

# %%
# The candidates differ only in the meta-learner. ``None`` learns nothing: its error probability is
# one minus the probability of the predicted class. ``"confidence"`` calibrates the confidence; the
# others also learn a correction. A meta-learner with parameters of its own, such as
# ``LightGBMMetaLearner(num_leaves=4)``, can be a candidate too.
#
# ``ERROR_SCORERS`` are scorers for all measures of the error probability. ``refit`` names the
# measure that decides.
candidates = [None, "confidence", "logistic", "lightgbm", "auto"]
with TemporaryDirectory() as folder:  # in your own work: memory="a folder that stays"
    clf = MetaErrorClassifier(
        RandomForestClassifier(20, random_state=0), cv=3, memory=folder, random_state=0
    )
    search = GridSearchCV(
        clf,
        {"meta_learner": candidates},
        scoring=ERROR_SCORERS,
        refit="error_roc_auc",
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
    ).fit(X, y)
names = [str(candidate) for candidate in candidates]
results = pd.DataFrame(search.cv_results_, index=names)
results[["mean_test_error_roc_auc", "mean_test_neg_augrc", "mean_fit_time"]].round(4)

# %%
# Left: each line is one fold of the search. Right: the mean time of a fit.
fig, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.2), layout="constrained")
for fold in range(3):
    left.plot(results[f"split{fold}_test_error_roc_auc"], "o-", label=f"fold {fold}")
left.set_ylabel("AUROC of the error probability\n(higher is better)")
left.legend()
right.bar(results.index, results["mean_fit_time"], color="tab:gray")
right.set_ylabel("seconds for a fit")
fig.supxlabel("meta-learner")
print(f"The best candidate: {search.best_params_['meta_learner']!r}")

# %%
# All other candidates find the errors better than ``None`` in each fold. They differ less from each
# other than the folds do: on other data another one can be best. ``"auto"``, the mean of
# ``"logistic"`` and ``"lightgbm"``, is the default. ``"confidence"`` is the first candidate that
# needs out-of-fold predictions: its time includes the fits of the base and the meta-features. The
# candidates after it load both from the folder, and take a fraction of the time.
