"""Keep the checkpoints of nets that are fitted on different rows apart."""

import os
import tempfile

from skorch.callbacks import Callback


class OwnFolder(Callback):
    """Let all checkpoints of a net be saved in, and loaded from, a new folder.

    It must stand before the other callbacks of the user. Clones of the net, as a search fits them,
    get a new folder each.

    Parameters
    ----------
    folder : str
        Where the new folders are made.
    """

    def __init__(self, folder):
        self.folder = folder

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Redirect the callbacks before they read or write a file."""
        folder = tempfile.mkdtemp(dir=self.folder)
        for _, callback in net.callbacks_:
            # LoadInitState has a checkpoint as parameter, TrainEndCheckpoint makes one.
            inner = (getattr(callback, name, None) for name in ("checkpoint", "checkpoint_"))
            for checkpoint in (callback, *inner):
                if hasattr(checkpoint, "dirname"):
                    _redirect(checkpoint, folder)


def _redirect(checkpoint, folder):
    checkpoint.dirname = folder
    for name, value in list(vars(checkpoint).items()):
        if name.startswith(("f_", "fn_")) and isinstance(value, (str, os.PathLike)):
            # An absolute path would replace the folder.
            setattr(checkpoint, name, str(value).replace(os.sep, "_"))
