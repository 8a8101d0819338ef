"""
A review queue for images
=========================

If a person can check a few predictions only, which images should be on the screen first? Those with
the highest error probability. This example draws the start of that queue.
"""

# %%
# The classifier is trained on half of the scanned digits. The other half arrives later.
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metaerr_sklearn import ErrorGalleryDisplay, MetaErrorClassifier

X, y = load_digits(return_X_y=True)
X_train, X_new, y_train, y_new = train_test_split(X, y, test_size=0.5, random_state=0)
base = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
clf = MetaErrorClassifier(base, random_state=0).fit(X_train, y_train)

# %%
# The display sorts the images by their error probability. Labels of the new images are not
# needed. The images are rows of numbers here, so ``image_shape`` gives their height and width.
queue = ErrorGalleryDisplay.from_estimator(clf, X_new, image_shape=(8, 8), n_images=12)

# %%
# ``queue.indices`` are the positions of these images among the new ones, in the order of the
# queue. Once their labels are known, the frames show which predictions were wrong.
print("first in the queue:", queue.indices[:5])
_ = ErrorGalleryDisplay.from_estimator(clf, X_new, y_new, image_shape=(8, 8), n_images=12)

# %%
# How much of the work is saved? For each order of the queue: the share of all errors that are
# among the first images.
labels, error_proba = clf.predict_with_error(X_new)
is_wrong = labels != y_new
orders = {
    "error probability": np.argsort(-error_proba),
    "max probability": np.argsort(clf.predict_proba(X_new).max(axis=1)),
    "as they arrive": np.arange(len(y_new)),
}
print(f"{is_wrong.sum()} of {len(y_new)} predictions are wrong.")
for name, order in orders.items():
    found = {n: f"{is_wrong[order[:n]].sum() / is_wrong.sum():.0%}" for n in (20, 60, 100)}
    print(f"{name:>17}: errors among the first 20, 60 and 100 images: {', '.join(found.values())}")

# %%
# Nearly all images at the start of the queue are predicted wrong: their frames are orange. A
# check of the first hundred images finds almost all errors. The other images need no check.
