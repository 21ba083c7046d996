// The forward pass of an exported network, in typed arrays. inference/trace.py computes the same in NumPy.
//
// States are float64, weights float32: what ONNX Runtime computes in float32 differs by about 1e-6.

const PIECE = 1024; // steps that are read without a break
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** Zeros (units,), so many times; of one buffer, which takes a third of the time of many. */
function rows(count, units) {
  const all = new Float64Array(count * units);
  return Array.from({ length: count }, (_, row) => all.subarray(row * units, (row + 1) * units));
}

/** One step of each cell: from the weighted input `wx` and the weighted output before it `rh`, each (rows * units,), to
 *  its states and its gates. ONNX orders the rows of an LSTM input, output, forget, candidate. */
const CELLS = {
  lstm(wx, rh, before) {
    const units = before.output.length, [i, f, g, o, cell, output] = rows(6, units);
    for (let unit = 0; unit < units; unit++) {
      i[unit] = sigmoid(wx[unit] + rh[unit]);
      o[unit] = sigmoid(wx[units + unit] + rh[units + unit]);
      f[unit] = sigmoid(wx[2 * units + unit] + rh[2 * units + unit]);
      g[unit] = Math.tanh(wx[3 * units + unit] + rh[3 * units + unit]);
      cell[unit] = f[unit] * before.cell[unit] + i[unit] * g[unit];
      output[unit] = o[unit] * Math.tanh(cell[unit]);
    }
    return { output, cell, gates: { input: i, forget: f, candidate: g, output: o } };
  },
  gru(wx, rh, before) {
    const units = before.output.length, [z, r, g, output] = rows(4, units);
    for (let unit = 0; unit < units; unit++) {
      z[unit] = sigmoid(wx[unit] + rh[unit]);
      r[unit] = sigmoid(wx[units + unit] + rh[units + unit]);
      g[unit] = Math.tanh(wx[2 * units + unit] + r[unit] * rh[2 * units + unit]);
      output[unit] = z[unit] * before.output[unit] + (1 - z[unit]) * g[unit];
    }
    return { output, gates: { update: z, reset: r, candidate: g } };
  },
  rnn(wx, rh) {
    return { output: wx.map((x, unit) => Math.tanh(x + rh[unit])), gates: {} };
  },
};

/** matrix (rows, columns) times x (columns,), plus bias (rows,), in float64. */
function product(matrix, x, bias) {
  const rows = bias.length, columns = x.length, result = new Float64Array(rows);
  for (let row = 0, at = 0; row < rows; row++, at += columns) {
    let a = 0, b = 0, c = 0, d = 0, column = 0;
    for (; column + 3 < columns; column += 4) {
      a += matrix[at + column] * x[column];
      b += matrix[at + column + 1] * x[column + 1];
      c += matrix[at + column + 2] * x[column + 2];
      d += matrix[at + column + 3] * x[column + 3];
    }
    for (; column < columns; column++) a += matrix[at + column] * x[column];
    result[row] = bias[row] + a + b + c + d;
  }
  return result;
}

/** x (rows,) times matrix (rows, columns), plus bias (columns,): what ONNX calls Gemm. */
function productOfRow(x, matrix, bias) {
  const columns = bias.length, result = Float64Array.from(bias);
  for (let row = 0; row < x.length; row++) {
    const value = x[row], at = row * columns;
    for (let column = 0; column < columns; column++) result[column] += value * matrix[at + column];
  }
  return result;
}

