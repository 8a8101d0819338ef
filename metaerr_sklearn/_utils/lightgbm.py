"""Train and evaluate LightGBM."""

from functools import cached_property, partial

import numpy as np
from scipy.special import expit, softmax

from . import limits
from .packages import check_importable

# Parameters of every LightGBM model here: bins from a bounded number of rows, one thread, and
# equal results in every run.
LIGHTGBM_PARAMS = {
    "max_bin": 63,
    "bin_construct_sample_cnt": limits.MANY_ROWS,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


def check_lightgbm(user):
    """Raise if LightGBM, which `user` needs, cannot be imported."""
    check_importable(
        "lightgbm",
        user=user,
        instead='Or do without it: pass meta_learner="logistic" and '
        'meta_features=["confidence", "predicted_class", "neighbors"].',
    )


class SplitBooster:
    """Predict with a LightGBM booster in parts of a few trees.

    LightGBM passes each row through all trees, and loads every tree again for every row. Parts
    that fit into the processor's cache take two thirds of the time. Each part is a booster of its
    own, because several threads that request ranges of rounds from one booster get mixed results.

    Parameters
    ----------
    booster : lightgbm.Booster
        Trees.
    """

    leaves_at_once = 320

    def __init__(self, booster):
        leaves_a_round = booster.params["num_leaves"] * booster.num_model_per_iteration()
        n_rounds = max(1, self.leaves_at_once // leaves_a_round)
        self._texts = [
            booster.model_to_string(start_iteration=start, num_iteration=n_rounds)
            for start in range(0, booster.current_iteration(), n_rounds)
        ]

    @cached_property
    def _parts(self):
        # The texts are read only for a prediction: a search with memory= loads these trees for each
        # candidate, and predicts with them once.
        from lightgbm import Booster

        return [Booster(model_str=text) for text in self._texts]

    def __getstate__(self):
        """Return the state without the second copy of the trees."""
        return {"_texts": self._texts}

    def raw_score(self, Z):
        """Return the sum over the trees, of shape (n_samples,) or (n_samples, n_classes)."""
        return sum(part.predict(Z, raw_score=True, num_threads=1) for part in self._parts)


class BoostedTrees:
    """Predict class probabilities by boosted trees on a numeric matrix, quick to fit.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_columns)
        Rows.
    y : ndarray of int, shape (n_samples,)
        Classes.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.
    seed : int, default=0
        Seed.
    predicts_once : bool, default=False
        Whether a single prediction follows, for which the trees need not be split.
    """

    n_rounds = 60

    def __init__(self, Z, y, sample_weight=None, *, seed=0, predicts_once=False):
        import lightgbm

        self.classes_, position = np.unique(y, return_inverse=True)
        n_classes = len(self.classes_)
        params = {
            "objective": "binary" if n_classes <= 2 else "multiclass",
            "num_class": 1 if n_classes <= 2 else n_classes,
            "learning_rate": 0.15,
            # A leaf for every 200 rows: larger trees take more time and are no better.
            "num_leaves": min(31, max(8, len(Z) // 200)),
            "min_data_in_leaf": 10,
            "lambda_l2": 1.0,
            "seed": seed,
            **LIGHTGBM_PARAMS,
        }
        data = lightgbm.Dataset(Z, label=position, weight=sample_weight, params=params)
        self._raw_score = None
        if n_classes > 1:
            # With this option, LightGBM does not write the trees as text and read them again. They
            # hold the training data, but `SplitBooster` copies the trees alone.
            trees = lightgbm.train(params, data, self.n_rounds, keep_training_booster=True)
            self._raw_score = (
                partial(trees.predict, raw_score=True, num_threads=1)
                if predicts_once
                else SplitBooster(trees).raw_score
            )

    def predict_proba(self, Z):
        """Return the probabilities of `classes_`, shape (n_samples, n_classes)."""
        if self._raw_score is None:
            return np.ones((len(Z), 1))
        score = self._raw_score(Z)
        if score.ndim == 2:
            return softmax(score, axis=1)
        proba = expit(score)
        return np.column_stack([1 - proba, proba])
