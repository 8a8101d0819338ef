"""Everything that touches the base: inspection, fitting, prediction, cross-fitting, delegation."""
