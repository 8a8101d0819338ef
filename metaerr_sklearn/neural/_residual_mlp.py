"""Training of the small networks that correct an offset."""

import numpy as np
import torch
from torch.nn import functional as F


def train_residual_mlps(
    Z,
    is_error,
    offset,
    sample_weight,
    train_masks,
    *,
    hidden_size,
    dropout,
    learning_rate,
    weight_decay,
    max_epochs,
    seed,
):
    """Train one small network per fold that corrects a given error logit.

    Net k models logit P(error | z) = offset + f_k(z), where f_k has one hidden ReLU layer. It is
    trained on the rows of ``train_masks[k]`` by AdamW on the weighted logistic loss. The last layer
    starts at zero. The logits of epoch 0 are therefore the offset itself, and "no correction" is a
    possible outcome of choosing the epoch. All nets are trained at once by batched matrix products.
    A step takes a tenth of the rows of positive weight for each net, at least 16 and at most 128.

    This function has many parameters because it takes each hyperparameter of `MLPMetaLearner`, all
    of them by keyword and under the same name.

    Parameters
    ----------
    Z : ndarray of shape (n_nets, n_samples, n_features)
        Standardised meta-features for each net, finite.

    is_error : ndarray of bool, shape (n_samples,)
        True where the base classifier is wrong.

    offset : ndarray of shape (n_samples,)
        Logit of the error probability that the nets correct.

    sample_weight : ndarray of shape (n_samples,)
        Non-negative weights. Weight 0 removes a row from training.

    train_masks : list of ndarray of bool, shape (n_samples,)
        The training rows of each net. Each mask needs a row of positive weight.

    hidden_size, dropout, learning_rate, weight_decay, max_epochs : int or float
        Parameters of `MLPMetaLearner`.

    seed : int
        Seed of a generator that only this call uses. No global random state is used or changed.

    Returns
    -------
    weights : list of tuple, length max_epochs + 1
        The parameters after each epoch, in the form that `mlp_correction` takes. The correction of
        row i by net k is out-of-fold if ``train_masks[k][i]`` is False.
    """
    n_nets, _, n_features = Z.shape
    rows = [torch.from_numpy(np.flatnonzero(mask & (sample_weight > 0))) for mask in train_masks]
    batch_size = min(128, max(16, int(np.count_nonzero(sample_weight)) // 10))
    n_steps = -(-max(len(r) for r in rows) // batch_size)

    generator = torch.Generator("cpu").manual_seed(seed)
    as_tensor = {"dtype": torch.float32, "device": "cpu"}

    def uniform(*shape):  # the initial distribution of torch.nn.Linear
        noise = torch.rand(*shape, generator=generator, **as_tensor)
        return (2 * noise - 1) / n_features**0.5

    W1, b1 = uniform(n_nets, n_features, hidden_size), uniform(n_nets, 1, hidden_size)
    w2 = torch.zeros(n_nets, hidden_size, 1, **as_tensor)
    b2 = torch.zeros(n_nets, 1, 1, **as_tensor)
    parameters = [p.requires_grad_() for p in (W1, b1, w2, b2)]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)

    inputs, start = torch.tensor(Z, **as_tensor), torch.tensor(offset, **as_tensor)
    target = torch.tensor(np.asarray(is_error), **as_tensor)
    mean_weight = [sample_weight[r.numpy()].mean() for r in rows]
    loss_weight = torch.tensor(np.stack([sample_weight / m for m in mean_weight]), **as_tensor)
    net_index = torch.arange(n_nets)[:, None]

    def snapshot():
        shapes = (W1.shape, (n_nets, hidden_size), (n_nets, hidden_size), (n_nets,))
        return tuple(p.detach().numpy().reshape(s).copy() for p, s in zip(parameters, shapes))

    weights = [snapshot()]
    for _ in range(max_epochs):
        passes = []
        # A net with fewer rows starts its next pass early, so that all nets make equal steps.
        for r in rows:
            shuffled = r[torch.randperm(len(r), generator=generator)]
            passes.append(shuffled[torch.arange(n_steps * batch_size) % len(r)])
        for batch in torch.stack(passes).split(batch_size, dim=1):
            hidden = torch.relu(torch.baddbmm(b1, inputs[net_index, batch], W1))
            kept = torch.rand(hidden.shape, generator=generator, **as_tensor) >= dropout
            correction = torch.baddbmm(b2, hidden * kept / (1 - dropout), w2).squeeze(2)
            loss = F.binary_cross_entropy_with_logits(
                start[batch] + correction,
                target[batch],
                weight=loss_weight[net_index, batch],
                reduction="sum",
            )
            optimizer.zero_grad()
            (loss / batch_size).backward()
            optimizer.step()
        weights.append(snapshot())
    return weights
