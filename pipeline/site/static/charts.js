// Curves over the steps.

import { s } from "./dom.js";

const HEIGHT = 260, LEFT = 68, BOTTOM = 24, TOP = 8, RIGHT = 24;
const NARROW = 600; // CSS pixels of a window

/** Curves over the same places. `curves`: {name, values, class}; `places`: numbers for the axis below; `shaded`: the place
 *  from which the ground has another colour; `at`: the place of a cursor; `onchoose(index)`; `log`: of their values;
 *  `stairs`: a value holds until the next place. */
export function lines(curves, places, { label, shaded = Infinity, at = null, onchoose = null, log = false, stairs = false } = {}) {
  const isNarrow = window.innerWidth < NARROW, width = isNarrow ? 360 : 720;
  const read = (value) => (log ? Math.log10(Math.max(value, 1e-6)) : value);
  const all = curves.flatMap(({ values }) => [...values].map(read)).filter(Number.isFinite);
  let low = Math.min(...all), high = Math.max(...all);
  if (!(high > low)) [low, high] = [low - 1, high + 1];
  const [first, last] = [places[0], places.at(-1)];
  const x = (place) => LEFT + ((place - first) / Math.max(last - first, 1)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + ((high - read(value)) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const path = (values) => [...values].map((value, i) => {
    const [across, up] = [x(places[i]).toFixed(1), y(value).toFixed(1)];
    return i === 0 ? `M${across} ${up}` : stairs ? `H${across}V${up}` : `L${across} ${up}`;
  }).join("");
  const choose = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const place = first + ((((event.clientX - box.left) / box.width) * width - LEFT) / (width - LEFT - RIGHT)) * (last - first);
    const distances = places.map((each) => Math.abs(each - place));
    onchoose(distances.indexOf(Math.min(...distances)));
  };
  const levels = ticks(low, high, log ? 1 : 0), steps = ticks(first, last, 1, isNarrow ? 3 : 5);
  const value = (each) => {
    const text = log ? (each < -3 ? (10 ** each).toExponential(0) : String(Number((10 ** each).toPrecision(1)))) : each.toLocaleString("en", { maximumSignificantDigits: 4 });
    return text.replace("-", "−");
  };
  return s(
    "svg", { viewBox: `0 0 ${width} ${HEIGHT}`, class: `chart${onchoose ? " chosen" : ""}`, role: "img", "aria-label": label, onclick: onchoose ? choose : undefined },
    shaded < last && s("rect", { x: x(Math.max(shaded, first)), y: TOP, width: width - RIGHT - x(Math.max(shaded, first)), height: HEIGHT - TOP - BOTTOM, class: "beyond" }),
    levels.map((level) => {
      const height = TOP + ((high - level) / (high - low)) * (HEIGHT - TOP - BOTTOM);
      return [s("line", { x1: LEFT, x2: width - RIGHT, y1: height, y2: height, class: "grid" }), s("text", { x: LEFT - 6, y: height + 4, class: "axis end" }, value(level))];
    }),
    steps.map((place) => s("text", { x: x(place), y: HEIGHT - 6, class: "axis" }, place.toLocaleString("en"))),
    curves.map(({ name, values, class: kind }) => s("path", { d: path(values), class: `curve ${kind ?? ""}` }, s("title", {}, name))),
    at !== null && s("line", { x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM, class: "cursor" }),
  );
}

/** Round numbers from low to high, about `count` of them, that are at least `least` apart. */
function ticks(low, high, least = 0, count = 5) {
  const rough = Math.max((high - low) / count, least, Number.MIN_VALUE), power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(Math.floor(high / step + 1e-9) - first + 1, 0) }, (_, i) => (first + i) * step);
}
