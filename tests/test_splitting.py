"""Splits for cross-fitting: rows of one group stay together, every test row is unseen."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from metaerr_sklearn.model_selection._duplicates import find_duplicates
from metaerr_sklearn.model_selection._splitting import check_split_parameter, make_splits


@pytest.mark.parametrize("cv", [1, 0, -2, 0.0, 1.5, None, True, "five"])
def test_split_parameter_that_is_refused(cv):
    with pytest.raises(ValueError, match="cv must be"):
        check_split_parameter(cv)


def test_few_rows_in_a_class_warn_once_and_work():
    y = np.array(["a"] * 20 + ["b"] * 2)
    with pytest.warns(UserWarning, match="Class .*'b'.* has 2 rows, fewer than the 5 folds") as log:
        splits = make_splits(5, np.zeros((22, 1)), y)
    assert len(log) == 1
    assert len(splits) == 5
    assert_array_equal(np.sort(np.concatenate([test for _, test in splits])), np.arange(22))


def test_fewer_folds_where_every_class_is_small():
    y = np.repeat(np.arange(6), 2)
    with pytest.warns(UserWarning, match="using 2 folds"):
        assert len(make_splits(5, np.zeros((12, 1)), y)) == 2
    with pytest.raises(ValueError, match="one sample in each of 4 classes"):
        make_splits(5, np.zeros((4, 1)), np.arange(4))


@pytest.mark.parametrize("cv", [5, 0.3, GroupKFold(4)])
def test_groups_are_never_split(cv):
    rng = np.random.default_rng(0)
    groups, y = rng.integers(30, size=300), rng.integers(3, size=300)
    for train, test in make_splits(cv, np.zeros((300, 1)), y, groups=groups):
        assert not np.intersect1d(groups[train], groups[test]).size
    with pytest.raises(ValueError, match="at least 2 groups, got 1"):
        make_splits(5, np.zeros((300, 1)), y, groups=np.zeros(300))


def test_generator_of_splits_is_materialised():
    y = np.tile([0, 1], 20)
    splits = make_splits((s for s in KFold(4).split(y)), y, y)
    assert len(splits) == 4


def test_splits_that_separate_duplicates_are_warned_of():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    X, y = np.vstack([X, X]), np.tile(rng.integers(2, size=60), 2)
    duplicate_id = find_duplicates(X, y)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    with pytest.warns(UserWarning, match=r"tests \d+ rows that have a duplicate in the training"):
        make_splits(folds, X, y, duplicate_id=duplicate_id)
    make_splits(list(folds.split(X, y)), X, y, duplicate_id=duplicate_id)
    make_splits(GroupKFold(5), X, y, groups=duplicate_id, duplicate_id=None)
    make_splits(5, X, y, duplicate_id=duplicate_id)
