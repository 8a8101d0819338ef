"""Give the methods and attributes of the base to the classifier that wraps it."""


def estimator_has(method):
    """Return a check for `available_if`: whether the base, fitted if it is, has a method."""

    def check(self):
        getattr(getattr(self, "estimator_", self.estimator), method)
        return True

    return check


def mirror_columns(model):
    """Tell of the columns of X what the fitted base tells, and nothing from an earlier fit."""
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(model.estimator_, name):
            setattr(model, name, getattr(model.estimator_, name))
        elif name in vars(model):
            delattr(model, name)
