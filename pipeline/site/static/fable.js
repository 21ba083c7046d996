// Fable: begin with some words of the story, go on word by word, and open each word as one step.

import { bars, h, largest, percent, show } from "./dom.js";
import { stepPanel } from "./step.js";

const MORE = 60; // words that a click adds
const LONGEST = 2000; // words of a story
const UNSURE = 0.1; // of the second most probable word: the network is not certain
// A Chinese character, a word, or a mark, as tasks/fable/data.py has them.
const LETTER = "(?:(?!\\p{Script=Han})[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d])";
const TOKEN = new RegExp(`\\p{Script=Han}|${LETTER}+(?:['’-]${LETTER}+)*|[^\\s]`, "gu");

export async function fableTab(main, { values: given, update, load, chooseModel }) {
  let values = { ...given };
  const network = await load(values.model), { classes } = network, steps = network.facts.dataset.shape[0];
  const known = new Map(classes.map((word, index) => [word, index]));
  const begin = network.facts.examples[0]?.steps ?? Array(steps).fill(classes[0]), step = stepPanel();
  const output = h("div"), undecided = new Set(network.facts.undecided); // words after which the story goes on in several ways
  const words = () => (values.story ?? begin.join(" ")).split(/\s+/).filter(Boolean);
  const cache = new Map();

  /** The trace of the words before a place, and the probabilities of what follows them. */
  function following(story, at) {
    const context = story.slice(at - steps, at), key = context.join(" ");
    if (!cache.has(key)) {
      const trace = network.trace(context.map((word) => [known.get(word)]));
      cache.set(key, { trace, probabilities: network.probabilities(trace.at(-1).states), context });
    }
    return cache.get(key);
  }

  /** The next word: the most probable one, or one drawn at a temperature, the same for a seed and a place. */
  function next(story) {
    const { probabilities } = following(story, story.length);
    if (!temperature()) return classes[largest(probabilities, 1)[0]];
    const weights = probabilities.map((probability) => probability ** (1 / temperature()));
    let left = random(Number(values.seed || 0), story.length) * weights.reduce((a, b) => a + b, 0);
    return classes[Math.max(weights.findIndex((weight) => (left -= weight) < 0), 0)];
  }

  function goOn(most) {
    const story = words();
    if (problem(story)) return;
    for (let i = 0; story.length < LONGEST && (i === 0 || (i < most && !repeats(story))); i++) story.push(next(story));
    change({ story: story.join(" "), at: undefined });
  }

  /** Whether a story without chance goes in circles from its end on: its last words have been followed before. */
  function repeats(story) {
    if (temperature()) return false;
    const last = story.slice(-steps).join(" ");
    return story.slice(0, -1).some((_, i) => i >= steps && story.slice(i - steps, i).join(" ") === last && story[i] === next(story));
  }

  /** Why the network cannot read these words; "" if it can. */
  function problem(story) {
    const unknown = story.find((word) => !known.has(word)), expected = `type at least ${steps} of its words.`;
    if (story.length > LONGEST) return `This story has ${story.length.toLocaleString("en")} words; the page shows at most ${LONGEST.toLocaleString("en")}.`;
    if (unknown) return `“${unknown}” is not a word of this story; ${expected}`;
    return story.length < steps ? `${story.length} ${story.length === 1 ? "word" : "words"} came; ${expected}` : "";
  }

  const temperature = () => Math.max(Number(values.temperature) || 0, 0);

  function change(changes) {
    values = { ...values, ...changes };
    update(values);
    render();
  }

  function startOver() {
    field.value = begin.join(" ");
    change({ story: undefined, at: undefined });
  }

  function render() {
    const story = words();
    if (problem(story)) {
      show(output, h("p", { role: "alert", class: "error" }, problem(story)), h("button", { type: "button", onclick: startOver }, "Start over"));
      return;
    }
    const at = Math.min(Math.max(Math.trunc(values.at) || story.length, steps), story.length); // the place of the word that is opened
    const { trace, probabilities, context } = following(story, at);
    const labels = context.map((word) => `“${word}”`);
    show(
      output,
      h("p", { class: "story", id: "fable-story" }, story.map((word, i) => {
        if (i < steps) return `${word} `;
        const { probabilities: before } = following(story, i), [, second] = largest(before, 2);
        const kind = undecided.has(story.slice(i - steps, i).join(" ")) ? "undecided" : before[second] >= UNSURE ? "unsure" : "";
        return [h("button", { type: "button", id: `word-${i}`, class: kind, "aria-current": i === at ? "true" : false, title: percent(before[known.get(word)]), onclick: () => change({ at: i, step: undefined }) }, word), " "];
      })),
      h("p", { class: "note" }, "Click a word to see the step that produced it. Highlighted: the story itself continues in several ways here. Underlined: only the network is unsure, and gives another word at least 10 %.", repeats(story) && h("b", {}, " From here on, the story repeats itself.")),
      h("h2", {}, `After ${labels.join(" ")}`),
      h("p", { class: "note" }, "A click on a word goes on with it, from this place."),
      h("div", { id: "fable-next-words" }, bars(classes, probabilities, 6, (word) => change({ story: [...story.slice(0, at), classes[word]].join(" "), at: undefined }))),
      step(network, trace, labels, values, change),
    );
  }

  const field = h("input", { id: "fable-text", value: words().join(" "), spellcheck: "false", onchange: (event) => change({ story: tokens(event.target.value), at: undefined }) });
  show(
    main,
    h(
      "div", { class: "controls" },
      chooseModel,
      h("label", { for: "fable-text", class: "wide" }, `The story begins with ${steps} words or more`, field),
      h("label", { for: "fable-temperature" }, "Temperature", h("input", { id: "fable-temperature", type: "number", min: 0, max: 3, step: 0.1, value: values.temperature ?? 0, onchange: (event) => change({ temperature: event.target.value }) })),
      h("label", { for: "fable-seed" }, "Seed", h("input", { id: "fable-seed", type: "number", min: 0, step: 1, value: values.seed ?? 0, onchange: (event) => change({ seed: event.target.value }) })),
      h("button", { type: "button", id: "fable-next", onclick: () => goOn(1) }, "Next word"),
      h("button", { type: "button", id: "fable-end", onclick: () => goOn(MORE) }, `${MORE} more words`),
    ),
    output,
  );
  render();
}

/** The words, Chinese characters and marks of a text, in lower case, with a space between. */
const tokens = (text) => (text.toLowerCase().normalize("NFC").match(TOKEN) ?? []).join(" ");

/** A number from 0 to 1 that depends on a seed and a place alone. */
function random(seed, place) {
  let x = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(place + 1, 0x85ebca6b)) >>> 0;
  for (const shift of [16, 13, 16]) x = Math.imul(x ^ (x >>> shift), 0x45d9f3b) >>> 0;
  return x / 2 ** 32;
}
