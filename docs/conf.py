"""Settings of the documentation site. `sphinx-build -W -b html docs docs/_build` builds it."""

import re
import warnings

import metaerr_sklearn

project = "metaerr_sklearn"
author = "The metaerr_sklearn developers"
copyright = author
version = release = metaerr_sklearn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples/*.rst", "gallery/*.ipynb"]
templates_path = ["_templates"]
# Docstrings have names of parameters in single backticks, as scikit-learn's have.
default_role = "literal"
myst_heading_anchors = 3

autosummary_generate = True
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "backreferences_dir": "generated/backreferences",
    "doc_module": "metaerr_sklearn",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 1000,
}
# An example that warns would teach a reader to pass over warnings.
warnings.filterwarnings("error", module="metaerr_sklearn")

html_theme = "pydata_sphinx_theme"
html_title = "metaerr_sklearn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
# Pages without siblings need no list of siblings.
html_sidebars = {page: [] for page in ("getting_started", "which_tool", "concepts")}
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def skip_members_of_scikit_learn(app, what, name, obj, skip, options):
    """Leave out methods such as `get_params`, which scikit-learn documents."""
    module = getattr(obj, "__module__", None) or ""
    return True if module.split(".")[0] == "sklearn" else None


# Methods of `ErrorModel` that take or return checked rows, for the estimators that contain one.
_FOR_OTHER_ESTIMATORS = {
    "check_can_explain",
    "explain_observations",
    "fit_observations",
    "n_novelty_rows",
    "novelty_of",
    "predict_observations",
    "with_representation",
}


def skip_methods_for_other_estimators(app, what, name, obj, skip, options):
    """Leave out what only other estimators of the package call."""
    is_check = getattr(obj, "__qualname__", None) == "ErrorModel.check_parameters"
    return True if is_check or name in _FOR_OTHER_ESTIMATORS else None


def link_to_gallery(app, docname, source):
    """Lead links to example scripts, which a repository browser needs, to the pages of the site."""
    pages = re.sub(r"\((\.\./)?examples/(plot_\w+)\.py\)", r"(\g<1>gallery/\2.rst)", source[0])
    source[0] = re.sub(r"\((\.\./)?examples\)", r"(\g<1>gallery/index.rst)", pages)


def setup(app):
    app.connect("autodoc-skip-member", skip_members_of_scikit_learn)
    app.connect("autodoc-skip-member", skip_methods_for_other_estimators)
    app.connect("source-read", link_to_gallery)
