"""Exercise 5: a split without a leak."""

import numpy as np


def split(tokens: np.ndarray, context: int, test_share: float) -> tuple[np.ndarray, np.ndarray]:
    """Windows of `context` tokens with the token that follows, int (windows, context + 1): those that train, and test.

    The tests are the last round(test_share * len(tokens)) tokens that a window predicts. No token that a test window
    predicts may be part of a window that trains: else the network has seen the answer.
    """
    windows = np.lib.stride_tricks.sliding_window_view(tokens, context + 1)
    tested = round(test_share * len(tokens))
    # gap: windows that are drawn at random would leak; cut the story in two
    return windows[: len(windows) - tested], windows[len(windows) - tested :]
    # end
