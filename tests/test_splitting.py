"""Splits for cross-fitting: rows of one group stay together, every test row is unseen."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GroupKFold, KFold

from metaerr_sklearn.model_selection._splitting import check_split_parameter, make_splits


@pytest.mark.parametrize("cv", [1, 0, -2, 0.0, 1.5, None, True, "five"])
def test_split_parameter_that_is_refused(cv):
    with pytest.raises(ValueError, match="cv must be"):
        check_split_parameter(cv)


def test_a_class_of_splitters_is_refused():
    with pytest.raises(TypeError, match=r"cv=KFold is the class itself. Pass a splitter: cv=KFold"):
        check_split_parameter(KFold)


@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [
        (np.arange(150.0), np.arange(150.0, 300), r"cv cannot split .* integer positions, got fl"),
        (["a", "b"], ["c"], "integer positions, got <U1. For an index of rows pass index.get_ind"),
        (np.arange(300), np.arange(300), "A split of cv tests 300 rows that it also trains on"),
        (np.arange(-300, -150), np.arange(-150, 0), "A split of cv has positions from -300 to -1"),
    ],
)
def test_a_bad_list_of_splits_is_described_in_short(train, test, reason):
    """The positions themselves would fill pages."""
    with pytest.raises(ValueError, match=reason) as caught:
        make_splits([(train, test)], np.zeros((300, 1)), np.arange(300) % 2)
    assert len(str(caught.value)) < 300


def test_few_rows_in_a_class_warn_once_and_work():
    y = np.array(["a"] * 20 + ["b"] * 2)
    with pytest.warns(UserWarning, match="Class .*'b'.* has 2 rows, fewer than the 5 folds") as log:
        splits = make_splits(5, np.zeros((22, 1)), y)
    assert len(log) == 1
    assert len(splits) == 5
    assert_array_equal(np.sort(np.concatenate([test for _, test in splits])), np.arange(22))


def test_fewer_folds_where_every_class_is_small():
    y = np.repeat(np.arange(6), 2)
    with pytest.warns(UserWarning, match="No class has more than 2 rows: 2 folds are used"):
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


@pytest.mark.parametrize("cv", [5, 0.3])
def test_groups_of_one_row_each_split_rows_as_without_groups(cv):
    """Two duplicates are then split as well, because no row is related to another."""
    y = np.random.default_rng(0).integers(3, size=100)
    duplicate_id, X = np.arange(100) // 2, np.zeros((100, 1))
    alone = make_splits(cv, X, y, groups=np.arange(100), duplicate_id=duplicate_id)
    for split, expected in zip(alone, make_splits(cv, X, y)):
        for part, expected_part in zip(split, expected):
            assert_array_equal(part, expected_part)
