"""Images, transformed a little at random, so that no image trains twice in the same form."""

import math

import tensorflow as tf

from pipeline.recipe import Augment

NODES = 5  # each way, of the grid whose random shifts an elastic distortion spreads smoothly; P. Simard et al. (2003)


def transform(images: tf.Tensor, limits: Augment, seed: int, step: tf.Tensor) -> tf.Tensor:
    """float32 images (batch, rows, columns), each rotated, scaled, sheared, shifted and distorted; outside is 0.

    The transforms depend on the seed and the number of the step alone, so a training that resumes draws the same ones.
    """
    batch, rows, columns = tf.shape(images)[0], images.shape[1], images.shape[2]

    def key(which: int) -> tf.Tensor:
        return tf.stack([tf.constant(seed * 8 + which, tf.int64), tf.cast(step, tf.int64)])

    def draw(which: int, limit: float) -> tf.Tensor:
        return tf.random.stateless_uniform([batch], key(which), -limit, limit)

    angle = draw(0, math.radians(limits.rotation))
    wide, high = 1 + draw(1, limits.scale), 1 + draw(2, limits.scale)
    shear, right, down = draw(3, limits.shear), draw(4, limits.shift), draw(5, limits.shift)
    cos, sin = tf.cos(angle), tf.sin(angle)
    # From a pixel of the result, counted from the centre, to the place in the image that it shows.
    a, b = cos * wide, (cos * shear - sin) * high
    c, d = sin * wide, (sin * shear + cos) * high
    x, y = (columns - 1) / 2, (rows - 1) / 2
    left, top = x - a * x - b * y + right, y - c * x - d * y + down
    if limits.elastic:
        nodes = tf.random.stateless_normal([batch, NODES, NODES, 2], key(6), stddev=limits.elastic)
        shifts = tf.image.resize(nodes, [rows, columns], method="bicubic")  # (batch, rows, columns, 2)
        row, column = tf.meshgrid(tf.range(rows, dtype=tf.float32), tf.range(columns, dtype=tf.float32), indexing="ij")
        a, b, c, d, left, top = (value[:, None, None] for value in (a, b, c, d, left, top))
        at_column = a * column + b * row + left + shifts[..., 0]
        at_row = c * column + d * row + top + shifts[..., 1]
        return _interpolate(images, at_row, at_column)
    zero = tf.zeros_like(angle)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images[..., None],
        transforms=tf.stack([a, b, left, c, d, top, zero, zero], axis=1),
        output_shape=[rows, columns],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[..., 0]


def _interpolate(images: tf.Tensor, row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Images (batch, rows, columns) at the places (batch, rows, columns) between their pixels; outside is 0."""
    rows, columns = images.shape[1], images.shape[2]
    row, column = tf.clip_by_value(row, -1.0, rows) + 1, tf.clip_by_value(column, -1.0, columns) + 1
    pixels = tf.reshape(tf.pad(images, [[0, 0], [1, 2], [1, 2]]), [tf.shape(images)[0], -1])
    above, before = tf.floor(row), tf.floor(column)
    down, right = row - above, column - before  # 0 to 1
    first = tf.cast(above, tf.int32) * (columns + 3) + tf.cast(before, tf.int32)

    def at(offset: int) -> tf.Tensor:
        return tf.gather(pixels, first + offset, batch_dims=1)

    upper = at(0) * (1 - right) + at(1) * right
    lower = at(columns + 3) * (1 - right) + at(columns + 4) * right
    return upper * (1 - down) + lower * down
