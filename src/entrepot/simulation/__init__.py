"""Virtual time, disk and network under the real broker code, driven by a seed."""
