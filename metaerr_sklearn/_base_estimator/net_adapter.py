"""Fit a skorch net and predict with it."""

import re
from contextlib import contextmanager, nullcontext

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from .._compat import num_samples
from .._utils.indexable import indexable
from .._utils.messages import name_of, warn_caller
from .._utils.probabilities import label_positions, scaled_to_sum_1
from .._utils.random import draw_seed
from .._utils.rows import check_has_rows, is_instance_by_name, take_rows
from .classifier_adapter import ClassifierAdapter
from .inspection import (
    final_estimator,
    find_search,
    has_predict_of,
    transform_before,
    without_wrappers,
)
from .net_checks import (
    check_iterator,
    check_monitors,
    check_sampler,
    check_takes_table,
    check_validation_rows,
    check_was_trained,
)


class NetAdapter(ClassifierAdapter):
    """Fit a skorch net, or a Pipeline or search around one, and predict with it.

    A net takes float32 inputs and the positions of classes as int64 (float32 if it has one output
    unit). It draws its random numbers from the process-wide generators. They are seeded before each
    call and restored afterwards.
    """

    is_net = True
    scores_advice = (
        "A net needs a softmax: with skorch use criterion=torch.nn.CrossEntropyLoss on raw "
        "logits, or end the module in Softmax for NLLLoss. With another criterion on logits, "
        "pass predict_nonlinearity=softmax, with a function softmax(out) that returns "
        "out.softmax(1)."
    )

    def is_classifier(self):
        """Return True: skorch's nets have no tag that marks classifiers."""
        return True

    def sample_weight_param(self):
        """Return None: nets draw their batches by weight instead, see `fit_net_weighted`."""
        return None

    def n_jobs(self, n_jobs):
        """Return 1 for a net on an accelerator, because processes would have to share it."""
        return n_jobs if str(getattr(self.final, "device", "")) == "cpu" else 1

    def as_input(self, X):
        """Return X as float32, see `neural.as_net_input`."""
        from ..neural._as_net_input import as_pipeline_input, input_of

        if is_instance_by_name(X, "torch.utils.data", "DataLoader"):
            (X,) = indexable(X)
        is_pipeline = isinstance(without_wrappers(self.estimator), Pipeline)
        return as_pipeline_input(X) if is_pipeline else input_of(self.final, X)

    def take_rows(self, X, rows):
        """Return some rows of X; rows of a memory map are read only when the net needs them."""
        return take_rows(self.as_input(X) if isinstance(X, np.memmap) else X, rows)

    def draws_batches_by_weight(self):
        """Return whether the net, alone or at the end of a Pipeline, has a training iterator."""
        net = self.estimator
        net = net.steps[-1][1] if isinstance(net, Pipeline) else net
        return hasattr(net, "iterator_train")

    def preserved_rng(self, seed):
        """Return a context that seeds and restores the random generators used in prediction."""
        from ..neural import preserved_rng

        return preserved_rng(seed)

    def fit_by_weighted_batches(self, X, y_encoded, weight, *, classes, seed):
        """Fit a clone whose batches are drawn in proportion to weights, see `fit_net_weighted`.

        Parameters
        ----------
        X : any, of length n_samples
            Training rows.
        y_encoded : ndarray of int, shape (n_samples,)
            Positions of their classes.
        weight : ndarray of shape (n_samples,)
            Weights.
        classes : ndarray of shape (n_classes,)
            Sorted labels.
        seed : int or None
            Seed of the fit; None draws a seed.

        Returns
        -------
        estimator : fitted net or Pipeline
        """
        from ..neural import fit_net_weighted

        seed = draw_seed(None) if seed is None else seed
        encoded = self._encode(y_encoded, classes, X)
        if not isinstance(self.estimator, Pipeline):
            with self._explained(classes, X, encoded):
                fitted = fit_net_weighted(self.estimator, X, encoded, weight, seed=seed)
            return _with_classes(fitted, classes)
        pipeline = clone(self.estimator)
        name, net = pipeline.steps[-1]
        if len(pipeline.steps) > 1:
            X = self.as_input(X)
            head = pipeline[:-1].fit(self.own_copy(X), encoded)
            pipeline.steps[:-1] = head.steps
            X = transform_before(pipeline, X)
        with self._explained(classes, X, encoded):
            pipeline.steps[-1] = (name, fit_net_weighted(net, X, encoded, weight, seed=seed))
        return _with_classes(pipeline, classes)

    def _explained_inputs(self, X):
        """Explain torch's errors about X; the steps of a Pipeline give the net another X."""
        from ..neural._torch_errors import explained_inputs

        is_pipeline = isinstance(without_wrappers(self.estimator), Pipeline)
        return explained_inputs(None if is_pipeline else X, self.name)

    @contextmanager
    def _explained(self, classes, X, encoded):
        """Explain the error of a criterion that gets the number of an output that is missing."""
        try:
            with self._explained_inputs(X):
                yield
        except IndexError as error:
            check_sampler(self.final)
            missing = re.search(r"Target (\d+) is out of bounds", str(error))
            if missing is None:
                raise
            if int(missing[1]) > encoded.max():
                raise ValueError(
                    f"{self.name} is trained on the numbers of its outputs, 0 to "
                    f"{int(encoded.max())}, but gets the label {missing[1]} from elsewhere. The "
                    "labels in a validation set of your own (predefined_split) must be such "
                    "numbers: give each label its position among the sorted labels, "
                    "np.unique(y).tolist().index(label)."
                ) from error
            raise ValueError(
                f"{self.name} has fewer output units than y has classes, which are "
                f"the {len(classes)} labels {_some(classes)}. Give the module one output "
                "unit per class."
            ) from error

    def check_fit(self, X, y):
        """Raise if the net cannot be trained on these rows, before anything costly is fitted."""
        check_iterator(self.final)
        check_monitors(self.final)
        self._outputs_of(np.unique(y), X)

    def check_training_parts(self, y, parts):
        """Raise if the net cannot draw its rows, or hold out some, in a training part."""
        check_sampler(self.final)
        check_validation_rows(self.final, y, parts)

    def check_takes_table(self):
        """Raise if the net takes images, unless first steps may make images of a table."""
        if not isinstance(self.estimator, Pipeline):
            check_takes_table(self.final)

    def _encode(self, y_encoded, classes, X):
        """Return output numbers as int64, or classes as float32 for a net with one output unit."""
        outputs = self._outputs_of(classes, X)[y_encoded]
        return outputs.astype(np.float32 if self._is_binary else np.int64)

    @property
    def _is_binary(self):
        from skorch import NeuralNetBinaryClassifier

        return isinstance(self.final, NeuralNetBinaryClassifier)

    @property
    def _is_trained_module(self):
        """Whether the net comes from `as_classifier`, so that no fit has shown its labels."""
        return getattr(self.final, "outputs_are_numbered", False)

    @property
    def _call_to_name_outputs(self):
        """What a user types to name the outputs, up to the names."""
        start = "as_classifier(module, " if self._is_trained_module else "net.set_params("
        return f"{start}classes="

    def _outputs_of(self, classes, X):
        """Return the number of the output unit that is trained for each class.

        If the parameter ``classes`` of the net names its outputs, the names decide. Integers with
        gaps, such as 0 to 42 without 7, are output numbers if the net has an output for each of
        them. In all other cases the outputs have the order of the sorted classes.

        Parameters
        ----------
        classes : ndarray of shape (n_classes,)
            Sorted labels.
        X : any
            Training rows. A row shows how many outputs the untrained net has.

        Returns
        -------
        outputs : ndarray of int, shape (n_classes,)
        """
        net, positions = self.final, np.arange(len(classes))
        if self._is_binary:
            if len(classes) > 2:
                raise ValueError(
                    f"{name_of(net)} separates 2 classes, got {len(classes)}. Use a "
                    "skorch.NeuralNetClassifier with one output unit per class."
                )
            return positions
        named = self._declared_classes()
        if named is not None and _is_text(named) == _is_text(classes):
            order = np.argsort(named)
            found = label_positions(classes, named[order])
            if (found < 0).any():
                raise ValueError(
                    f"y holds the labels {_some(classes[found < 0])}, which are not among the "
                    f"classes= of {name_of(net)}: {_some(named)}. Name each output of the "
                    "net in classes=, in the order of the outputs."
                )
            return order[found]
        if _has_gaps(classes):
            n_outputs = self._n_outputs_of_unfitted(X)
            if n_outputs is not None and len(classes) < n_outputs and classes[-1] < n_outputs:
                return classes.astype(np.intp)
        return positions

    def _declared_classes(self):
        """Return the parameter ``classes`` of the net as an array; None if it is not set."""
        classes = getattr(self.final, "classes", None)
        return None if classes is None or not len(classes) else np.asarray(classes)

    def _n_outputs_of_unfitted(self, X):
        """Return the number of outputs of the net before it is trained; None if it is unknown."""
        try:
            X = self.as_input(self.take_rows(X, np.arange(min(num_samples(X), 100))))
            base = clone(without_wrappers(self.estimator))
            while isinstance(base, Pipeline):
                if len(base.steps) > 1:
                    X = base[:-1].fit_transform(X)
                base = without_wrappers(base.steps[-1][1])
            with self.preserved_rng(0):
                net = base.set_params(callbacks="disable").initialize()
                return net.predict_proba(X).shape[1]
        except Exception:
            # The module may get its size only in fit, and transformers may need y.
            return None

    def fit(self, X, y, *, classes, fit_params, seed, context):
        """Fit the net itself; parameters and result as in `ClassifierAdapter.fit`."""
        from ..neural._net import NET_LOCK, preserved_rng

        X, y_encoded = self.as_input(X), np.searchsorted(classes, y)
        encoded = self._encode(y_encoded, classes, X)
        rng = preserved_rng(
            draw_seed(None) if seed is None else seed, device=getattr(self.final, "device", None)
        )
        # Without a lock, nets that are fitted in several threads would draw from the same
        # generators. A search gets no lock: the threads that it starts would wait for it for ever.
        lock = nullcontext() if find_search(self.estimator) is not None else NET_LOCK
        with lock, rng, context, self._explained(classes, X, encoded):
            fitted = self.estimator.fit(X, encoded, **fit_params)
        in_order = self._declared_classes() is None and np.array_equal(encoded, y_encoded)
        if in_order and _has_gaps(classes) and self._n_outputs(X) != len(classes):
            raise ValueError(self._wrong_number(self._n_outputs(X), classes))
        return _with_classes(fitted, classes)

    def own_copy(self, X):
        """Return X for a call of the base: only a step before the net may change it in place."""
        return super().own_copy(X) if isinstance(self.estimator, Pipeline) else X

    def call(self, method, X):
        """Call a method of the net; the process-wide random generators keep their state.

        Raises
        ------
        ValueError
            If X has no row.
        """
        from ..neural._net import NET_LOCK, preserved_rng
        from ..neural._torch_errors import without_row_axis

        X = self.own_copy(self.as_input(X))
        check_has_rows(X, self.final)
        check_iterator(self.final)
        try:
            with NET_LOCK, preserved_rng(0), self._explained_inputs(X):
                output = getattr(self.estimator, method)(X)
        except TypeError as error:
            if "BFloat16" not in str(error):
                raise
            raise TypeError(
                f"The module of {self.name} returns bfloat16, which NumPy does not "
                "have. Return output.float() from the module."
            ) from error
        if method == "predict_proba" and np.ndim(output) == 1 and num_samples(X) == 1:
            raise ValueError(without_row_axis(self.name))
        return output

    def checked_proba(self, proba):
        """Return the net's probabilities, or raise; NaN is no question of a softmax."""
        self.check_no_nan(proba, "predict_proba")
        return super().checked_proba(proba)

    def check_no_nan(self, output, what):
        """Raise if an output of the net has rows that are not numbers."""
        is_nan = np.isnan(output).any(axis=1)
        if is_nan.any():
            raise ValueError(
                f"{what} of {self.name} is NaN in {is_nan.sum()} of {len(output)} rows, row "
                f"{is_nan.argmax()} the first. Either X has NaN or infinite values there, or the "
                "training diverged: fill such values, or lower lr."
            )

    def predict(self, X, classes):
        """Return one label for each row: the label of the output that the net predicts."""
        if self.predicts_argmax():
            proba = np.asarray(self.call("predict_proba", X))
            position, n_outputs = proba.argmax(axis=1), proba.shape[1]
        else:
            position, n_outputs = np.asarray(self.call("predict", X)), self._n_outputs(X)
            if position.dtype.kind in "USO":
                return position  # the user's own predict returns labels
        labels = self._labels_of_outputs(classes, n_outputs)
        if position.max(initial=0) >= len(labels):
            raise ValueError(
                f"The net predicts class number {position.max()}, but there are {len(labels)} "
                "classes. Give the module one output unit per class."
            )
        return labels[position]

    def own_proba(self, X, classes):
        """Return the net's probabilities and the labels of its outputs."""
        proba = np.array(self.call("predict_proba", X))  # its memory may be that of the next call
        if proba.ndim != 2:
            raise ValueError(self._wrong_number(proba.shape, classes))
        labels = self._labels_of_outputs(classes, proba.shape[1])
        return self.checked_proba(proba), labels

    def without_unknown(self, proba, is_known, own_classes, classes):
        """Return the probabilities of the known classes, scaled to a sum of 1.

        A net may have more outputs than y has classes. It was not trained for the others.
        """
        return scaled_to_sum_1(proba[:, is_known], 1 / is_known.sum())

    def fill_zero_rows(self, proba):
        """Return the probabilities unchanged: a row of zeros from a net is a failure."""
        return np.asarray(proba)

    def predicts_argmax(self):
        """Return whether ``predict`` is skorch's own and has no threshold, or the threshold 0.5."""
        net = self.final
        own = ("skorch.", "metaerr_sklearn.neural.")
        return has_predict_of(net, own) and getattr(net, "threshold", 0.5) == 0.5

    def classes_of_output(self, classes, X):
        """Return the labels of the net's outputs, in their order.

        Parameters
        ----------
        classes : ndarray of shape (n_classes,)
            Labels that are known from y.
        X : any
            Rows. The first ones show how many outputs the net has.

        Returns
        -------
        classes : ndarray
        """
        return self._labels_of_outputs(classes, self._n_outputs(X))

    def classes_of_prefit(self, X, y):
        """Return the labels of the outputs of a net that was fitted elsewhere, in their order.

        The labels come from the net's ``classes_``. If the net has none, or names in place of
        integers, output j is label j. There is a warning if a label of y has no output.

        Parameters
        ----------
        X : any
            Rows. The first ones show how many outputs the net has.
        y : ndarray of shape (n_samples,)
            Labels of the rows.

        Returns
        -------
        classes : ndarray

        Raises
        ------
        ValueError
            If the order of the outputs is unknown, or if no label of y is an output of the net.
        """
        labels, name, n_outputs = np.unique(y), self.name, self._n_outputs(X)
        known = self._known_classes()
        is_unnamed = known is None or _is_text(known) != _is_text(labels)
        is_unknown = _is_text(labels) or (
            # As many labels as outputs, such as 1 to 10, that are not the numbers of the outputs.
            _has_gaps(labels) and not self._is_binary and len(labels) == n_outputs
        )
        call = self._call_to_name_outputs
        name_them = f"name the outputs in their order: {call}[...])"
        if is_unnamed and is_unknown:
            how = (
                "Pass y as 0 and 1, where 1 is the class of the output."
                if self._is_binary
                else f"Please {name_them}. This needs no new fit. With a LabelEncoder: "
                f"{call}encoder.classes_). If the order is that of the sorted labels: "
                f"{call}{_as_code(labels)})."
            )
            raise ValueError(
                f"y holds labels like {labels[-1:].tolist()[0]!r}, but this fitted {name} does not "
                f"name its outputs, so that their order is unknown. {how}"
            )
        classes = self._labels_of_outputs(labels, n_outputs)
        missing = np.setdiff1d(labels, classes)
        if len(missing) == len(labels):
            raise ValueError(
                f"No label of y, {_some(labels)}, is among the labels of the outputs of {name}, "
                f"{_some(classes)}. Give y the labels that the net was trained with, or "
                f"{name_them}."
            )
        if len(missing):
            warn_caller(
                f"{name} has no output for {_some(missing)} in y: each row with such a label "
                f"counts as an error. If an output stands for it, {name_them}."
            )
        return classes

    def _known_classes(self):
        """Return the labels that the net was fitted on or that the user gave it, or None."""
        if self._is_binary:  # its ``classes_`` are always 0 and 1
            classes = getattr(self.final, "classes_inferred_", None)
            return None if np.array_equal(classes, [0, 1]) else classes
        if self._is_trained_module:
            return self._declared_classes()
        classes = getattr(self.final, "classes_", None)
        return None if classes is None else np.asarray(classes)

    def _n_outputs(self, X):
        """Return the number of columns of the fitted net's probabilities."""
        # A few rows of `as_classifier` do not show whether a single output in [0, 1] is a logit. A
        # module may squeeze a single row.
        n_rows = 100 if self._is_trained_module else 2
        rows = np.arange(min(num_samples(X), n_rows))
        return np.shape(self.call("predict_proba", self.take_rows(X, rows)))[-1]

    def _labels_of_outputs(self, classes, n_outputs):
        """Return the label of each output of a fitted net, in the order of the outputs.

        Parameters
        ----------
        classes : ndarray of shape (n_classes,)
            Labels that are known from y.
        n_outputs : int
            Number of outputs of the net.

        Returns
        -------
        labels : ndarray of shape (n_outputs,)

        Raises
        ------
        ValueError
            If the labels of the outputs cannot be known.
        """
        known = self._known_classes()
        if known is not None and _is_text(known) == _is_text(classes):
            if len(known) == n_outputs:
                return known.astype(object) if classes.dtype == object else known
            if self._declared_classes() is not None:
                raise ValueError(
                    f"{self.name} has {n_outputs} outputs, but its parameter "
                    f"classes= has {len(known)} labels: {_some(known)}. Give one label for each "
                    "output, in their order."
                )
            are_numbers = _is_whole(known) and known.max() < n_outputs
        elif n_outputs == len(classes):
            return classes
        else:
            are_numbers = _is_whole(classes)
        if are_numbers:
            numbers = np.arange(n_outputs)
            return numbers.astype(np.promote_types(classes.dtype, np.min_scalar_type(n_outputs)))
        raise ValueError(self._wrong_number(n_outputs, classes))

    def _wrong_number(self, n_outputs, classes):
        return (
            f"{self.name} gives {n_outputs} outputs for each row, but y has "
            f"{len(classes)} classes: {_some(classes)}. A net needs as many output units as there "
            "are classes. If it has more, name all of them in their order: "
            f"{self._call_to_name_outputs}[...])."
        )


