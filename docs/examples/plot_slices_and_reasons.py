"""
Where and why a classifier errs
===============================

In which regions of the data is a classifier often wrong, and why does a single prediction have a
high error probability? ``error_slices`` answers the first question, and ``explain_error`` the
second.
"""

# %%
# The rows are measurements of cell nuclei, in a frame with named columns.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

from metaerr_sklearn import MetaErrorClassifier, error_slices

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_new, y_train, y_new = train_test_split(X, y, train_size=0.75, random_state=0)
clf = MetaErrorClassifier(GaussianNB(), random_state=0).fit(X_train, y_train)

# %%
# A *slice* is a region that can be described in words. Half of the rows are searched for regions
# with many errors. The other half must confirm each region, and gives its error rate. The rows of
# ``fit`` can be used, because the errors that are counted are out-of-fold.
slices = error_slices(clf, X_train, random_state=0)
print(slices)
inside = slices.apply(X_new) == 0
is_wrong = (clf.predict(X_new) != y_new).to_numpy()
print(f"new rows: {is_wrong[inside].sum()} of {inside.sum()} wrong inside the first slice")
print(f"          {is_wrong[~inside].sum()} of {(~inside).sum()} wrong elsewhere")

# %%
# ``explain_error`` splits the log-odds of an error, log(p / (1 - p)), into contributions. Their
# sum, plus the value of a typical training row, is the log-odds of ``predict_error_proba``. These
# are the new rows with the highest error probability.
doubtful = np.argsort(-clf.predict_error_proba(X_new))[:3]
explanation = clf.explain_error(X_new.iloc[doubtful])
print(explanation)

# %%
# The contributions are an array, so a few lines draw the largest ones of the first row.
row = explanation.contributions[0]
largest = np.argsort(np.abs(row))[-8:]
_, ax = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
ax.barh(explanation.names[largest], row[largest], color=np.where(row > 0, "C1", "C0")[largest])
_ = ax.set(xlabel="Contribution to the log-odds of an error", title="Why this row is doubtful")

# %%
# The error rate in the slice is several times that of the other rows, also among new rows. The
# picture shows what the error model uses. "offset: confidence" is the probability of the predicted
# class as the classifier gives it, calibrated. "offset: second_opinion" is the probability that
# other models give to the same class. "neighbors: agreement_5" is the share of the five nearest
# training rows that have the predicted label. These three raise the error probability most.
