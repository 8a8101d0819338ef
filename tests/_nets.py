"""Tiny nets that several test files share."""

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn


class TinyCNN(nn.Module):
    """Convolution, batch normalisation and dropout: 8x8 images of one channel to class logits."""

    def __init__(self, n_outputs=10, n_channels=8, dropout=0.3):
        super().__init__()
        # The last layer is registered first: the order of registration is not that of the pass.
        self.output = nn.Linear(16, n_outputs)
        self.features = nn.Sequential(
            nn.Conv2d(1, n_channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(n_channels),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(16 * n_channels, 16),
            nn.ReLU(),
        )

    def forward(self, X):
        return self.output(self.features(X))


class TinyMLP(nn.Module):
    """One hidden layer: rows of numbers to class logits."""

    def __init__(self, n_inputs=64, n_outputs=10, n_hidden=32, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, n_hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(n_hidden, n_outputs),
        )

    def forward(self, X):
        return self.layers(X)


def images_of_four_classes(n_samples, rng):
    """Return 8x8 images of random pixels in which one row of pixels, bright, shows the class."""
    y = np.arange(n_samples) % 4
    X = rng.random((n_samples, 1, 8, 8)).astype(np.float32)
    X[np.arange(n_samples), 0, 2 * y] += 1
    return X, y


def make_net(module=TinyCNN, *, net_class=NeuralNetClassifier, **kwargs):
    """Return an unfitted skorch classifier that trains for a few epochs on all rows."""
    parameters = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer": torch.optim.Adam,
        "lr": 0.01,
        "batch_size": 32,
        "max_epochs": 5,
        "train_split": None,
        "verbose": 0,
        **kwargs,
    }
    return net_class(module, **parameters)
