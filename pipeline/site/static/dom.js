// Elements of the page, and numbers as people read them.

/** An element: h("p", { class: "note" }, "text", child). Properties that begin with "on" are listeners. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An element of an SVG picture. */
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** Show these children in the place of others. Those that are there already are not touched, so that a slider can be
 *  dragged meanwhile. The element that had the focus has it again, by its id. */
export function show(element, ...children) {
  const id = element.contains(document.activeElement) ? document.activeElement.id : "";
  const shown = children.flat(Infinity).filter((child) => child != null && child !== false);
  for (const child of [...element.childNodes]) if (!shown.includes(child)) child.remove();
  let next = element.firstChild;
  for (const child of shown) {
    if (child === next) next = next.nextSibling;
    else element.insertBefore(child instanceof Node ? child : new Text(child), next);
  }
  if (id && document.activeElement?.id !== id) document.getElementById(id)?.focus();
}

/** Whether a <details> is open: as a person left it, else as is said. */
export const isOpen = (id, otherwise) => document.getElementById(id)?.open ?? otherwise;

/** A number with about three digits that count. */
export function number(value) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size !== 0 && size < 0.001) return value.toExponential(1).replace("e-", "e−").replace(/^-/, "−");
  return value.toFixed(size >= 100 ? 1 : 3).replace(/^-/, "−");
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** The places of the largest values, the largest first. */
export const largest = (values, most) =>
  [...values.keys()].sort((a, b) => values[b] - values[a] || a - b).slice(0, most);

/** A labelled choice of texts, or of [value, text]. */
export function choice(id, label, options, value, onchange) {
  const list = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return h("label", { for: id }, label, h(
    "select", { id, onchange: (event) => onchange(event.target.value) },
    list.map(([each, text]) => h("option", { value: each, selected: String(each) === String(value) }, text)),
  ));
}

/** A bar for each class: its name and its probability; `onchoose` makes buttons of them. */
export function bars(names, probabilities, most = 5, onchoose = null) {
  return h("ol", { class: "bars" }, largest(probabilities, most).map((each, rank) => {
    const bar = h("span", { class: "bar", style: { "--share": probabilities[each].toFixed(4) } });
    const content = [h("span", { class: "name" }, names[each]), bar, h("span", { class: "value" }, percent(probabilities[each]))];
    return h("li", {}, onchoose ? h("button", { type: "button", id: `next-${rank}`, onclick: () => onchoose(each) }, content) : content);
  }));
}
