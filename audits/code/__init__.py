"""Code audits: does a mechanism, as configured, keep its promise?

They use worst-case toy rows and no user record, so their results may be published.
"""

from audits.code.recorder import Call, Recorder, Replayer

__all__ = ["Call", "Recorder", "Replayer"]
