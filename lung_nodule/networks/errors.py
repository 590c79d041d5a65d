"""What a user can mend about a network: its options, its input's size, its files."""

from __future__ import annotations


class NetworkOptionError(ValueError):
    """An option that no network can be built with, or an input that it cannot take; the message is one line."""

    user_can_mend = True


class CheckpointError(ValueError):
    """A checkpoint that is missing, unreadable or made for another network; the message is one line."""

    user_can_mend = True
