"""Random transforms of images: reproducible, bounded, and against SciPy."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from pipeline.recipe import Augment
from pipeline.training.augment import transform

NONE = Augment(rotation=0.0, scale=0.0, shear=0.0, shift=0.0)
SOME = Augment(rotation=9.0, scale=0.09, shear=0.18, shift=1.2, elastic=0.7)


def images(count: int = 5) -> tf.Tensor:
    """Smooth blobs, away from the border."""
    noise = np.random.default_rng(1).random((count, 28, 28))
    blurred = np.stack([scipy.ndimage.gaussian_filter(image, 2) for image in noise])
    window = np.pad(np.ones((16, 16)), 6)
    return tf.constant((blurred - blurred.min()) * window, tf.float32)


def moved(limits: Augment, seed: int = 3, step: int = 4) -> np.ndarray:
    return np.asarray(transform(images(), limits, seed, tf.constant(step)))


def test_without_limits_nothing_changes() -> None:
    np.testing.assert_allclose(moved(NONE), images(), atol=1e-6)


@pytest.mark.parametrize("limits", [SOME, SOME.model_copy(update={"elastic": 0.0})], ids=["elastic", "affine"])
def test_it_depends_on_the_seed_and_the_step_alone(limits: Augment) -> None:
    np.testing.assert_array_equal(moved(limits), moved(limits))
    assert not np.array_equal(moved(limits), moved(limits, step=5))
    assert not np.array_equal(moved(limits), moved(limits, seed=4))
    assert not np.array_equal(moved(limits)[0], moved(limits)[1])


def test_a_shift_moves_the_centre_of_mass_by_at_most_its_limit() -> None:
    limits = NONE.model_copy(update={"shift": 2.0})
    before = np.array([scipy.ndimage.center_of_mass(image) for image in images().numpy()])
    after = np.array([scipy.ndimage.center_of_mass(image) for image in moved(limits)])
    distance = np.abs(after - before)
    assert 0.2 < distance.max() <= 2.01


def test_a_rotation_is_that_of_scipy() -> None:
    limits = NONE.model_copy(update={"rotation": 30.0})
    for image, result in zip(images().numpy(), moved(limits), strict=True):
        differences = [
            np.abs(scipy.ndimage.rotate(image, angle, reshape=False, order=1) - result).max()
            for angle in np.arange(-30, 30.5, 0.25)
        ]
        assert min(differences) < 0.02 * image.max()


def test_interpolation_between_pixels_is_the_same_in_both_ways() -> None:
    affine = SOME.model_copy(update={"elastic": 0.0})
    nearly = SOME.model_copy(update={"elastic": 1e-6})
    np.testing.assert_allclose(moved(affine), moved(nearly), atol=1e-3)
