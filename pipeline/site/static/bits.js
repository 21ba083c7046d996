// Bits: a counter of ones, its staircase, and ways to break it.

import { lines } from "./charts.js";
import { choice, h, isOpen, largest, number, percent, show } from "./dom.js";
import { Network } from "./network.js";
import { mostActive, place, stepPanel } from "./step.js";

const FIRST = "0110101011";
const WRITTEN = 100_000; // bits that the text box and the address hold
const PAUSE = 25; // milliseconds of reading, after which the page answers
const FEATURES = { 0: [0], 1: [1] }; // of each bit
const BUTTONS = 64; // bits that can be clicked
const UNITS = 8; // whose stairs are drawn

export async function bitsTab(main, { values: given, update, load, chooseModel }) {
  let values = { input: FIRST, ...given };
  const exported = await load(values.model);
  const { dataset } = exported.facts;
  const [shortest, longest] = [dataset.min_steps ?? dataset.shape[0], Math.max(dataset.max_steps ?? dataset.shape[0], exported.facts.certified_steps ?? 0)];
  const isLstm = exported.facts.network.cell === "lstm", step = stepPanel();
  const answer = h("div", { class: "answer", "aria-live": "polite", id: "bits-answer" }), output = h("div");
  let last = {}, renders = 0;
  const change = (changes) => {
    values = { ...values, ...changes };
    update({ ...values, input: values.input?.length > WRITTEN ? undefined : values.input });
    render();
  };
  const text = h("textarea", {
    id: "bits-text", class: "bits-text", rows: 2, spellcheck: "false", autocomplete: "off", inputmode: "numeric",
    oninput: (event) => change({ input: event.target.value.replace(/\s/g, ""), random: undefined, step: undefined }),
  });
  const random = (length) => change({ random: `${length}`, input: undefined, step: undefined });

  async function render() {
    const mine = ++renders, isCurrent = () => mine === renders && output.isConnected;
    const bits = values.random ? drawn(Math.min(Math.max(Number(values.random) || 1, 1), longest)) : (values.input ?? "");
    const isWritten = !values.random || bits.length <= WRITTEN;
    text.placeholder = isWritten ? "" : `${bits.length.toLocaleString("en")} random bits`;
    if (!isWritten) text.value = "";
    else if (text.value.replace(/\s/g, "") !== bits) text.value = bits;
    const wrong = bits.match(/[^01]/u)?.[0];
    if (wrong !== undefined || bits.length < shortest || bits.length > longest) {
      const expected = `${shortest === longest ? shortest : `${shortest} to ${longest.toLocaleString("en")}`} zeros and ones`;
      const came = wrong === undefined ? `${bits.length.toLocaleString("en")} bits came` : `“${wrong}” is no bit`;
      show(output, h("p", { role: "alert", class: "error" }, `${came}; type ${expected}.`));
      return;
    }
    const changes = checked(values, exported), key = Object.values(changes).join();
    if (last.bits !== bits || last.key !== key) {
      const network = broken(exported, changes), trace = await read(network, bits, output, isCurrent);
      if (!isCurrent()) return;
      last = { bits, key, network, trace };
    }
    const { network, trace } = last;
    const labels = trace.map(({ number: step }) => `bit ${bits[step]}`);
    const at = place(trace, values);
    show(answer, answerOf(network, trace, bits, dataset));
    show(
      output, answer, bits.length <= BUTTONS && buttons(bits, trace[at].number),
      stairs(network, trace, at), controls(values.unit ?? mostActive(trace, exported.layers.length - 1)[0]), step(network, trace, labels, values, change),
    );
  }

  const buttons = (bits, at) => h("div", { class: "bits", role: "group", "aria-label": "the bits; click one to change it" }, [...bits].map((bit, i) => h("button", {
    type: "button", id: `bit-${i}`, "aria-pressed": String(bit === "1"), class: `${i >= dataset.shape[0] ? "beyond" : ""}${i === at ? " at" : ""}`,
    "aria-label": `bit ${i + 1}: ${bit}`, onclick: () => change({ input: bits.slice(0, i) + (bit === "1" ? "0" : "1") + bits.slice(i + 1), random: undefined, step: i + 1 }),
  }, bit)));

  function stairs(network, trace, at) {
    const layer = trace.map(({ states }) => (isLstm ? states.at(-1).cell : states.at(-1).output));
    const states = isLstm ? "Cell states" : "Outputs";
    const shown = mostActive(trace, network.layers.length - 1).slice(0, UNITS);
    const chosen = layer[0][values.unit] === undefined ? shown[0] : Number(values.unit);
    const counts = network.readout === "count" && { name: "the count that is read", class: "total", values: trace.map(({ states }) => network.count(states)) };
    const curves = [...new Set([...shown, chosen])].map((unit) => ({ name: `unit ${unit}`, class: unit === chosen ? "chosen" : "", values: layer.map((cell) => cell[unit]) }));
    return h(
      "figure", {},
      lines([...curves, ...(counts ? [counts] : [])], trace.map(({ number: step }) => step + 1), {
        label: `${states} after each bit${counts ? ", and the count" : ""}`, shaded: dataset.shape[0], stairs: true, at: trace[at].number + 1, onchoose: (i) => change({ step: trace[i].number + 1 }),
      }),
      h("figcaption", { class: "note" }, `${states} after each bit: the chosen unit in blue${counts ? ", the count in red" : ""}. Bits beyond the ${dataset.shape[0]} of training have a shaded background. Click to choose a step.`),
    );
  }

  /** What can be broken; the unit that is shown stays. */
  const controls = (unit) => h(
    "details", { id: "bits-break", open: isOpen("bits-break", Boolean(values.bias || values.off || values.recurrent)) }, h("summary", {}, "Break it"),
    h(
      "div", { class: "controls" },
      isLstm && choice("break-bias", "Forget gate's bias", [["", "as trained"], ["1", "1, where Keras starts"], ["0", "0: half is forgotten at each step"]], values.bias ?? "", (bias) => change({ bias, unit })),
      exported.readout === "count" && choice("break-unit", "Without a unit", [["", "all are there"], ...[...exported.tensors["count.kernel"].keys()].map((unit) => [unit, `without unit ${unit}`])], values.off ?? "", (off) => change({ off, unit })),
      choice("break-recurrent", "Recurrent weights", [["", recurrentAsTrained()], ["0.1", "small random ones, 0.1"], ["0.5", "larger random ones, 0.5"]], values.recurrent ?? "", (recurrent) => change({ recurrent, unit })),
    ),
  );
  const recurrentAsTrained = () => {
    const weights = exported.layers.flatMap(({ recurrent }) => [...recurrent]), zero = weights.filter((weight) => weight === 0).length;
    return zero === weights.length ? `as trained: all ${zero.toLocaleString("en")} are zero` : "as trained";
  };

  show(
    main,
    h(
      "div", { class: "controls" },
      chooseModel,
      h("label", { for: "bits-text", class: "wide" }, "Bits: type any number of them, or click them below,", text),
      h("div", { class: "controls", role: "group", "aria-label": "random bits" }, "or random ones:", [100, 1000, 10_000, 1_000_000].filter((length) => length <= longest).map((length) => h("button", {
        type: "button", onclick: () => random(length), "aria-label": `${length.toLocaleString("en")} random bits`,
      }, length.toLocaleString("en")))),
    ),
    output,
  );
  render();
}

