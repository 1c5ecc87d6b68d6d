"""Configurations that ship with the package: one file a task, one `get_config(arg)` each."""
