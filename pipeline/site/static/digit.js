// Digit: draw one, or drop a picture; after each row, what the network would say.

import { bars, h, largest, percent, show } from "./dom.js";
import { SIDE, imageOfDrawing, imageOfPhoto } from "./ink.js";
import { place, stepPanel } from "./step.js";
import { readInput } from "./task.js";

const PAD = 280; // pixels of the pad, each way
const PEN = 20; // pixels
const MOST = 4000; // points of a drawing
const EMPTY = "none"; // in an address: nothing is drawn
const SEVEN = [[70, 60], [110, 60], [160, 60], [210, 60], [190, 100], [170, 140], [150, 180], [140, 220], [130, 250]];

export async function digitTab(main, { values: given, update, load, chooseModel, site }) {
  let values = { ...given };
  const net = await load(values.model), step = stepPanel();
  let strokes = parse(values.drawing) ?? (values.pixels || values.drawing === EMPTY ? [] : [SEVEN]), image = null, said = "";
  const output = h("div"), rows = h("div"), answer = h("div", { class: "answer", id: "digit-answer", "aria-live": "polite" });
  const pad = h("canvas", {
    class: "pad", id: "pad", width: PAD, height: PAD, tabindex: 0, role: "img",
    "aria-label": "pad to draw a digit: with the pen, or with the arrow keys, which draw while Shift is held",
  });
  let cursor = null; // where the keyboard draws from; null until an arrow key is pressed
  const pen = pad.getContext("2d", { willReadFrequently: true });

  /** The strokes alone. */
  function ink() {
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, PAD, PAD);
    Object.assign(pen, { strokeStyle: "#000000", fillStyle: "#000000", lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    for (const [first, ...others] of strokes) {
      pen.beginPath();
      pen.moveTo(...first);
      for (const point of others.length ? others : [first]) pen.lineTo(...point);
      pen.stroke();
    }
  }

  /** Where the keyboard draws from. */
  function mark() {
    if (!cursor || document.activeElement !== pad) return;
    Object.assign(pen, { strokeStyle: "#1a5fb4", lineWidth: 2 });
    pen.strokeRect(cursor[0] - PEN / 2, cursor[1] - PEN / 2, PEN, PEN);
  }

  function paint() {
    ink();
    const { data } = pen.getImageData(0, 0, PAD, PAD);
    const read = values.pixels && pixelsOf(values.pixels);
    image = strokes.length ? imageOfDrawing(data, PAD, PAD) : read || null;
    said = image && image === read ? "Read from a picture." : "";
    mark();
    return render();
  }

  function render() {
    if (!image) {
      show(answer, said ? h("p", { role: "alert", class: "error" }, said) : "Draw a digit.");
      show(rows);
      return show(output);
    }
    const sequence = Array.from({ length: SIDE }, (_, row) => Float32Array.from(image.subarray(row * SIDE, (row + 1) * SIDE), (pixel) => pixel / 255));
    const trace = net.trace(sequence), after = trace.map(({ states }) => net.probabilities(states));
    const [best] = largest(after.at(-1), 1), at = place(trace, values);
    show(answer, h("b", {}, net.classes[best]), ` ${percent(after.at(-1)[best])}`, said && h("p", { class: "note" }, said), bars(net.classes, after.at(-1), 4));
    show(rows, table(net, after, at));
    show(output, accuracy(net), step(net, trace, trace.map(({ number }) => `row ${number + 1}`), values, change));
  }

  function change(changes) {
    values = { ...values, ...changes };
    update(values);
    return render();
  }

  const table = (net, after, at) => h(
    "table", { class: "rows" },
    h("caption", { class: "note" }, "What the network reads, and what it would say after each row"),
    h("tbody", {}, after.map((probabilities, row) => {
      const [best, second] = largest(probabilities, 2), strip = h("canvas", { width: SIDE, height: 1, "aria-hidden": "true" });
      const pixels = new ImageData(SIDE, 1);
      image.subarray(row * SIDE, (row + 1) * SIDE).forEach((ink, i) => pixels.data.set([255 - ink, 255 - ink, 255 - ink, 255], 4 * i));
      strip.getContext("2d").putImageData(pixels, 0, 0);
      return h("tr", { class: row === at ? "at" : "" }, h("td", {}, strip), h("td", {}, h(
        "button", { type: "button", id: `row-${row}`, onclick: () => change({ step: row + 1 }) },
        `row ${row + 1}: `, h("b", {}, net.classes[best]), ` ${percent(probabilities[best])}`, probabilities[second] > 0.05 && `, ${net.classes[second]} ${percent(probabilities[second])}`,
      )));
    })),
  );

  /** How often the network is right before the last row; or that it never learned to say something there. */
  function accuracy({ facts }) {
    if (facts.dataset.min_steps == null) return h("p", { class: "note" }, "This network was trained to know the digit after the last row alone: what it says before is a guess.");
    const metrics = facts.facts.metrics ?? {}, steps = [7, 14, 21].filter((step) => `accuracy_after_${step}_steps` in metrics);
    if (!steps.length) return null; // it was not evaluated here
    const shares = [...steps.map((step) => `${step} rows ${percent(metrics[`accuracy_after_${step}_steps`])}`), `all 28 rows ${percent(metrics.accuracy)}`];
    return h("p", { class: "note" }, `Of all test images, right after ${shares.join(", ")}.`);
  }

  /** A point of the pad where the pointer is, in whole pixels. */
  function point(event) {
    const box = pad.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map((each, i) => Math.round((each / (i ? box.height : box.width)) * PAD));
  }

  function drawn() {
    const drawing = strokes.map((stroke) => stroke.flat().join(".")).join("_") || EMPTY;
    Object.assign(values, { drawing, step: undefined, pixels: undefined });
    update(values);
    return paint();
  }

  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    strokes.push([point(event)]);
    drawn();
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.buttons && strokes.length && strokes.flat().length < MOST) {
      strokes.at(-1).push(point(event));
      drawn();
    }
  });
  pad.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] }[event.key];
    if (!move) return;
    event.preventDefault();
    cursor ??= [PAD / 2, PAD / 2];
    const to = cursor.map((each, i) => Math.min(Math.max(each + move[i], 0), PAD));
    if (event.shiftKey) strokes.at(-1)?.at(-1)?.join() === cursor.join() ? strokes.at(-1).push(to) : strokes.push([cursor, to]);
    cursor = to;
    if (event.shiftKey) return drawn();
    ink();
    mark();
  });
  pad.addEventListener("blur", ink);

  async function photo(file) {
    if (!file) return;
    try {
      if (site.local) {
        const read = await readInput(values.model, file);
        if (read.error) throw new Error(read.error);
        image = Uint8Array.from(read.features.flat(), (value) => Math.round(value * 255));
        said = "Read by Python, which finds the ink of a photo.";
      } else {
        image = await imageOfPhoto(file);
        said = "Read in a simple way, which needs even light; `pipeline demo` reads photos better.";
      }
    } catch (error) {
      [image, said] = [null, error.message];
    }
    strokes = [];
    ink();
    Object.assign(values, { drawing: undefined, step: undefined, pixels: image ? textOf(image) : undefined });
    update(values);
    return render();
  }
  const drop = (event) => {
    event.preventDefault();
    photo(event.dataTransfer.files[0]);
  };

  show(
    main,
    h(
      "div", { class: "controls" },
      chooseModel,
      h("button", { type: "button", id: "digit-clear", onclick: () => { strokes = []; drawn(); } }, "Clear"),
      h("label", { for: "digit-file" }, "or a picture", h("input", { id: "digit-file", type: "file", accept: "image/*", onchange: (event) => photo(event.target.files[0]) })),
    ),
    h("div", { class: "digit", ondragover: (event) => event.preventDefault(), ondrop: drop }, pad, answer),
    rows, output,
  );
  paint();
}

/** The pixels of a picture as text for an address, and back; null if the text is none. */
const textOf = (pixels) => btoa(String.fromCharCode(...pixels)).replaceAll("+", "-").replaceAll("/", "_");
function pixelsOf(text) {
  try {
    const pixels = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (byte) => byte.charCodeAt(0));
    return pixels.length === SIDE * SIDE ? pixels : null;
  } catch {
    return null;
  }
}

/** The strokes of an address: points x.y.x.y, strokes apart by _. */
function parse(text) {
  if (text === undefined || text === EMPTY) return null;
  const strokes = text.split("_").filter(Boolean).map((stroke) => stroke.split(".").map(Number));
  if (text.length > 10 * MOST || strokes.some((stroke) => stroke.length % 2 || stroke.some((each) => !(each >= 0 && each <= PAD)))) return null;
  return strokes.map((stroke) => Array.from({ length: stroke.length / 2 }, (_, i) => [stroke[2 * i], stroke[2 * i + 1]]));
}