/** Random bits, the same for a length. */
function drawn(length) {
  let state = length;
  const digits = Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 48 + (state >>> 31); // the characters 0 and 1
  });
  return new TextDecoder().decode(digits);
}

/** The trace of a string of bits. A long one is read in pieces, and `output` shows how far. */
async function read(network, bits, output, isCurrent) {
  const reading = network.reading(bits, (bit) => FEATURES[bit]);
  let pause = performance.now() + PAUSE, shown = null;
  for (;;) {
    const { done, value } = reading.next();
    if (done) return value;
    if (performance.now() < pause) continue;
    shown ??= h("progress", { id: "bits-progress", "aria-label": "bits that are read" });
    if (!shown.isConnected) show(output, h("p", { class: "note" }, `Reading ${bits.length.toLocaleString("en")} bits … `, shown));
    shown.value = value;
    await new Promise((resolve) => setTimeout(resolve));
    if (!isCurrent()) return null;
    pause = performance.now() + PAUSE;
  }
}

/** The answer: the count, how far it is from a whole number, and whether it is proven. */
function answerOf(network, trace, bits, dataset) {
  const { states } = trace.at(-1), ones = bits.replaceAll("0", "").length;
  const counted = network.readout === "count" ? network.count(states) : null;
  const probabilities = bits.length <= dataset.shape[0] ? network.probabilities(states) : null;
  const result = counted === null ? Number(dataset.class_names[largest(probabilities, 1)[0]]) : Math.round(counted) + 0; // no -0
  const proven = bits.length <= network.facts.certified_steps && !network.changed;
  const rounded = network.facts.network.precision !== "float32";
  return [
    h("b", {}, result.toLocaleString("en")), ` ${result === 1 ? "one" : "ones"} of ${bits.length.toLocaleString("en")} ${bits.length === 1 ? "bit" : "bits"}: ${result === ones ? "right" : `wrong, there are ${ones.toLocaleString("en")}`}. `,
    probabilities && `Probability ${percent(probabilities[largest(probabilities, 1)[0]])}. `,
    counted !== null && `The cell state says ${number(counted)}. `,
    h("span", { class: "note" }, network.changed ? "This network was changed, so nothing is proven." : proven
      ? `Every string of up to ${network.facts.certified_steps.toLocaleString("en")} bits is proven to be counted right.` : rounded ? "Its weights are rounded to float16, so nothing is proven." : "Nothing is proven at this length."),
  ];
}

/** What an address may switch off or change of a network; the rest is left out. */
const checked = ({ bias, off, recurrent }, network) => ({
  bias: network.facts.network.cell === "lstm" && ["0", "1"].includes(bias) ? bias : "",
  off: /^\d+$/.test(off) && Number(off) < (network.tensors["count.kernel"]?.length ?? 0) ? off : "",
  recurrent: ["0.1", "0.5"].includes(recurrent) ? recurrent : "",
});

/** The network with what is switched off or changed. */
function broken(network, { bias, off, recurrent }) {
  if (!bias && !off && !recurrent) return network;
  const tensors = Object.fromEntries(Object.entries(network.tensors).map(([name, tensor]) => [name, tensor.slice()]));
  const { name, units } = network.layers.at(-1);
  if (bias) tensors[`${name}.bias`].fill(Number(bias), 2 * units, 3 * units).fill(0, 6 * units, 7 * units); // the rows of the forget gate
  if (off) tensors["count.kernel"][Number(off)] = 0;
  if (recurrent) tensors[`${name}.recurrent`].forEach((_, i, all) => (all[i] = Number(recurrent) * Math.sin(12.9898 * (i + 1))));
  return Object.assign(new Network(network.facts, tensors), { changed: true });
}
