"""The embedded store: one directory with a journal, segments and a checkpoint.

Journal and recovery make commits durable; the sorter moves what stays alive into segments. `opening.open_store` is the way in.
"""
