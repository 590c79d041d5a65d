"""What a user can mend about a loss."""

from __future__ import annotations


class LossOptionError(ValueError):
    """An option that a loss does not have; the message is one line."""

    user_can_mend = True
