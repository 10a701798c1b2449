// On a phone the controls have the whole width.
document.head.append(
  Object.assign(document.createElement("style"), {
    textContent: `@media (max-width: 600px) {
      .mantine-Paper-root[style*="position: fixed"][style*="bottom: 0"],
      .mantine-ScrollArea-content > div[style*="width: 20em"] { width: 100% !important }
    }`,
  }),
);

// What is dropped anywhere goes to the first upload button that is on the page: the open one. A
// folder goes as a zip of its files.
(() => {
  const BETWEEN_MS = 700; // so that two pictures arrive in their order
  const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
    return n;
  });
  const crc32 = (bytes) => {
    let crc = ~0;
    for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
    return ~crc >>> 0;
  };
  // Bytes of whole numbers, given as [value, how many bytes], lowest byte first.
  const little = (...fields) =>
    Uint8Array.from(
      fields.flatMap(([value, n]) => Array.from({ length: n }, (_, i) => (value >>> (8 * i)) & 255)),
    );

  // Files as they are, one behind the other (pictures do not shrink), in the form of a zip.
  async function zipOf(name, files) {
    const parts = [];
    const index = [];
    let offset = 0;
    for (const file of files) {
      const bytes = new Uint8Array(await file.arrayBuffer());
      const label = new TextEncoder().encode(file.name);
      const about = [
        [20, 2], [0x800, 2], [0, 2], [0, 2], [33, 2], [crc32(bytes), 4], [bytes.length, 4],
        [bytes.length, 4], [label.length, 2], [0, 2],
      ];
      const head = little([0x04034b50, 4], ...about);
      parts.push(head, label, bytes);
      index.push(
        little([0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]),
        label,
      );
      offset += head.length + label.length + bytes.length;
    }
    const size = index.reduce((sum, part) => sum + part.length, 0);
    const num = files.length;
    const end = little(
      [0x06054b50, 4], [0, 2], [0, 2], [num, 2], [num, 2], [size, 4], [offset, 4], [0, 2],
    );
    return new File([...parts, ...index, end], `${name}.zip`);
  }

  const fileOf = (entry) => new Promise((done, failed) => entry.file(done, failed));
  async function filesIn(folder) {
    const reader = folder.createReader();
    const files = [];
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return files.sort((a, b) => (a.name < b.name ? -1 : 1));
      for (const entry of some) {
        if (entry.name.startsWith(".")) continue;
        files.push(...(entry.isDirectory ? await filesIn(entry) : [await fileOf(entry)]));
      }
    }
  }

  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    const inputs = [...document.querySelectorAll("input[type=file]")];
    const input = inputs.find((i) => i.parentElement.offsetParent !== null) ?? inputs[0];
    const folders = [...event.dataTransfer.items]
      .map((item) => item.webkitGetAsEntry?.())
      .filter((entry) => entry?.isDirectory);
    const files = folders.length ? [] : [...event.dataTransfer.files];
    for (const folder of folders) files.push(await zipOf(folder.name, await filesIn(folder)));
    for (const file of input ? files : []) {
      const one = new DataTransfer();
      one.items.add(file);
      input.files = one.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
      await new Promise((done) => setTimeout(done, BETWEEN_MS));
    }
  });
  window.recamZip = zipOf; // for the tests
})();
