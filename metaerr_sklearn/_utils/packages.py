"""Say what to do if a package is missing that only a part of this package needs."""

from importlib import import_module

_HINTS_IF_MISSING = {
    "torch": " Without a GPU, first install the CPU build of torch, which is gigabytes smaller on "
    "Linux: the website of PyTorch has the command.",
}
_HINTS_IF_BROKEN = {
    "lightgbm": " If libgomp or libomp is missing, install OpenMP: libgomp1 on Debian and Ubuntu, "
    "libgomp on Fedora, libomp on macOS.",
}


def check_importable(*packages, user, instead):
    """Import packages, and raise an error with advice if one is missing or broken.

    Parameters
    ----------
    *packages : str
        Names, in the order in which they need each other.
    user : str
        What needs the packages, as the user writes it.
    instead : str
        What the user can do without them, as a sentence.

    Raises
    ------
    ImportError
        If a package is not installed, or raises any error when it is imported.
    """
    for package in packages:
        try:
            import_module(package)
        except Exception as error:  # a shared library that is not found raises an OSError
            if isinstance(error, ModuleNotFoundError) and error.name == package:
                problem = f"is not installed. Install it with `pip install {' '.join(packages)}`."
                problem += _HINTS_IF_MISSING.get(package, "")
            else:
                problem = (
                    f"is installed but cannot be imported ({type(error).__name__}: {error}). If "
                    f"`python -c 'import {package}'` fails too, install it again with "
                    f"`pip install --force-reinstall {package}`."
                )
                problem += _HINTS_IF_BROKEN.get(package, "")
            raise ImportError(f"{user} needs {package}, which {problem} {instead}") from error
