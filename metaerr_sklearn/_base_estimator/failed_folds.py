"""Find folds whose training failed; train them anew, or leave their rows out."""

import numpy as np
from scipy.stats import binom, hypergeom
from sklearn.base import clone

from .._utils.messages import warn_caller
from .._utils.random import random_state_params
from .._utils.rows import evenly_spaced

# A fold of ordinary rows is suspected with this probability, over all folds of a cross-fitting. It
# then costs a further fit, and nothing else.
_SUSPECT_LEVEL = 0.01
# Level of the tests that compare two classifiers on the same rows.
_FAILED_LEVEL = 0.001
# Share of the excess error rate of a fold that the failed training must explain.
_FAILED_SHARE = 2 / 3
#: Number of training rows that show whether a training failed.
MAX_SHOWN_ROWS = 1000


def mend_failed_folds(results, splits, y_encoded, fit_anew):
    """Replace the results of folds whose training failed, with one warning.

    A net may stay at the majority class in one fold. The errors of this fold show nothing of the
    deployed base, and an error model that learns from them is worse than confidence.

    A fold is suspected if its error rate exceeds that of the others beyond chance. Its rows may
    just be hard: a group unlike the others, or a later time. It is therefore trained anew with
    another seed. The training has failed

    - for good, if the new clone makes more errors on its own training rows than the clones of other
      folds, which were not trained on these rows;
    - in the first try, if the new clone makes fewer errors on the test rows.

    Either difference must be beyond chance, and at least two thirds of that by which the error rate
    of the fold exceeds that of the others. Otherwise the rows are hard, and nothing is changed. A
    base without random numbers is trained anew as well, because the first clone is not kept.
    If half of the folds or more are suspected, as one of two folds is, nothing is changed either:
    it is then not clear which trainings are the exception.

    Parameters
    ----------
    results : list of (BasePredictions, tuple of ndarray, any)
        Predictions of the test rows, observed meta-features and what is kept of each fold. An entry
        of a failed fold is replaced: by the new result, or by None if its rows must be left out.
    splits : list of (train, test)
        The folds.
    y_encoded : ndarray of int, shape (n_samples,)
        Positions of the class labels.
    fit_anew : callable
        Takes a list of (number of the fold, train, rows to predict), and returns one result each.

    Returns
    -------
    failed : dict of int to str
        Numbers of the failed folds, from 1, and what was done: "trained anew" or "left out".
    """
    is_error = [
        y_encoded[test] != predictions.pred_encoded
        for (_, test), (predictions, *_) in zip(splits, results)
    ]
    suspects = _worse_than_the_others(is_error)
    if not 0 < len(suspects) < len(splits) / 2:
        return {}
    oof_error = np.full(len(y_encoded), np.nan)
    for number, (_, test) in enumerate(splits):
        if number not in suspects:
            oof_error[test] = is_error[number]
    shown = [_some_rows_with_value(train, oof_error) for train, _ in (splits[k] for k in suspects)]
    jobs = [
        (k, splits[k][0], np.concatenate([splits[k][1], rows])) for k, rows in zip(suspects, shown)
    ]
    others = np.concatenate([e for k, e in enumerate(is_error) if k not in suspects]).mean()
    failed, descriptions = {}, []
    for k, rows, (predictions, observed, kept) in zip(suspects, shown, fit_anew(jobs)):
        n_test = len(splits[k][1])
        pred_test, pred_train = np.split(predictions.pred_encoded, [n_test])
        new_error = y_encoded[splits[k][1]] != pred_test
        least = _FAILED_SHARE * (is_error[k].mean() - others)
        if is_worse(y_encoded[rows] != pred_train, oof_error[rows] == 1, least):
            results[k], failed[k + 1] = None, "left out"
        elif is_worse(is_error[k], new_error, least):
            predictions = predictions._replace(
                pred_encoded=pred_test, proba=predictions.proba[:n_test]
            )
            results[k] = predictions, tuple(values[:n_test] for values in observed), kept
            failed[k + 1] = "trained anew"
        else:
            continue
        descriptions.append(
            f"fold {k + 1} of {len(splits)} (error rate {is_error[k].mean():.2f}, "
            f"{new_error.mean():.2f} after a second training: {failed[k + 1]})"
        )
    if failed:
        warn_caller(
            f"The training of the base failed in {', '.join(descriptions)}. The error rate of the "
            f"other folds is {others:.2f}. The second training used another seed, if the "
            'base has one. The rows of a fold that is "left out" have no out-of-fold prediction, '
            "and the error model does not learn from them. See failed_folds_. The training of the "
            "deployed base can fail in the same way: check its accuracy on new rows."
        )
    return failed


def with_other_seed(estimator, seed):
    """Return a clone whose random states are unset, and another seed than `seed`."""
    estimator = clone(estimator)
    states = random_state_params(estimator)
    if states:
        estimator.set_params(**dict.fromkeys(states))
    return estimator, 1 if seed is None else seed + 1


def _worse_than_the_others(is_error):
    """Return the folds with more errors than the others beyond chance, by Fisher's exact test."""
    n_errors = np.array([np.count_nonzero(errors) for errors in is_error])
    n_rows = np.array([len(errors) for errors in is_error])
    p_value = hypergeom.sf(n_errors - 1, n_rows.sum(), n_errors.sum(), n_rows)
    return np.flatnonzero(p_value * len(is_error) < _SUSPECT_LEVEL).tolist()


def is_worse(is_error, reference, least):
    """Return whether errors exceed those of `reference` on the same rows beyond chance (sign test).

    The difference of the error rates must also be at least `least`.
    """
    n_worse = np.count_nonzero(is_error & ~reference)
    n_different = np.count_nonzero(is_error != reference)
    is_beyond_chance = binom.sf(n_worse - 1, n_different, 0.5) < _FAILED_LEVEL
    return bool(is_beyond_chance and is_error.mean() - reference.mean() >= least)


def _some_rows_with_value(rows, values):
    """Return at most `MAX_SHOWN_ROWS` of the rows whose value is not NaN."""
    return evenly_spaced(rows[~np.isnan(values[rows])], MAX_SHOWN_ROWS)
