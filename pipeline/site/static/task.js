// A task of one's own: its examples, or, where `pipeline demo` serves the page, any input as text or as a file.

import { lines } from "./charts.js";
import { bars, choice, h, isOpen, largest, number, percent, show } from "./dom.js";
import { place, stepPanel } from "./step.js";

const READ = 4; // features of a step that the table shows
const TABLE = 200; // steps of an input that has the table

export async function taskTab(main, { values: given, update, load, chooseModel, site }) {
  let values = { example: "0", ...given };
  const network = await load(values.model), { examples, dataset } = network.facts, step = stepPanel();
  const answer = h("div", { class: "answer", "aria-live": "polite", id: "task-answer" }), output = h("div");
  let read = null; // what the server made of an input: features and names of the steps

  function render() {
    const example = read ?? examples[Number(values.example)];
    if (!example) return show(output, h("p", { class: "note" }, "There is no example; `pipeline demo` shows this page with any input."));
    const trace = network.trace(example.features), labels = trace.map(({ number }) => example.steps[number]);
    const at = place(trace, values), probabilities = network.probabilities(trace[at].states);
    show(answer, "After step ", h("b", {}, trace[at].number + 1), ` (${labels[at]}): `);
    show(
      output, answer,
      bars(network.classes, probabilities),
      example.target !== undefined && h("p", { class: "note" }, `The target is ${network.classes[example.target]}.`),
      lines(network.classes.slice(0, 12).map((name, i) => ({ name, class: i === example.target ? "chosen" : "", values: trace.map(({ states }) => network.probabilities(states)[i]) })), trace.map(({ number }) => number + 1), {
        label: "probability of each class after each step", at: trace[at].number + 1, onchoose: (i) => change({ step: trace[i].number + 1 }),
      }),
      trace.length <= TABLE && steps(example.features, trace, labels, at),
      step(network, trace, labels, values, change),
    );
  }

  /** What the network reads at each step, and what it would say after it; a click opens the step. */
  const steps = (features, trace, labels, at) => h("details", { id: "task-steps", open: isOpen("task-steps", true) }, h("summary", {}, "Step by step"), h("div", { class: "scroll", tabindex: 0 }, h(
    "table", { class: "steps" },
    h("thead", {}, h("tr", {}, ["step", "reads", "would say", "probability"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, trace.map(({ number: step, states }, i) => {
      const probabilities = network.probabilities(states), [best] = largest(probabilities, 1);
      const read = features[step].slice(0, READ).map(number).join(", ") + (features[step].length > READ ? ", …" : "");
      return h(
        "tr", { class: i === at ? "changed" : "" },
        h("th", { scope: "row" }, h("button", { type: "button", id: `task-step-${step + 1}`, onclick: () => change({ step: step + 1 }) }, step + 1)),
        h("td", {}, labels[i] === read ? read : `${labels[i]}: ${read}`), h("td", {}, network.classes[best]), h("td", { class: "value" }, percent(probabilities[best])),
      );
    })),
  )));

  function change(changes) {
    values = { ...values, ...changes };
    update(values);
    return render();
  }

  /** Read an input, and show it unless another one was typed meanwhile. */
  async function ask(input) {
    values = { ...values, input };
    update(values);
    const found = await readInput(values.model, input);
    if (input !== values.input) return;
    if (found.error) return show(output, h("p", { role: "alert", class: "error" }, found.error));
    read = found;
    render();
  }

  show(
    main,
    h(
      "div", { class: "controls" },
      chooseModel,
      examples.length > 0 && choice("task-example", "Example", examples.map(({ text, target }, i) => [i, text || `example ${i + 1}: ${network.classes[target]}`]), values.example, (example) => { read = null; change({ example, input: undefined, step: undefined }); }),
      site.local && h("label", { for: "task-text", class: "wide" }, `or an input: ${dataset.encoding}`, h("input", { id: "task-text", value: values.input ?? "", onchange: (event) => { values.step = undefined; ask(event.target.value); } })),
    ),
    output,
  );
  if (site.local && values.input) await ask(values.input);
  else render();
}

/** What a model reads of an input, a text or a file, by Python: features, names of the steps, or an error. */
export async function readInput(model, body) {
  try {
    const answer = await fetch(`read/${encodeURIComponent(model)}`, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });
    return answer.ok ? await answer.json() : { error: `the server answered: ${await answer.text()}` };
  } catch {
    return { error: "the server does not answer; start `pipeline demo` again." };
  }
}
