// DNS messages as multicast DNS uses them (RFC 1035, RFC 6762). What arrives may be hostile: nothing here reads outside a
// message, loops, or makes more of a message than its length allows.

export const TYPE = { A: 1, PTR: 12, TXT: 16, AAAA: 28, SRV: 33 };

const CLASS_INTERNET = 1;

/** In a question, this bit asks for an answer to the sender alone; in a record, it replaces older ones. */
const TOP_BIT = 0x8000;

/** The most bytes of a name, and its most labels. */
const MAX_NAME = 255;
const MAX_LABELS = 127;

/** The most records of one message that are read. */
const MAX_RECORDS = 512;

const HEADER = 12;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A message that is none. */
export class MalformedError extends Error {}

/**
 * Makes a query for `[name, type]` pairs, names being lists of labels. `isUnicast` asks for answers to the sender alone.
 */
export function query(questions, isUnicast = false) {
  const bytes = [0, 0, 0, 0, ...short(questions.length), 0, 0, 0, 0, 0, 0];
  for (const [name, type] of questions) {
    for (const label of name) {
      const text = encoder.encode(label);
      if (text.length < 1 || text.length > 63) throw new RangeError(`${label} is no label`);
      bytes.push(text.length, ...text);
    }
    bytes.push(0, ...short(type), ...short(CLASS_INTERNET | (isUnicast ? TOP_BIT : 0)));
  }
  return new Uint8Array(bytes);
}

const short = (value) => [value >> 8, value & 0xff];

/**
 * Reads a message: `{ isResponse, records }`. A record is `{ name, type, ttl, isFlush, data }`, with names as lists of labels. `data` is
 * an address (A, AAAA), a name (PTR), `{ priority, weight, port, target }` (SRV) or a list of byte strings (TXT). Records of
 * other types are left out. Throws a MalformedError.
 */
export function parse(bytes) {
  const reader = new Reader(bytes, 0, bytes.length);
  reader.skip(2);
  const flags = reader.short();
  const [questions, ...counts] = [reader.short(), reader.short(), reader.short(), reader.short()];
  for (let count = 0; count < questions; count += 1) {
    reader.name();
    reader.skip(4);
  }
  const total = Math.min(counts.reduce((sum, count) => sum + count), MAX_RECORDS);
  const records = [];
  for (let count = 0; count < total; count += 1) {
    const name = reader.name();
    const type = reader.short();
    const kind = reader.short();
    const ttl = reader.long();
    const length = reader.short();
    const data = read(type, reader.part(length));
    if (data !== undefined && (kind & ~TOP_BIT) === CLASS_INTERNET) records.push({ name, type, ttl, isFlush: (kind & TOP_BIT) !== 0, data });
  }
  return { isResponse: (flags & 0x8000) !== 0, records };
}

/** The data of a record, which must fill its length. Undefined for other types. */
function read(type, data) {
  const all = (value) => {
    if (data.left > 0) throw new MalformedError('a record is longer than its data');
    return value;
  };
  switch (type) {
    case TYPE.A: return all([...data.take(4)].join('.'));
    case TYPE.AAAA: return all(ipv6(data.take(16)));
    case TYPE.PTR: return all(data.name());
    case TYPE.SRV: return all({ priority: data.short(), weight: data.short(), port: data.short(), target: data.name() });
    case TYPE.TXT: {
      const texts = [];
      while (data.left > 0) texts.push(data.take(data.byte()));
      return texts;
    }
    default: return undefined;
  }
}

/** An address as RFC 5952 writes it. */
function ipv6(bytes) {
  const words = Array.from({ length: 8 }, (_, index) => ((bytes[2 * index] << 8) | bytes[2 * index + 1]).toString(16));
  const text = words.join(':');
  // The longest run of zeros, and of several the first.
  const [longest] = [...text.matchAll(/\b0(:0)+\b/g)].sort(([a], [b]) => b.length - a.length);
  if (!longest) return text;
  const { 0: zeros, index } = longest;
  return `${text.slice(0, index).replace(/:$/, '')}::${text.slice(index + zeros.length).replace(/^:/, '')}`;
}

/** Reads a part of a message. Names may point to what is before them in the whole message. */
class Reader {
  #bytes;
  #at;
  #end;

  constructor(bytes, at, end) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get left() {
    return this.#end - this.#at;
  }

  skip(count) {
    if (count > this.left) throw new MalformedError('a message is too short');
    this.#at += count;
    return this.#at - count;
  }

  take(count) {
    const from = this.skip(count);
    return this.#bytes.slice(from, from + count);
  }

  /** A reader for the next bytes, which this one skips. */
  part(count) {
    const from = this.skip(count);
    return new Reader(this.#bytes, from, from + count);
  }

  byte() {
    return this.#bytes[this.skip(1)];
  }

  short() {
    return (this.byte() << 8) | this.byte();
  }

  long() {
    return this.short() * 0x10000 + this.short();
  }

  /** A name as a list of labels. */
  name() {
    const labels = [];
    let size = 1;
    let reader = this;
    let pointers = 0;
    for (let start = this.#at; ;) {
      const length = reader.byte();
      if (length === 0) return labels;
      if (length >= 0xc0) {
        const to = ((length & 0x3f) << 8) | reader.byte();
        // Each pointer leads to before the last one, so their chain ends.
        if (to >= start || to < HEADER) throw new MalformedError('a name points forward');
        if (++pointers > MAX_LABELS) throw new MalformedError('a name has too many pointers');
        start = to;
        reader = new Reader(this.#bytes, to, this.#bytes.length);
        continue;
      }
      if (length > 63) throw new MalformedError('there is no such kind of label');
      size += length + 1;
      if (size > MAX_NAME || labels.length >= MAX_LABELS) throw new MalformedError('a name is too long');
      labels.push(decoder.decode(reader.take(length)));
    }
  }
}