def _with_classes(estimator, classes):
    """Set the labels of a fitted net, which was trained on the numbers of its outputs."""
    net = final_estimator(estimator)
    check_was_trained(net)
    net.classes_inferred_ = classes
    return estimator


def _is_text(labels):
    return not np.issubdtype(labels.dtype, np.number) and isinstance(labels.flat[0], (str, bytes))


def _is_whole(labels):
    """Return whether all labels are whole numbers."""
    return labels.dtype.kind in "iu" or (
        labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all())
    )


def _has_gaps(classes):
    """Return whether labels are output numbers that do not run from 0 without a gap."""
    return _is_whole(classes) and classes[0] >= 0 and classes[-1] >= len(classes)


def _as_code(labels):
    """Return code that makes sorted labels: a range, a list if it is short, else a call."""
    first, last = labels[[0, -1]].tolist()
    if labels.dtype.kind in "iu" and last - first + 1 == len(labels):
        return f"range({first}, {last + 1})"
    return labels.tolist() if len(labels) <= 10 else "np.unique(y)"


def _some(labels):
    """Return the labels as text: the first nine and the last one."""
    shown = list(map(repr, labels.tolist()))
    return f"[{', '.join(shown if len(shown) <= 10 else [*shown[:9], '...', shown[-1]])}]"
