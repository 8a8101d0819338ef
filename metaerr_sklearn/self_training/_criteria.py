"""Choose pseudo-labels and train on them: one function for each criterion.

A criterion takes the state of the fit (`PseudoLabels`) and the parameters of the user, an object
with the attributes `threshold`, `k_best`, `pseudo_weight` and `max_iter`. It returns the final
classifier and the reason why self-training stopped.
"""

from functools import partial

import numpy as np

from .._base_estimator.observations import Observations
from .._utils import limits
from .._utils.platt import shift_to_rate
from .._utils.probabilities import add_log_odds, clipped_logit, proba_of_other_classes
from .._utils.rows import in_chunks
from .._utils.weights import weights_or_ones
from ..error_model import ErrorModel
from ._class_prior import adjust_to_class_prior, class_prior_reliability, estimate_class_prior
from ._nets import NetEmbedding, is_certain, is_plain_net
from ._opinion_pool import OpinionPool

_CERTAIN_ROUNDS = 2
_MIN_CONFIDENCE = 0.9
# An estimated class prior is used in full from this adjusted accuracy of the pool on (0 is
# guessing, 1 is perfect), and to a quarter if the folds do not agree on it.
_FULL_TRUST, _MIN_RELIANCE = 0.5, 0.25
# If the pool and the base disagree, the label of the base counts half more than its pooled
# probability.
_BASE_LABEL_FACTOR = 1.5
# The level of the final classifier is measured on a quarter of the unlabeled rows, at least ten.
_HELD_SHARE, _MIN_HELD = 4, 10


