"""How fast, how small, how late: measurements only, never part of the installed package.

system/ drives a running broker and its peers; micro/ counts nanoseconds per record of single modules.
"""
