// A drawing as an image of MNIST's form: 28 x 28 pixels of ink. tasks/mnist/ink.py and raw/image.py do the same.

export const SIDE = 28; // pixels of an image, each way
const BOX = 20; // pixels of the box that the ink is fitted in
const STROKE = 2.6, THICK = 4.5; // pixels of that box: strokes are made at least, and at most, so thick
const FINE = 200; // pixels that a digit has at least while its strokes are measured
const MIN_CONTRAST = 0.1; // of black on white
const LARGEST = 400; // pixels of a photo

/** A grid of numbers. */
const grid = (height, width, values = new Float32Array(height * width)) => ({ height, width, values });

/** RGBA pixels of a drawing as an image Uint8Array (784,); null if nothing is drawn. All that differs from the ground is
 *  ink. */
export function imageOfDrawing(rgba, width, height) {
  const grey = grid(height, width);
  grey.values.forEach((_, i) => (grey.values[i] = brightness(rgba, i)));
  return imageOf(contrastOf(grey));
}

/** A picture file as an image, read in a simple way: what is darker than Otsu's threshold is ink. */
export async function imageOfPhoto(file) {
  const picture = await createImageBitmap(file).catch(() => { throw new Error("This file is no picture that the browser can read; choose another one."); });
  const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height }), context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height), grey = grid(height, width);
  grey.values.forEach((_, i) => (grey.values[i] = brightness(data, i)));
  const contrast = contrastOf(grey), threshold = contrast && otsu(contrast.values);
  const image = contrast && imageOf({ ...contrast, values: contrast.values.map((value) => (value > threshold ? value : 0)) });
  if (!image) throw new Error("No digit was found in this picture; choose one of a digit, dark on light or light on dark.");
  return image;
}

const brightness = (rgba, i) => Math.fround((0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2]) / 255);

/** How much each pixel differs from the ground, 0 to 1; null if nothing does. */
function contrastOf(grey) {
  const ground = median(grey.values);
  const values = grey.values.map((value) => Math.abs(value - ground)), most = values.reduce((a, b) => Math.max(a, b), 0);
  return most >= MIN_CONTRAST ? { ...grey, values: values.map((value) => value / most) } : null;
}

