"""One file per section of the report: evidence in, words and figures out, for templates that decide nothing."""
