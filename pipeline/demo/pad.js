// Draws on the canvas. The value is the drawing as a PNG in Base64, changed at most every EVERY milliseconds; "" if empty.
const EVERY = 80, PEN = 20, STEP = 7;
const canvas = element.querySelector("canvas");
const ink = canvas.getContext("2d");
let last = null, due = null, empty = true;

function clear() {
  ink.fillStyle = "white";
  ink.fillRect(0, 0, canvas.width, canvas.height);
  empty = true;
}

function send() {
  due = null;
  props.value = empty ? "" : canvas.toDataURL("image/png").split(",")[1];
  trigger("change");
}

function changed() {
  due ??= setTimeout(send, EVERY);
}

function line(from, to) {
  ink.lineWidth = PEN;
  ink.lineCap = ink.lineJoin = "round";
  ink.beginPath();
  ink.moveTo(...from);
  ink.lineTo(...to);
  ink.stroke();
  empty = false;
  changed();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  last = place(event);
  line(last, last);
});
canvas.addEventListener("pointermove", (event) => {
  if (!last) return;
  const next = place(event);
  line(last, next);
  last = next;
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (last = null));

// The keyboard's pen starts in the middle.
const MOVES = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
let pen = [canvas.width / 2, canvas.height / 4];
canvas.addEventListener("keydown", (event) => {
  const move = MOVES[event.key];
  if (!move) return;
  event.preventDefault();
  const next = [pen[0] + move[0], pen[1] + move[1]].map((value, i) => Math.min(Math.max(value, PEN), (i ? canvas.height : canvas.width) - PEN));
  if (event.shiftKey) line(pen, next);
  pen = next;
});

element.querySelector("button").addEventListener("click", () => {
  clear();
  send();
});
clear();