function median(values) {
  let [most, lead] = [0, 0]; // the value of more than half of them, if there is one: R. Boyer, J. Moore (1981)
  for (const value of values) {
    if (!lead) most = value;
    lead += value === most ? 1 : -1;
  }
  if (2 * values.reduce((count, value) => count + (value === most), 0) > values.length + 1) return most;
  const sorted = Float32Array.from(values).sort(), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Contrast as an image: strokes of MNIST's width, fitted in a box of 20 x 20, centred by their mass. */
function imageOf(contrast) {
  return contrast && fit(redrawn(contrast));
}

/** The part of a grid that is not zero. */
function cut({ height, width, values }) {
  let [top, bottom, left, right] = [height, -1, width, -1];
  values.forEach((value, i) => {
    if (!value) return;
    const row = Math.floor(i / width), column = i % width;
    [top, bottom, left, right] = [Math.min(top, row), Math.max(bottom, row), Math.min(left, column), Math.max(right, column)];
  });
  const result = grid(bottom - top + 1, right - left + 1);
  for (let row = 0; row < result.height; row++) result.values.set(values.subarray((top + row) * width + left, (top + row) * width + right + 1), row * result.width);
  return result;
}

/** Ink with strokes that are neither too thin nor too thick. */
function redrawn(contrast) {
  const ink = cut(contrast), larger = Math.max(1, FINE / Math.max(ink.height, ink.width));
  const fine = larger > 1 ? stretched(ink, larger) : ink;
  const width = strokeOf(fine), pixel = Math.max(fine.height, fine.width) / BOX;
  const more = roundHalfEven((STROKE * pixel - width) / 2), less = roundHalfEven((width - THICK * pixel) / 2);
  if (width && more >= 1) return morphed(padded(fine, more), more, Math.max, -Infinity);
  if (less >= 1) return morphed(padded(fine, 1), less, Math.min, Infinity);
  return ink;
}

/** Python's round. */
const roundHalfEven = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

/** A grid enlarged by linear interpolation, as OpenCV's INTER_LINEAR. */
function stretched({ height, width, values }, scale) {
  const result = grid(roundHalfEven(height * scale), roundHalfEven(width * scale));
  const places = (size, most) => Array.from({ length: size }, (_, i) => {
    const at = (i + 0.5) / scale - 0.5, low = Math.floor(at);
    return low < 0 ? [0, 0, 0] : low >= most - 1 ? [most - 1, most - 1, 0] : [low, low + 1, at - low];
  });
  const columns = places(result.width, width);
  places(result.height, height).forEach(([above, below, down], row) => columns.forEach(([before, after, right], column) => {
    const [a, b] = [above, below].map((each) => values[each * width + before] * (1 - right) + values[each * width + after] * right);
    result.values[row * result.width + column] = a * (1 - down) + b * down;
  }));
  return result;
}

function padded({ height, width, values }, border) {
  const result = grid(height + 2 * border, width + 2 * border);
  for (let row = 0; row < height; row++) result.values.set(values.subarray(row * width, (row + 1) * width), (row + border) * result.width + border);
  return result;
}

/** The width of the strokes in pixels: four times the mean distance to their edge; OpenCV's 5 x 5 chamfer distance. */
function strokeOf(ink) {
  const { height, width, values } = padded(ink, 1), pad = 2, step = width + 2 * pad;
  const distance = new Float64Array((height + 2 * pad) * step).fill(1e6);
  const near = [-1, -step, -step - 1, -step + 1, -step - 2, -step + 2, -2 * step - 1, -2 * step + 1];
  const cost = [1, 1, 1.4, 1.4, 2.1969, 2.1969, 2.1969, 2.1969];
  for (const direction of [1, -1]) {
    for (let i = 0; i < height * width; i++) {
      const place = direction > 0 ? i : height * width - 1 - i;
      const at = (((place / width) | 0) + pad) * step + (place % width) + pad;
      let least = values[place] > 0.5 ? distance[at] : 0;
      for (let k = 0; least && k < 8; k++) least = Math.min(least, distance[at + direction * near[k]] + cost[k]);
      distance[at] = least;
    }
  }
  let sum = 0, inside = 0;
  for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) {
    if (values[row * width + column] > 0.5) [sum, inside] = [sum + distance[(row + pad) * step + column + pad], inside + 1];
  }
  return inside ? (4 * sum) / inside : 0;
}

/** The largest or the smallest value in a disc around each pixel, as OpenCV's dilate and erode with an ellipse. A disc is
 *  made of rows: for each pixel, the values of some rows around it, of each the extreme in a range. */
function morphed({ height, width, values }, radius, choose, outside) {
  const ranges = new Map(), result = grid(height, width, new Float32Array(height * width).fill(outside));
  for (let down = -radius; down <= radius; down++) {
    const across = roundHalfEven(Math.sqrt(radius * radius - down * down));
    if (!ranges.has(across)) ranges.set(across, extremes({ height, width, values }, across, choose, outside));
    const extreme = ranges.get(across), first = Math.max(0, -down) * width, last = Math.min(height, height - down) * width;
    for (let at = first; at < last; at++) result.values[at] = choose(result.values[at], extreme[at + down * width]);
  }
  return result;
}

/** The extreme of each pixel and its neighbours in the row, up to `across` away: from blocks that are scanned both ways
 *  (M. van Herk, 1992). */
function extremes({ height, width, values }, across, choose, outside) {
  const window = 2 * across + 1, length = width + 2 * across, result = new Float32Array(height * width);
  const line = new Float32Array(length), forward = new Float32Array(length), backward = new Float32Array(length);
  for (let row = 0; row < height; row++) {
    line.fill(outside).set(values.subarray(row * width, (row + 1) * width), across);
    for (let i = 0; i < length; i++) forward[i] = i % window ? choose(forward[i - 1], line[i]) : line[i];
    for (let i = length - 1; i >= 0; i--) backward[i] = (i + 1) % window && i < length - 1 ? choose(backward[i + 1], line[i]) : line[i];
    for (let i = 0; i < width; i++) result[row * width + i] = choose(backward[i], forward[i + window - 1]);
  }
  return result;
}

