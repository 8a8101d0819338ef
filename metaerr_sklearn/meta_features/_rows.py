"""What a block of meta-features may use."""

from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """What a block may look at, one entry per row.

    On new rows only the first four are known, on rows that clones of the base have trained on also
    `base_fold`. `folds` holds (train, test) positions where rows
    belong together, so that leaving out one row does not hide its answer; `reference` the positions
    of rows that were drawn without regard to their errors: all but some errors, or None for all;
    `asked` what observers heard from a base that has not seen the rows, or None for new rows;
    `base_fold` the number of the clone of the base that predicted the row, or None where one base
    predicted all, and has seen none.
    """

    X: object
    representation: np.ndarray
    proba: np.ndarray
    pred_encoded: np.ndarray
    y: np.ndarray = None
    is_error: np.ndarray = None
    sample_weight: np.ndarray = None
    folds: list = None
    reference: np.ndarray = None
    observed: list = None
    base_fold: np.ndarray = None

    def reference_rows(self):
        """Return the positions of the rows that neighbours and second opinion are made of."""
        return np.arange(len(self.y)) if self.reference is None else self.reference


def _take(rows, positions):
    """Return some rows, as if they were new but for the clone that predicted them."""
    return Rows(
        None,
        rows.representation[positions],
        rows.proba[positions],
        rows.pred_encoded[positions],
        base_fold=None if rows.base_fold is None else rows.base_fold[positions],
    )
