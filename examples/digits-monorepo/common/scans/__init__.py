"""Scanned digits, as both models see them: 8 × 8 pixels in a row of 64, each from 0 (paper) to 16 (ink)."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

INK = 16.0  # the darkest that the scanner gives


def split(test_share, seed):
    """Pixels and digits to learn from, pixels and digits to judge by."""
    pixels, digits = load_digits(return_X_y=True)
    return train_test_split(
        pixels, digits, test_size=test_share, random_state=seed, stratify=digits
    )


def scaled(pixels):
    """Pixels from 0 to 1, as both models want them; what is served goes through it too."""
    return np.clip(np.asarray(pixels, dtype=float) / INK, 0, 1)
