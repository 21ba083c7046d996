// What is shown, in the address: #bits?model=bits-lstm24&input=0110&step=3. Who opens the address sees the same.

export function read() {
  const [tab, query] = location.hash.slice(1).split("?");
  return { tab: decoded(tab), values: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

/** The address of a tab with these values; empty ones are left out. */
export function of(tab, values) {
  const kept = Object.entries(values).filter(([, value]) => value !== "" && value != null);
  const query = new URLSearchParams(kept).toString();
  return `#${encodeURIComponent(tab)}${query ? `?${query}` : ""}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return ""; // such as %zz: no tab has that name
  }
}
