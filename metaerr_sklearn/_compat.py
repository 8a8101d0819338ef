"""The only imports of private or version-dependent names of scikit-learn and joblib."""

# joblib.hash, the public function, cannot be extended to nets. It is one line around this class.
from joblib.hashing import NumpyHasher
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._array_api import device, get_namespace
from sklearn.utils._metadata_requests import _raise_for_params as raise_for_params
from sklearn.utils.validation import _check_method_params as slice_params
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _num_samples as num_samples

try:
    from sklearn.utils._repr_html.estimator import _VisualBlock as VisualBlock
except ImportError:  # scikit-learn < 1.7
    from sklearn.utils._estimator_html_repr import _VisualBlock as VisualBlock

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9 has no callbacks (SLEP 23)

    class CallbackSupportMixin:
        """Replace scikit-learn's class if the installed version has no callbacks."""

    def with_callbacks(method):
        """Return the method unchanged."""
        return method


__all__ = [
    "CallbackSupportMixin",
    "NumpyHasher",
    "VisualBlock",
    "check_sample_weight",
    "device",
    "get_namespace",
    "num_samples",
    "raise_for_params",
    "safe_indexing",
    "slice_params",
    "with_callbacks",
]
