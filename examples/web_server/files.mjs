// Where files come from in a browser. A source has
// - `open(names)`: resolves to `{ isFolder: true }`, to `{ size, modified, read(from, count) }`, or to undefined;
// - `list(names)`, optional: resolves to the names in a folder, those of folders with a slash.

/** A list of File objects with their paths, as `<input type="file" webkitdirectory>` has it. */
export function filesOf(list) {
  const root = new Map();
  for (const file of list) {
    // The first name is that of the chosen folder.
    const names = file.webkitRelativePath.split('/').slice(1);
    let folder = root;
    for (const name of names.slice(0, -1)) {
      if (!(folder.get(name) instanceof Map)) folder.set(name, new Map());
      folder = folder.get(name);
    }
    folder.set(names.at(-1), file);
  }
  const find = (names) => names.reduce((at, name) => (at instanceof Map ? at.get(name) : undefined), root);
  return {
    async open(names) {
      const found = find(names);
      if (found instanceof Map) return { isFolder: true };
      return found && fileOf(found, found.lastModified);
    },
    async list(names) {
      return [...find(names)].map(([name, value]) => (value instanceof Map ? `${name}/` : name));
    },
  };
}

/** The files below a URL, such as an extension's own. They cannot be listed, and a folder exists if it has an `index.html`. */
export function filesBelow(base) {
  const started = Date.now();
  const get = async (names) => {
    try {
      const response = await fetch(new URL(names.map(encodeURIComponent).join('/'), base));
      return response.ok ? await response.blob() : undefined;
    } catch {
      // The file does not exist.
      return undefined;
    }
  };
  return {
    async open(names) {
      const content = names.length > 0 ? await get(names) : undefined;
      if (content) return fileOf(content, started);
      return await get([...names, 'index.html']) && { isFolder: true };
    },
  };
}

function fileOf(blob, modified) {
  return {
    size: blob.size,
    modified,
    read: async (from, count) => new Uint8Array(await blob.slice(from, from + count).arrayBuffer()),
  };
}
