"""Convolutional nets that are trained on a CPU in minutes, as skorch classifiers."""

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn


class ShiftAndFlip(nn.Module):
    """Shift each training image by up to `max_shift` pixels, and mirror every second one."""

    def __init__(self, max_shift, flip):
        super().__init__()
        self.max_shift = max_shift
        self.flip = flip

    def forward(self, X):
        if not self.training:
            return X
        n, _, height, width = X.shape
        s = self.max_shift
        dy, dx = torch.randint(0, 2 * s + 1, (2, n, 1), device=X.device)
        rows = dy + torch.arange(height, device=X.device)
        columns = dx + torch.arange(width, device=X.device)
        if self.flip:
            mirrored = torch.rand(n, 1, device=X.device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        X = nn.functional.pad(X, (s, s, s, s)).permute(0, 2, 3, 1)
        image = torch.arange(n, device=X.device)[:, None, None]
        return X[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class SmallCNN(nn.Module):
    """Three convolutions with batch normalisation, one hidden layer, logits."""

    def __init__(self, n_classes, n_channels, side, *, width=16, max_shift=2, flip=False):
        super().__init__()
        w, side = width, (side + 1) // 2 // 2 // 2
        self.augment = ShiftAndFlip(max_shift, flip)
        self.convolutions = nn.Sequential(
            *self._block(n_channels, w, kernel_size=5, stride=2, padding=2),
            *self._block(w, 2 * w, kernel_size=3, padding=1),
            nn.MaxPool2d(2),
            *self._block(2 * w, 2 * w, kernel_size=3, padding=1),
            nn.MaxPool2d(2),
        )
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(2 * w * side**2, 96),
            nn.BatchNorm1d(96),
            nn.ReLU(),
        )
        self.output = nn.Sequential(nn.Dropout(0.2), nn.Linear(96, n_classes))

    @staticmethod
    def _block(n_in, n_out, **options):
        return nn.Conv2d(n_in, n_out, bias=False, **options), nn.BatchNorm2d(n_out), nn.ReLU()

    def forward(self, X):
        X = self.augment(X).contiguous(memory_format=torch.channels_last)
        return self.output(self.hidden(self.convolutions(X)))


class ResidualBlock(nn.Module):
    """Two convolutions, added to the input of the block."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, X):
        return nn.functional.relu(self.convolutions(X) + self.shortcut(X))


class SmallResNet(nn.Module):
    """One convolution, three residual blocks, the mean over all positions, logits."""

    def __init__(
        self, n_classes, n_channels, side, *, width=24, max_shift=2, flip=False, dropout=0.0
    ):
        super().__init__()
        w = width
        self.augment = ShiftAndFlip(max_shift, flip)
        self.hidden = nn.Sequential(
            nn.Conv2d(n_channels, w, 3, padding=1, bias=False),
            nn.BatchNorm2d(w),
            nn.ReLU(),
            ResidualBlock(w, w, 1),
            ResidualBlock(w, 2 * w, 2),
            ResidualBlock(2 * w, 4 * w, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.output = nn.Linear(4 * w, n_classes)

    def forward(self, X):
        X = self.augment(X).contiguous(memory_format=torch.channels_last)
        return self.output(self.hidden(X))


class OneCycle(Callback):
    """Set a one-cycle learning rate over all steps of a fit, for any number of rows."""

    def __init__(self, max_lr=1e-2, warm_up=0.2):
        self.max_lr = max_lr
        self.warm_up = warm_up

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        n_batches = len(net.get_iterator(net.get_dataset(X, y), training=True))
        self.scheduler_ = torch.optim.lr_scheduler.OneCycleLR(
            net.optimizer_, self.max_lr, net.max_epochs * n_batches, pct_start=self.warm_up
        )

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.scheduler_.step()


def make_cnn(X, n_classes, *, flip=False, max_epochs=25, width=16, module=SmallCNN):
    """Return an unfitted net for float32 images of shape (n, channels, side, side)."""
    n_channels, side = X.shape[1], X.shape[-1]
    return NeuralNetClassifier(
        module,
        module__n_classes=n_classes,
        module__n_channels=n_channels,
        module__side=side,
        module__width=width,
        module__max_shift=(1 if side < 16 else 2) if n_channels == 1 else 3,
        module__flip=flip,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=0.05,
        lr=1e-2,
        batch_size=64,
        max_epochs=max_epochs,
        train_split=None,
        iterator_train__shuffle=True,
        # Batch normalisation cannot train on a last batch of one image.
        iterator_train__drop_last=True,
        iterator_valid__batch_size=512,
        callbacks=[("one_cycle", OneCycle())],
        device="cuda" if torch.cuda.is_available() else "cpu",
        verbose=0,
    )


def make_resnet(X, n_classes, *, flip=False, max_epochs=30, width=24, dropout=0.0):
    """Return an unfitted `SmallResNet`, trained like the net of `make_cnn`."""
    net = make_cnn(X, n_classes, flip=flip, max_epochs=max_epochs, width=width, module=SmallResNet)
    return net.set_params(module__dropout=dropout)


class CountTrainings(Callback):
    """Count how often nets are trained in this process."""

    n_fits = 0

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        CountTrainings.n_fits += 1


class StepNet(NeuralNetClassifier):
    """Train for a fixed number of steps, for any number of rows.

    In self-training the training set grows. With a fixed number of epochs, an under-trained net on
    few rows would be compared with a well-trained net on many rows.
    """

    def __init__(self, *args, n_steps=1000, **kwargs):
        super().__init__(*args, **kwargs)
        self.n_steps = n_steps

    def fit(self, X, y=None, **fit_params):
        if len(X) < 2 * self.batch_size:  # each epoch drops its last, incomplete batch
            self.set_params(batch_size=max(2, len(X) // 2))
        n_batches = len(self.get_iterator(self.get_dataset(X, y), training=True))
        self.set_params(max_epochs=max(1, round(self.n_steps / n_batches)))
        return super().fit(X, y, **fit_params)


def make_step_net(net, *, n_steps):
    """Return a net of `make_cnn` or `make_resnet`, trained for a number of steps, not of epochs."""
    params = net.get_params(deep=False)
    params["callbacks"] = [*params["callbacks"], ("count", CountTrainings())]
    return StepNet(**params, n_steps=n_steps)
