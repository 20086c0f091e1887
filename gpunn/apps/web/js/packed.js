// What a page holds packed.

/**
 * @param {string} text in base64, packed by gzip
 * @returns {Promise<ArrayBuffer>}
 */
export async function unpacked(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
