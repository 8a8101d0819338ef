"""Turn any X into one numeric matrix in which distances are meaningful."""

from ._numeric import NumericRepresentation, UnsupportedInputError

__all__ = ["NumericRepresentation", "UnsupportedInputError"]