export function softmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** float16 numbers, as bits in a Uint16Array, as float32. */
function halves(bits) {
  return Float32Array.from(bits, (half) => {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** A file of the page. */
export async function load(path) {
  const answer = await fetch(path).catch(() => null);
  if (!answer) throw new Error(`${path} could not be loaded; is the server still there?`);
  if (!answer.ok) throw new Error(`${path} could not be loaded (status ${answer.status}).`);
  return answer;
}

export class Network {
  /** The network of models/NAME, with what is known of it as `facts`. */
  static async load(name) {
    const folder = `models/${encodeURIComponent(name)}`;
    const [facts, content] = await Promise.all([
      load(`${folder}/model.json`).then((answer) => answer.json()),
      load(`${folder}/weights.bin`).then((answer) => answer.arrayBuffer()),
    ]);
    const numbers = facts.network.precision === "float16" ? halves(new Uint16Array(content)) : new Float32Array(content);
    const tensors = {};
    for (const { name, shape, start } of facts.tensors) {
      tensors[name] = numbers.slice(start, start + shape.reduce((a, b) => a * b, 1));
    }
    return new Network(facts, tensors);
  }

  constructor(facts, tensors) {
    this.facts = facts;
    this.tensors = tensors;
    const { layers, cell, readout } = facts.network;
    this.step = CELLS[cell];
    this.readout = readout;
    const shapes = Object.fromEntries(facts.tensors.map(({ name, shape }) => [name, shape]));
    this.layers = layers.map((name) => {
      const bias = tensors[`${name}.bias`], half = bias.length / 2;
      return {
        name,
        units: shapes[`${name}.recurrent`][2],
        inputs: shapes[`${name}.kernel`][2],
        kernel: tensors[`${name}.kernel`], // (gates units, inputs)
        recurrent: tensors[`${name}.recurrent`], // (gates units, units)
        isRecurrent: tensors[`${name}.recurrent`].some((weight) => weight !== 0),
        ofInput: bias.slice(0, half), // biases (gates units,)
        ofOutput: bias.slice(half),
      };
    });
    this.classes = facts.dataset.class_names;
  }

  /** The states before the first step. */
  start() {
    return this.layers.map(({ units }) => ({ output: new Float64Array(units), cell: new Float64Array(units) }));
  }

  /** What the first recurrent layer reads of the features (features,) of a step. */
  before(features) {
    const { embedding, dense } = this.facts.network, { tensors } = this;
    let x = features;
    if (embedding) {
      const width = tensors["embedding.table"].length / this.classes.length;
      x = tensors["embedding.table"].subarray(x[0] * width, (x[0] + 1) * width);
    }
    return dense ? productOfRow(x, tensors["dense.kernel"], tensors["dense.bias"]) : x;
  }

  /** Each layer's states and gates after the features of one step. */
  read(features, states) {
    let x = new Float64Array(this.before(features)); // of one type always: a mixture is several times slower
    return this.layers.map((layer, depth) => {
      const before = states[depth], wx = product(layer.kernel, x, layer.ofInput);
      const rh = layer.isRecurrent ? product(layer.recurrent, before.output, layer.ofOutput) : layer.ofOutput;
      const after = Object.assign(this.step(wx, rh, before), { x, before: { output: before.output, cell: before.cell } });
      x = after.output;
      return after;
    });
  }

  /** What `read` gives for each step of a sequence; of a long one, for about 2,000 of its steps, the last among them,
   *  each with its number. */
  trace(sequence) {
    const reading = this.reading(sequence);
    let next;
    do next = reading.next(); while (!next.done);
    return next.value;
  }

  /** The same in pieces, each of which yields the share that is read, for about `most` steps; `features` are those of an entry. */
  *reading(sequence, features = (entry) => entry, most = 2000) {
    const steps = [], every = Math.ceil(sequence.length / most);
    let states = this.start();
    for (let number = 0; number < sequence.length; number++) {
      states = this.read(features(sequence[number]), states);
      if ((sequence.length - 1 - number) % every === 0) steps.push({ number, states });
      if (number % PIECE === PIECE - 1) yield number / sequence.length;
    }
    return steps;
  }

  /** The number that the states stand for, if this network reads a count. */
  count(states) {
    return productOfRow(states.at(-1).cell, this.tensors["count.kernel"], this.tensors["count.bias"])[0];
  }

  /** The probability of each class if the sequence ended with these states. */
  probabilities(states) {
    if (this.readout === "count") {
      const count = this.count(states), sharpness = this.tensors["logits.sharpness"][0];
      return softmax(Float64Array.from(this.classes, (_, number) => sharpness * (number - count) ** 2));
    }
    return softmax(productOfRow(states.at(-1).output, this.tensors["logits.kernel"], this.tensors["logits.bias"]));
  }
}
