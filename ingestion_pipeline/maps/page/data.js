/** The data of the page: rows by column, and the items (places or changes) that it shows. */

/** Read the data in an element of the document: gzip in base64. */
export async function read(element) {
  const packed = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Data(JSON.parse(await new Response(stream).text()));
}

/** Return a text as it is compared: without case, marks, and differences of width. */
export function folded(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

export class Data {
  constructor(json) {
    Object.assign(this, json);
    this.size = json.items.group.length;
    this.isDifference = json.from !== null;
  }

  /** The number of the row that an item shows: the later one, where there are two. */
  row(item) {
    return this.items.after[item] ?? this.items.before[item];
  }

  value(column, item) {
    return this.columns[column][this.row(item)];
  }

  /** The place of an item, or of its state before, as [longitude, latitude]. */
  position(row) {
    return [this.columns.lon[row], this.columns.lat[row]];
  }

  group(item) {
    return this.groups[this.items.group[item]];
  }

  /** A name for people: without one, the class. */
  name(item) {
    return this.value("name", item) || this.label(item);
  }

  label(item) {
    return this.classes[this.value(this.classColumn, item)];
  }

  /** Return whether an item has a text in a name of any language, its class, or its id. */
  matches(item, text) {
    return text === "" || this.#texts()[item].includes(text);
  }

  #texts() {
    this.texts ??= Array.from({ length: this.size }, (_, item) => {
      const { before, after } = this.items;
      const rows = [before[item], after[item]].filter((row) => row !== null);
      const words = rows.flatMap((row) => [
        this.columns.name[row],
        ...Object.values(this.columns.names[row]),
        this.classes[this.columns[this.classColumn][row]],
        this.columns[this.classColumn][row],
        this.columns.source_ref[row],
      ]);
      return folded(words.filter(Boolean).join("\n"));
    });
    return this.texts;
  }

  /** Return the number of items of each group. */
  counts() {
    const counts = this.groups.map(() => 0);
    for (const group of this.items.group) counts[group] += 1;
    return counts;
  }

  /** Return [west, south, east, north] of all items; null where there are none. */
  bounds() {
    const { lon, lat } = this.columns;
    if (lon.length === 0) return null;
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (let row = 0; row < lon.length; row += 1) {
      box[0] = Math.min(box[0], lon[row]);
      box[1] = Math.min(box[1], lat[row]);
      box[2] = Math.max(box[2], lon[row]);
      box[3] = Math.max(box[3], lat[row]);
    }
    return box;
  }
}