/** Ink as an image Uint8Array (784,) of 0 to 255. */
function fit(drawn) {
  const ink = cut(drawn), scale = BOX / Math.max(ink.height, ink.width);
  const [height, width] = [ink.height, ink.width].map((side) => Math.max(1, roundHalfEven(side * scale)));
  const small = resized({ ...ink, values: ink.values.map((value) => 255 * value) }, height, width).values.map((value) => Math.min(Math.max(value, 0), 255));
  const most = small.reduce((a, b) => Math.max(a, b), 0), image = new Uint8Array(SIDE * SIDE);
  const levels = small.map((value) => roundHalfEven((255 * value) / most));
  const rows = new Float64Array(height), columns = new Float64Array(width);
  levels.forEach((value, i) => {
    rows[Math.floor(i / width)] += value;
    columns[i % width] += value;
  });
  const [top, left] = [start(rows), start(columns)];
  levels.forEach((value, i) => (image[(top + Math.floor(i / width)) * SIDE + left + (i % width)] = value));
  return image;
}

/** The pixel at which a strip of this mass starts, so that its centre of mass is pixel 14 of 28. */
function start(mass) {
  const centre = mass.reduce((sum, value, i) => sum + value * i, 0) / mass.reduce((a, b) => a + b, 0);
  return Math.min(Math.max(Math.floor(SIDE / 2 - centre + 0.5), 0), SIDE - mass.length);
}

/** A grid resized by bicubic interpolation with antialiasing, as Pillow does it: columns first, then rows. */
function resized(ink, height, width) {
  const across = weights(ink.width, width), down = weights(ink.height, height);
  const half = grid(ink.height, width), result = grid(height, width);
  for (let row = 0; row < ink.height; row++) across.forEach(([first, factors], column) => {
    half.values[row * width + column] = factors.reduce((sum, factor, i) => sum + factor * ink.values[row * ink.width + first + i], 0);
  });
  down.forEach(([first, factors], row) => {
    for (let column = 0; column < width; column++) result.values[row * width + column] = factors.reduce((sum, factor, i) => sum + factor * half.values[(first + i) * width + column], 0);
  });
  return result;
}

/** For each new pixel: the first old one that counts, and the weights of these. */
function weights(size, wanted) {
  const scale = size / wanted, stretch = Math.max(scale, 1), support = 2 * stretch;
  return Array.from({ length: wanted }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0), last = Math.min(Math.trunc(centre + support + 0.5), size);
    const factors = Array.from({ length: last - first }, (_, k) => cubic((k + first - centre + 0.5) / stretch));
    const sum = factors.reduce((a, b) => a + b, 0);
    return [first, factors.map((factor) => factor / sum)];
  });
}

function cubic(x) {
  const a = -0.5, size = Math.abs(x);
  if (size < 1) return ((a + 2) * size - (a + 3)) * size * size + 1;
  return size < 2 ? (((size - 5) * size + 8) * size - 4) * a : 0;
}

/** Otsu's threshold of values from 0 to 1. */
function otsu(values) {
  const counts = new Float64Array(256);
  for (const value of values) counts[Math.min(255, Math.floor(value * 255))]++;
  const total = values.length, sum = counts.reduce((all, count, level) => all + level * count, 0);
  let [best, threshold, below, sumBelow] = [-1, 0, 0, 0];
  counts.forEach((count, level) => {
    below += count;
    sumBelow += level * count;
    if (!below || below === total) return;
    const between = below * (total - below) * (sumBelow / below - (sum - sumBelow) / (total - below)) ** 2;
    if (between > best) [best, threshold] = [between, level];
  });
  return threshold / 255;
}