class PseudoLabels:
    """State of one fit: the labels so far, how likely each is wrong, and the rounds so far.

    Parameters
    ----------
    base : WeightedBase
        Fits the base classifier on chosen rows.
    y_encoded : ndarray of int, shape (n_samples,)
        Positions of the classes, -1 for unlabeled rows.
    class_prior : ndarray of shape (n_classes,) or None
        Shares of the classes among the unlabeled rows, if the user gives them.
    seed : int
        Seed of the random dropout masks of a net, and of the rows that are held back to measure the
        level of errors.
    on_round : callable
        Called after each round with its number and the number of rows added.

    Attributes
    ----------
    cross_fitted : CrossFitted or None
        Out-of-fold predictions of the labeled rows; None if there are none.
    error_model : OpinionPool, ErrorModel or None
        Predicts errors; with None the error probability is 1 - the probability of the label.
    target : ndarray of int, shape (n_samples,)
        `y_encoded` with the pseudo-labels of the rows in use.
    labeled_iter : ndarray of int, shape (n_samples,)
        Round in which a row was first used; 0 for labeled rows, -1 for unused rows.
    error_proba : ndarray of shape (n_samples,)
        Error probability of the last label of each unlabeled row; NaN for labeled rows.
    n_iter : int
        Number of rounds so far.
    history : list of dict
        One entry for each recorded round.
    """

    def __init__(self, base, y_encoded, *, class_prior, seed, on_round):
        self.base = base
        self.class_prior = class_prior
        self.seed = seed
        self.cross_fitted = self.error_model = None
        self.target = y_encoded.copy()
        self.labeled_iter = np.where(y_encoded < 0, -1, 0)
        self.error_proba = np.full(len(y_encoded), np.nan)
        self._first_error_proba, self._first_label = self.error_proba.copy(), self.target.copy()
        self.n_iter, self.history = 0, []
        self._supervised, self._on_round = None, on_round
        # Position of each unlabeled row among all unlabeled rows.
        self._unlabeled_position = np.cumsum(y_encoded < 0) - 1

    @property
    def unlabeled(self):
        """Positions of the rows without a label or pseudo-label."""
        return np.flatnonzero(self.target < 0)

    def fit_supervised(self):
        """Return the base classifier trained on the labeled rows alone."""
        if self._supervised is None:
            self._supervised = self.base.fit(np.flatnonzero(self.labeled_iter == 0), self.target)
        return self._supervised

    def predict(self, model, rows):
        """Return labels and class probabilities of unlabeled rows, and confidence in each label.

        The confidence comes from the `ErrorModel` if there is one, else from the base classifier.
        """

        def predict_part(X):
            pred_encoded, proba = self.base.predict(model, X)
            if isinstance(self.error_model, ErrorModel):
                observations = Observations(X, proba, pred_encoded)
                confidence = 1 - self.error_model.predict_observations(observations)
            else:
                # scikit-learn's class selects by this very number; 1 - error probability would be
                # rounded, and could select other rows.
                confidence = np.take_along_axis(proba, pred_encoded[:, None], axis=1)[:, 0]
            return pred_encoded, proba, confidence

        return in_chunks(predict_part, self.base.X, rows)

    def pool(self, proba, rows):
        """Return the pooled class probabilities of unlabeled rows, given those of the base."""
        return self.error_model.pool_unlabeled(proba, self._unlabeled_position[rows])

    def pseudo_label(self, model, rows):
        """Return the labels that a classifier predicts for unlabeled rows, and their confidence."""
        pred_encoded, confidence = self._rate(model, rows)
        if self.error_model is not None and not np.isnan(self._first_error_proba[rows]).any():
            # The error rate is known for the first round only, from out-of-fold predictions. A base
            # that was trained on its own labels gives them higher probabilities, but is hardly more
            # accurate.
            # The mean over all rows is kept: rows of earlier rounds were chosen for low values.
            first, others = self._first_error_proba, np.flatnonzero(self.labeled_iter > 0)
            others = np.setdiff1d(others, rows)
            both = np.concatenate([rows, others])
            total = first[both].sum() - self.error_proba[others].sum()
            error_proba = 1 - confidence
            shift = _shift_to_mean(error_proba, total / max(len(rows), 1))
            confidence = 1 - add_log_odds(error_proba, shift)
        self.set_error_proba(rows, pred_encoded, 1 - confidence)
        return pred_encoded, confidence

    def set_error_proba(self, rows, pred_encoded, error_proba):
        """Set the error probabilities of labels of some rows."""
        self.error_proba[rows] = error_proba
        is_first = np.isnan(self._first_error_proba[rows])
        self._first_error_proba[rows[is_first]] = error_proba[is_first]
        self._first_label[rows[is_first]] = pred_encoded[is_first]

    def _rate(self, model, rows):
        """Return the labels that a classifier predicts for unlabeled rows, and their confidence."""
        pred_encoded, proba, confidence = self.predict(model, rows)
        if isinstance(self.error_model, OpinionPool):
            error_proba = self.error_model.error_proba(self.pool(proba, rows), pred_encoded)
            confidence = 1 - error_proba
        return pred_encoded, confidence

    def deployed_level(self, model):
        """Return the shift of log-odds that sets the level of the errors of the final classifier.

        A classifier that was trained on pseudo-labels gives higher probabilities than the base that
        its error model was trained for. To measure the difference on new rows, a classifier is
        trained in the same way without a part of the unlabeled rows, and predicts this part.
        """
        rows = np.flatnonzero(self.labeled_iter != 0)
        n_held = min(len(rows) // _HELD_SHARE, limits.MANY_ROWS)
        if self.error_model is None or model is self._supervised or n_held < _MIN_HELD:
            return 0.0
        rng = np.random.default_rng(self.seed)
        held = np.sort(rng.permutation(rows)[:n_held])
        pred_encoded, confidence = self._rate(self.base.fit_again_without(held), held)
        return _shift_to_mean(1 - confidence, self._expected_error(held, pred_encoded).mean())

    def _expected_error(self, rows, pred_encoded):
        """Return the error probabilities of labels, given those of the first pseudo-labels.

        A classifier cannot always learn the pseudo-labels: a linear one may differ from the pool on
        every fifth row. The first pseudo-label q is wrong with probability e. Another label c is
        right if q is wrong and c is the class: with probability e p_c / (1 - p_q).
        """
        _, proba, _ = self.predict(self.fit_supervised(), rows)
        if isinstance(self.error_model, OpinionPool):
            proba = self.pool(proba, rows)
        first, error_proba = self._first_label[rows], self._first_error_proba[rows]
        p_label = np.take_along_axis(proba, pred_encoded[:, None], axis=1)[:, 0]
        p_others = np.maximum(proba_of_other_classes(proba, first), np.finfo(float).tiny)
        p_right = error_proba * np.minimum(p_label / p_others, 1)
        return np.where(pred_encoded == first, error_proba, 1 - p_right)

    def update_graph(self, model):
        """Build the graph on the hidden layer of a new net, if it was built on that of a net."""
        pool = self.error_model
        if isinstance(pool, OpinionPool) and isinstance(pool.embedding_, NetEmbedding):
            pool.update_graph(self.base.X, NetEmbedding(model))

    def limit_number(self, chosen, pred_encoded, confidence, n_chosen=None):
        """Limit each class to its share of the rows chosen in this and earlier rounds."""
        if self.class_prior is None:
            return chosen
        added = self.target[self.labeled_iter > 0]
        added = np.bincount(added[added >= 0], minlength=len(self.class_prior))
        n_chosen = len(chosen) if n_chosen is None else n_chosen
        allowed = np.ceil(self.class_prior * (added.sum() + n_chosen)).astype(int) - added
        allowed = np.maximum(allowed, 0)
        kept = []
        for label, number in enumerate(allowed):
            rows = chosen[pred_encoded[chosen] == label]
            kept.append(rows[np.argsort(-confidence[rows], kind="stable")[:number]])
        return np.concatenate(kept)

    def limit_weight(self, weight, pred_encoded):
        """Scale the weights down so that no class exceeds its share of their sum."""
        if self.class_prior is None:
            return weight
        total = np.bincount(pred_encoded, weights=weight, minlength=len(self.class_prior))
        allowed = self.class_prior * total.sum()
        return weight * np.minimum(1, allowed / np.where(total > 0, total, 1))[pred_encoded]

    def record(self, rows):
        """Record that these rows are used from the present round on."""
        self.labeled_iter[rows] = self.n_iter
        is_measured = self.n_iter == 1 and self.cross_fitted is not None
        self.history.append(
            {
                "n_added": len(rows),
                "mean_error_proba": float(self.error_proba[rows].mean()) if len(rows) else None,
                "oof_accuracy": self.cross_fitted.oof_accuracy if is_measured else None,
            }
        )
        self._on_round(self.n_iter, len(rows))

    def weights_of_all(self, rows, weight, *, half_labeled=False):
        """Return a weight for each row of X: `weight` for `rows`, 1 for all others.

        With `half_labeled` the labeled rows are scaled up until they have half of the weight of
        themselves and `rows`. FixMatch, too, adds a mean over labeled and one over other rows.
        """
        all_weight = np.ones(len(self.target))
        all_weight[rows] = weight
        if half_labeled:
            labeled = np.flatnonzero(self.labeled_iter == 0)
            total = all_weight * weights_or_ones(self.base.sample_weight, len(all_weight))
            all_weight[labeled] = max(1, total[rows].sum() / total[labeled].sum())
        return all_weight

    def fit_on_all(self, rows, pred_encoded, weight, extra=None, *, half_labeled=False):
        """Run the last round: train on all rows, the pseudo-labeled ones with these weights."""
        all_weight = self.weights_of_all(rows, weight, half_labeled=half_labeled)
        self.target[rows] = pred_encoded
        self.n_iter += 1
        self.record(np.flatnonzero(self.labeled_iter < 0))
        return self.base.fit(np.arange(len(self.target)), self.target, all_weight, extra)


def use_weights(state, params):
    """Use all unlabeled rows once, with weights that fall with the error probability."""
    supervised = state.fit_supervised()
    if params.max_iter == 0:
        return supervised, "max_iter"
    rows = state.unlabeled
    pred_encoded, confidence = state.pseudo_label(supervised, rows)
    weight = state.limit_weight(params.pseudo_weight * confidence, pred_encoded)
    return state.fit_on_all(rows, pred_encoded, weight), "all_labeled"


def use_consensus(state, params):
    """Use all unlabeled rows once, with the labels that the pool of opinions prefers."""
    if state.error_model is None or params.max_iter == 0:
        return use_weights(state, params)
    supervised, rows = state.fit_supervised(), state.unlabeled
    if state.class_prior is None and _may_be_guessing(state.error_model):
        state.n_iter = 1
        state.pseudo_label(supervised, rows)
        state.record(np.arange(0))
        return supervised, "no_change"
    base_label, proba, _ = state.predict(supervised, rows)
    pooled = _correct_class_prior(state, state.pool(proba, rows), proba)
    pred_encoded = pooled.argmax(axis=1)
    confidence = 1 - state.error_model.error_proba(pooled, pred_encoded, of_pool=True)
    state.set_error_proba(rows, pred_encoded, 1 - confidence)
    weight = state.limit_weight(params.pseudo_weight * confidence, pred_encoded)
    # If the class prior is estimated, the pool may prefer a label for a wrong prior: the label of
    # the base counts as well. If the user gives the class prior, this reason does not exist.
    differs = np.flatnonzero((pred_encoded != base_label) & (state.class_prior is None))
    base_label = base_label[differs]
    base_weight = params.pseudo_weight * _BASE_LABEL_FACTOR * pooled[differs, base_label]
    extra = rows[differs], base_label, base_weight
    return state.fit_on_all(rows, pred_encoded, weight, extra), "all_labeled"


def _shift_to_mean(error_proba, mean):
    """Return the shift of log-odds that gives probabilities this mean; 0 if there is none."""
    if not len(error_proba) or not 0 < mean < 1:
        return 0.0
    return shift_to_rate(clipped_logit(error_proba, 1e-12), mean, np.ones(len(error_proba)))


def _may_be_guessing(pool):
    """Return whether the base is no better than guessing by one standard error."""
    # The recalls are fractions, whose mean may differ in the last bit.
    return (
        pool.base_adjusted_balanced_accuracy_ <= pool.base_adjusted_balanced_accuracy_error_ + 1e-9
    )


def _correct_class_prior(state, pooled, proba):
    """Adjust pooled probabilities from the class prior of the labeled to that of the others."""
    prior = state.error_model.class_prior_
    if state.class_prior is not None:
        return adjust_to_class_prior(pooled, prior, state.class_prior)
    # The classifier of each fold is used instead of a pool of each fold, which would be costly. The
    # base has the largest weight in the pool.
    fold_probas = (
        in_chunks(partial(state.base.predict, model), state.base.X, state.unlabeled)[1]
        for model in state.cross_fitted.models
    )
    reliability = class_prior_reliability(proba, fold_probas, state.cross_fitted.fold_sizes, prior)
    reliance = _MIN_RELIANCE + (1 - _MIN_RELIANCE) * reliability
    # A class prior estimated by a weak pool shows little more than the errors of the pool.
    trust = reliance * float(np.clip(state.error_model.adjusted_accuracy_ / _FULL_TRUST, 0, 1))
    estimated = estimate_class_prior(pooled, prior)
    return adjust_to_class_prior(pooled, prior, prior + trust * (estimated - prior))


def use_certain(state, params):
    """Train on the labels that are certain, in two rounds, then on all rows with weights."""
    if params.max_iter == 0:
        return state.fit_supervised(), "max_iter"
    labeled, rows = np.flatnonzero(state.labeled_iter == 0), state.unlabeled
    model, target = state.fit_supervised(), state.target.copy()
    pred_encoded, confidence = state.pseudo_label(model, rows)
    for _ in range(_CERTAIN_ROUNDS)[: params.max_iter]:
        certain = None
        if is_plain_net(model):
            certain = is_certain(model, state.base.rows(rows), pred_encoded, state.seed)
        if certain is None:
            certain = confidence >= _MIN_CONFIDENCE
        chosen = np.flatnonzero(certain & (confidence > 0.5))
        chosen = state.limit_number(chosen, pred_encoded, confidence)
        if len(chosen) == 0:
            break
        state.n_iter += 1
        is_new = state.labeled_iter[rows[chosen]] < 0
        state.record(rows[chosen[is_new]])
        target[rows] = -1
        target[rows[chosen]] = pred_encoded[chosen]
        all_weight = state.weights_of_all(rows[chosen], 1, half_labeled=True)
        model = state.base.fit(np.concatenate([labeled, rows[chosen]]), target, all_weight)
        state.update_graph(model)
        pred_encoded, confidence = state.pseudo_label(model, rows)
    weight = state.limit_weight(confidence, pred_encoded)
    model = state.fit_on_all(rows, pred_encoded, weight, half_labeled=True)
    state.update_graph(model)
    return model, "all_labeled"


def _fit_in_rounds(choose, state, params):
    """Add rows in rounds, as scikit-learn's class does: an added row keeps its label."""
    condition = None
    while len(state.unlabeled) and state.n_iter != params.max_iter:
        state.n_iter += 1
        rows = state.unlabeled
        if state.n_iter == 1:
            model = state.fit_supervised()
        else:
            model = state.base.fit(np.flatnonzero(state.target >= 0), state.target)
        pred_encoded, confidence = state.pseudo_label(model, rows)
        chosen = choose(state, params, pred_encoded, confidence)
        if len(chosen) == 0:
            condition = "no_change"
            break
        state.target[rows[chosen]] = pred_encoded[chosen]
        state.record(rows[chosen])
    if state.n_iter == params.max_iter:
        condition = "max_iter"
    if (state.target >= 0).all():
        condition = "all_labeled"
    return state.base.fit(np.flatnonzero(state.target >= 0), state.target), condition


def _choose_by_threshold(state, params, pred_encoded, confidence):
    chosen = np.flatnonzero(confidence > params.threshold)
    return state.limit_number(chosen, pred_encoded, confidence)


def _choose_k_best(state, params, pred_encoded, confidence):
    number = min(params.k_best, len(confidence))
    if state.class_prior is not None:
        # Rows of a class whose share is used up are left out, so that they do not end the rounds.
        chosen = np.arange(len(confidence))
        chosen = state.limit_number(chosen, pred_encoded, confidence, n_chosen=number)
        return chosen[np.argsort(-confidence[chosen], kind="stable")[:number]]
    if number == len(confidence):
        return np.arange(len(confidence))
    return np.argpartition(-confidence, number)[:number]


CRITERIA = {
    "consensus": use_consensus,
    "weight": use_weights,
    "threshold": partial(_fit_in_rounds, _choose_by_threshold),
    "k_best": partial(_fit_in_rounds, _choose_k_best),
    "certain": use_certain,
}
