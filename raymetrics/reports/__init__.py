"""Turn results into tables, figures and pages.

Reports read the fields of results, never their labels, and compute no metric. Each part is imported
by its own name, as a table in a terminal needs neither torch nor a template.
"""
