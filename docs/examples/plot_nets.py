"""
A net on images: trained here, or trained before
================================================

How are the errors of a PyTorch net predicted? This example trains a small convolutional net on the
digits, once through skorch and once in a loop of its own, and compares the default meta-features
for images with those that take a single pass of the net.
"""

# %%
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn

from metaerr_sklearn import MetaErrorClassifier, RiskCoverageDisplay
from metaerr_sklearn.metrics import error_roc_auc
from metaerr_sklearn.neural import as_classifier

X, y = load_digits(return_X_y=True)
images = (X / 16).reshape(-1, 1, 8, 8).astype("float32")  # (rows, channels, height, width)
X_train, X_new, y_train, y_new = train_test_split(images, y, train_size=500, random_state=0)


class SmallCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)
        )

    def forward(self, X):
        return self.layers(X)


# %%
# **Trained here.** A skorch net is a scikit-learn classifier. ``MetaErrorClassifier`` trains it on
# three folds and once on all rows. By default (``"auto"``) the net predicts ten altered views,
# shifted, rotated and magnified, of the quarter of the images with the highest error probability.
# ``"one_pass"`` does without them, and ``"images"`` uses the views of all images.
net = NeuralNetClassifier(
    SmallCNN, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=0.01, verbose=0
)
for meta_features in ["one_pass", "auto"]:
    clf = MetaErrorClassifier(net, meta_features=meta_features, cv=3, random_state=0)
    labels, error_proba = clf.fit(X_train, y_train).predict_with_error(X_new)
    auroc = error_roc_auc(labels != y_new, error_proba)
    print(f"AUROC {auroc:.3f} of the error probability with {meta_features!r}")
max_proba = clf.predict_proba(X_new).max(axis=1)
print(f"AUROC {error_roc_auc(labels != y_new, 1 - max_proba):.3f} of max probability")

# %%
# The digits have only eight pixels a side: another model that is trained on the pixels, the
# *second opinion*, already finds most of the errors, and the views add next to nothing. On larger
# images views add more; the :doc:`page on images </guide/images>` has measurements.
#
# **Trained before.** ``as_classifier`` turns a trained module into a fitted classifier. The module
# stays as it is. The error model is fitted on images that the module was not trained on.
torch.manual_seed(0)
module = SmallCNN()
optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
inputs, targets = torch.from_numpy(X_train), torch.from_numpy(y_train)
for _ in range(60):  # your own training
    loss = nn.functional.cross_entropy(module(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

X_fit, X_test, y_fit, y_test = train_test_split(X_new, y_new, test_size=0.5, random_state=0)
clf = MetaErrorClassifier(as_classifier(module), random_state=0).fit(X_fit, y_fit)

# %%
# The images with the highest error probability are rejected first. The curve shows the error rate
# among the images that are left.
_ = RiskCoverageDisplay.from_estimator(clf, X_test, y_test)
_ = plt.gca().set_title("A PyTorch module on images of digits")

# %%
# The curve of the error probability is below the curve of max probability: with the same share of
# answers, fewer of them are wrong. A few hundred new images are enough to fit the error model.
