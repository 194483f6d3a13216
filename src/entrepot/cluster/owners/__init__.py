"""An owner that is in another process: what a front asks of it, and what it answers, as frames of a link (docs/formats/owners.md).

RemoteOwner is what a front calls, ServedOwner carries out what arrives, Crossing is what both have of one link.
"""
