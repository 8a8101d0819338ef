"""Make, or show, the meta-learner that a parameter names."""

from sklearn.base import clone

from .._base_estimator.adapter import why_no_classifier
from .._compat import VisualBlock
from .._utils.parameter_checks import check_not_a_module
from ._base import ConfidenceMetaLearner, ResidualMetaLearner
from ._combined import AverageMetaLearner, ClassifierMetaLearner
from ._lightgbm import LightGBMMetaLearner
from ._logistic import LogisticMetaLearner
from ._mlp import MLPMetaLearner

_NAMED_LEARNERS = {
    "auto": lambda n_jobs: AverageMetaLearner(
        [LightGBMMetaLearner(n_jobs=n_jobs), LogisticMetaLearner()], n_jobs=n_jobs
    ),
    "lightgbm": lambda n_jobs: LightGBMMetaLearner(n_jobs=n_jobs),
    "mlp": lambda n_jobs: MLPMetaLearner(),
    "logistic": lambda n_jobs: LogisticMetaLearner(),
    "confidence": lambda n_jobs: ConfidenceMetaLearner(),
}


def make_meta_learner(meta_learner, *, n_jobs=None, only_input=False):
    """Return an unfitted meta-learner.

    Parameters
    ----------
    meta_learner : str, meta-learner or classifier
        As for `ErrorModel`.
    n_jobs : int, default=None
        Threads of the learners that are chosen by name.
    only_input : bool, default=False
        Whether a classifier is fitted on X itself.

    Returns
    -------
    learner : ResidualMetaLearner

    Raises
    ------
    ValueError
        If `meta_learner` is none of these.
    """
    if isinstance(meta_learner, str) and meta_learner in _NAMED_LEARNERS:
        return _NAMED_LEARNERS[meta_learner](n_jobs)
    if isinstance(meta_learner, ResidualMetaLearner):
        meta_learner.check_parameters()
        return clone(meta_learner)
    check_not_a_module(meta_learner)
    if not isinstance(meta_learner, str) and why_no_classifier(meta_learner) is None:
        return ClassifierMetaLearner(meta_learner, raw_input=only_input)
    raise ValueError(
        f"meta_learner must be one of {', '.join(map(repr, _NAMED_LEARNERS))}, a meta-learner "
        f"of this package or a classifier, got {meta_learner!r}."
    )


class HasMetaLearner:
    """Show the meta-learner in the HTML of an estimator, and explain how its parameters are set.

    A subclass has the parameter ``meta_learner``, and the attribute ``error_model_`` or
    ``meta_learner_`` after `fit`.
    """

    def set_params(self, **params):
        """Set the parameters of this object and of the objects inside.

        Parameters
        ----------
        **params : dict
            Values by name; ``meta_learner__num_leaves`` is a parameter of the meta-learner, which
            must then be an object and not a word.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a name is no parameter, or `meta_learner` is a word or None and a parameter of it is
            set.
        """
        learner = params.get("meta_learner", self.meta_learner)
        nested = [name for name in params if name.startswith("meta_learner__")]
        if nested and (learner is None or isinstance(learner, str)):
            raise ValueError(
                f"{nested[0]} cannot be set, because meta_learner={learner!r} is no object with "
                "parameters. Pass one as meta_learner=, for example LightGBMMetaLearner() or "
                "LogisticMetaLearner()."
            )
        return super().set_params(**params)

    def _sk_visual_block_(self):
        parts = {"meta_learner": self._shown_learner()}
        if hasattr(self, "estimator"):
            parts = {"estimator": getattr(self, "estimator_", self.estimator), **parts}
        names = []
        for name in parts:
            given = getattr(self, name)
            is_short = given is None or isinstance(given, str)
            names.append(f"{name}: {given if is_short else type(given).__name__}")
        shown = list(parts.values())
        return VisualBlock("parallel", shown, names=names, name_details=list(map(str, shown)))

    def _shown_learner(self):
        """Return the fitted meta-learner, the one that `fit` would train, or a text."""
        model = getattr(self, "error_model_", self)
        if hasattr(model, "meta_learner_"):
            if model.meta_learner_ is None:
                return "nothing learned: see fallback_reason_"
            return getattr(model.meta_learner_, "estimator_", model.meta_learner_)
        if model is None or self.meta_learner is None:
            return "1 - max probability"
        if isinstance(self.meta_learner, str) and self.meta_learner in _NAMED_LEARNERS:
            return _NAMED_LEARNERS[self.meta_learner](None)
        return self.meta_learner
