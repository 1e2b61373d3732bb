"""Graphical-model inference on junction trees. Post-processing: it has never heard of privacy or of records."""
