"""Use cases: open a view of a dump, look into it, report on it."""
